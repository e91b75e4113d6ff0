"""Compare configurations whose runs share no blocks: Welch's test, and how often a run of one exceeds one of the other.

Without shared blocks, the effect of a seed or split that is easy for both remains in the difference as noise. The claim
is about further runs on this data set.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.significance import effects
from search.significance.adjust.multiplicity import adjust
from search.significance.declared import FIRM_BLOCKS, THIS_DATA, Declared
from search.significance.examine import outcomes_of
from search.significance.pairing import Outcomes, ScoresError
from search.significance.records import Comparison, MeanTest, Verdict
from search.significance.results import Results
from search.significance.tests.student import t_result
from search.significance.verdict import Decision, decide
from search.significance.wording import sentence_of

NAME = "Welch's t"
LIMITS = (
    "Valid if all runs are independent: not if they share seeds or splits, and not for folds of one "
    "cross-validation, whose training sets overlap. Other images may give another difference: this is not a claim "
    "about new data."
)


def welch_t(a: NDArray[np.float64], b: NDArray[np.float64], *, alpha: float = 0.05) -> MeanTest:
    """Compare the means of two independent samples with unequal variances by Welch's t test.

    Args:
        a: Scores of the first, shape (R_a,), R_a >= 2.
        b: Scores of the second, shape (R_b,), R_b >= 2.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test; its guarantee fails if runs are not independent.

    Reference:
        Welch 1947, Biometrika 34.
    """
    parts = np.var(a, ddof=1) / a.size, np.var(b, ddof=1) / b.size
    se = math.sqrt(sum(parts))
    if se > 1e-12:
        df = float(sum(parts) ** 2 / (parts[0] ** 2 / (a.size - 1) + parts[1] ** 2 / (b.size - 1)))
    else:
        se, df = 0.0, math.nan
    estimate = float(a.mean() - b.mean())
    return t_result(NAME, estimate=estimate, se=se, df=df, alpha=alpha, num_blocks=min(a.size, b.size))


def judge_unpaired(
    results: Sequence[Results], family: Sequence[tuple[str, str]], declared: Declared, *, family_name: str = ""
) -> tuple[Comparison, ...]:
    """Judge every comparison of a declared family as independent runs, ignoring block names.

    Args:
        results: Results of the configurations, one item per data set; correctness counts by its mean.
        family: The declared comparisons (a, b).
        declared: Adjustment, alpha and rope.
        family_name: Printed with each comparison.

    Returns:
        One comparison per pair and data set.

    Raises:
        ScoresError: The declared settings require paired blocks.
    """
    if declared.estimand == "new-data" or declared.method != "auto" or declared.ratio is not None:
        raise ScoresError(
            "unpaired runs are compared by Welch's test, on this data set; remove --estimand, --method and --ratio"
        )
    if declared.adjust == "max-t":
        raise ScoresError("adjust: max-t flips the signs of whole blocks, and unpaired runs have none; use holm")
    sides = []
    for found in results:
        bits, scores = outcomes_of(found)
        outcomes = {**scores, **bits}
        sides += [
            _Side(dataset=found.dataset, names=pair, runs=[_runs(outcomes.get(n), declared) for n in pair])
            for pair in family
        ]
    tests, decisions = _decide(sides, declared)
    _, again = _decide([side.finished() for side in sides], declared)
    return tuple(
        _comparison(side, test, decision, without, declared, family_name=family_name, family_size=len(sides))
        for side, test, decision, without in zip(sides, tests, decisions, again, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Two configurations of a comparison: the scores of their runs, (R,), and whether each run diverged, (R,)."""

    dataset: str
    names: tuple[str, str]
    runs: list[tuple[NDArray[np.float64], NDArray[np.bool_]]]

    @property
    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.runs[0][0], self.runs[1][0]

    def finished(self) -> _Side:
        """Return the comparison without diverged runs."""
        return dataclasses.replace(self, runs=[(scores[~lost], lost[~lost]) for scores, lost in self.runs])


def _decide(sides: Sequence[_Side], declared: Declared) -> tuple[list[MeanTest | None], tuple[Decision, ...]]:
    tests: list[MeanTest | None] = []
    for side in sides:
        a, b = side.scores
        test = welch_t(a, b, alpha=declared.alpha) if min(a.size, b.size) >= FIRM_BLOCKS else None
        tests.append(None if test is None or math.isnan(test.p) else test)
    p_values = [None if test is None else test.p for test in tests]
    adjusted = adjust(p_values, declared.adjust, pairs=[side.names for side in sides])
    return tests, decide(tests, adjusted, rope=declared.rope, alpha=declared.alpha)


def _comparison(
    side: _Side,
    test: MeanTest | None,
    decision: Decision,
    without: Decision,
    declared: Declared,
    *,
    family_name: str,
    family_size: int,
) -> Comparison:
    a, b = side.scores
    there = bool(a.size and b.size)
    verdict, reason = decision.verdict, decision.reason
    if test is None:
        few = f"{NAME} needs at least {FIRM_BLOCKS} runs of each, got {a.size} and {b.size}"
        reason = few if min(a.size, b.size) < FIRM_BLOCKS else "no score varies"
    elif without.verdict is not verdict:
        reason = (
            f"it depends on the diverged runs: with them it is {verdict.value}, without them {without.verdict.value}"
        )
        verdict = Verdict.INCONCLUSIVE
    found = decision.equivalence
    comparison = Comparison(
        a=side.names[0],
        b=side.names[1],
        family=family_name,
        dataset=side.dataset,
        verdict=verdict,
        sentence="",
        reason=reason,
        estimand=THIS_DATA,
        test=NAME,
        why="Declared: the runs share no block, so they are compared as independent samples.",
        limits=LIMITS,
        num_blocks=min(a.size, b.size),
        num_unpaired=(int(a.size), int(b.size)),
        failures_a=int(side.runs[0][1].sum()),
        failures_b=int(side.runs[1][1].sum()),
        scores_a=tuple(a.tolist()),
        scores_b=tuple(b.tolist()),
        mean_a=float(a.mean()) if a.size else None,
        mean_b=float(b.mean()) if b.size else None,
        estimate=float(a.mean() - b.mean()) if there else None,
        adjust_method=declared.adjust,
        family_size=family_size,
        alpha=declared.alpha,
        rope=declared.rope,
        adjusted_p=decision.adjusted_p,
        rope_probabilities=found.rope_probabilities if found else None,
        tost_p=found.tost_p if found else None,
        equivalence_interval=found.interval if found else None,
        adjusted_tost_p=decision.adjusted_tost_p,
        p_a_gt_b=effects.unpaired_superiority(a, b)[0] if there else None,
    )
    if test is not None and test.law is not None:
        comparison = dataclasses.replace(
            comparison,
            interval=test.interval,
            se=test.se,
            df=test.df,
            t=test.t,
            p=test.p,
            smallest_detectable=effects.smallest_detectable(test.law, alpha=declared.alpha / family_size),
        )
    return dataclasses.replace(comparison, sentence=sentence_of(comparison))


def _runs(outcomes: Outcomes | None, declared: Declared) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the scores of all runs with an outcome, and which diverged; chance for a diverged run without a result."""
    if outcomes is None:
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    values = outcomes.values.mean(axis=1) if outcomes.values.ndim == 2 else outcomes.values
    lost = outcomes.diverged & ~outcomes.present
    if lost.any() and declared.num_classes is None:
        raise ScoresError(
            "num_classes must be given, because a diverged repeat has no result and is scored as chance; got None"
        )
    chance = 0.0 if declared.num_classes is None else 1 / declared.num_classes
    there = outcomes.present | lost
    return np.asarray(np.where(lost, chance, values)[there], dtype=np.float64), outcomes.diverged[there]
