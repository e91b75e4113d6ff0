"""Decide the verdict of every comparison from the tests of the whole family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.significance.adjust.multiplicity import holm
from search.significance.effects import equivalence_of
from search.significance.records import Equivalence, MeanTest, Verdict
from search.significance.rounding import NOISE_FRACTION


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Verdict on one comparison within its family."""

    verdict: Verdict
    reason: str | None = None
    """Why the comparison is inconclusive despite its p-value."""
    adjusted_p: float | None = None
    equivalence: Equivalence | None = None
    adjusted_tost_p: float | None = None


def decide(
    tests: Sequence[MeanTest | None],
    adjusted_p: Sequence[float | None],
    *,
    rope: float,
    alpha: float,
    may_be_equivalent: bool = True,
) -> tuple[Decision, ...]:
    """Decide the verdicts of a declared family.

    Practical equivalence takes precedence over better or worse: for a real but negligible difference, the equivalence
    is the relevant result. It requires two one-sided tests at alpha, adjusted by Holm over the family independently of
    the other adjustment. The posterior is reported but not used, as it does not control error rates. Better and worse
    require an adjusted p of at most alpha and an interval on that side of 0; if p and interval come from different
    tests, both must agree.

    Args:
        tests: One test per declared comparison, in the family's order; None for a refused one, which keeps its place in
            the adjustment.
        adjusted_p: The p-values adjusted within the family, in the same order.
        rope: Half-width of practical equivalence, fraction.
        alpha: Family-wise error rate.
        may_be_equivalent: False at an interim analysis before the last one, whose bounds are for differences.

    Returns:
        One decision per comparison.
    """
    found = [
        equivalence_of(test, rope=rope, alpha=alpha) if test is not None and may_be_equivalent else None
        for test in tests
    ]
    adjusted_tost = holm([None if item is None else item.tost_p for item in found])
    return tuple(
        Decision(verdict=Verdict.REFUSED) if test is None or p is None else _decide(test, p, item, tost_p, alpha=alpha)
        for test, p, item, tost_p in zip(tests, adjusted_p, found, adjusted_tost, strict=True)
    )


def _decide(
    test: MeanTest, adjusted_p: float, equivalence: Equivalence | None, adjusted_tost_p: float | None, *, alpha: float
) -> Decision:
    reason = None
    if adjusted_tost_p is not None and adjusted_tost_p <= alpha:
        verdict = Verdict.EQUIVALENT
    elif adjusted_p > alpha:
        verdict = Verdict.INCONCLUSIVE
    elif test.interval.low > NOISE_FRACTION:
        verdict = Verdict.BETTER
    elif test.interval.high < -NOISE_FRACTION:
        verdict = Verdict.WORSE
    else:
        verdict, reason = Verdict.INCONCLUSIVE, "the interval includes 0"
    return Decision(
        verdict=verdict,
        reason=reason,
        adjusted_p=adjusted_p,
        equivalence=equivalence,
        adjusted_tost_p=adjusted_tost_p,
    )
