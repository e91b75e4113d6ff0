"""The decision: from tests of the whole family to one verdict per comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.significance.effects import rope_probabilities, tost_p
from search.significance.multiplicity import holm
from search.significance.records import MeanTest, Verdict

EQUIVALENT_PROBABILITY = 0.95


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the numbers of one comparison say within its family."""

    verdict: Verdict
    reason: str | None = None
    """Why it is inconclusive in spite of its p-value."""
    adjusted_p: float | None = None
    tost_p: float | None = None
    adjusted_tost_p: float | None = None
    rope_probabilities: tuple[float, float, float] | None = None


def decide(
    tests: Sequence[MeanTest | None], adjusted_p: Sequence[float | None], *, rope: float, alpha: float
) -> tuple[Decision, ...]:
    """Decide a declared family.

    Practical equivalence comes before better or worse: a difference may be real and yet too small to matter, and then
    the second is what a reader must hear. It takes a Holm-adjusted TOST at alpha, or a posterior probability of .95
    inside the rope, 1 - alpha if that is more (which is not adjusted: a posterior makes no promise about error rates).
    Better and worse take an adjusted p at alpha, and an interval on that side of 0: where the two come from different
    tests, both must say so. A test without a standard error of the mean says nothing of equivalence.

    Args:
        tests: One test per declared comparison, in the family's order; None for a refused one, which keeps its place in
            the correction.
        adjusted_p: The p-values adjusted within the family, in the same order.
        rope: Half-width of practical equivalence, fraction.
        alpha: Family-wise error rate.

    Returns:
        One decision per comparison.
    """
    posteriors = [
        None if t is None or t.law is None else rope_probabilities(t.estimate, t.law, rope=rope) for t in tests
    ]
    equivalence = [None if t is None or t.law is None else tost_p(t.estimate, t.law, rope=rope) for t in tests]
    decisions = []
    for test, adjusted, raw_tost, adjusted_tost, posterior in zip(
        tests, adjusted_p, equivalence, holm(equivalence), posteriors, strict=True
    ):
        if test is None or adjusted is None:
            decisions.append(Decision(verdict=Verdict.REFUSED))
            continue
        reason = None
        if (adjusted_tost is not None and adjusted_tost <= alpha) or (
            posterior and posterior[1] >= max(EQUIVALENT_PROBABILITY, 1 - alpha)
        ):
            verdict = Verdict.EQUIVALENT
        elif adjusted > alpha:
            verdict = Verdict.INCONCLUSIVE
        elif test.interval.low > 0:
            verdict = Verdict.BETTER
        elif test.interval.high < 0:
            verdict = Verdict.WORSE
        else:
            verdict, reason = Verdict.INCONCLUSIVE, "the interval has room for no difference"
        decisions.append(
            Decision(
                verdict=verdict,
                reason=reason,
                adjusted_p=adjusted,
                tost_p=raw_tost,
                adjusted_tost_p=adjusted_tost,
                rope_probabilities=posterior,
            )
        )
    return tuple(decisions)
