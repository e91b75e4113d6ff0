"""The whole analysis of a declared family: pair, test, correct, decide, say."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from search.significance import effects
from search.significance.examine import MAX_MISSING, Examined, examine
from search.significance.methods import FIRM_BLOCKS, NEW_DATA
from search.significance.multiplicity import METHOD, simultaneous_interval
from search.significance.pairing import Pair, ScoresError, bits_of, scores_of
from search.significance.records import Comparison, MeanTest, Verdict
from search.significance.verdict import Decision, decide
from search.significance.wording import sentence_of


def judge(
    names: Sequence[str],
    correct: Mapping[str, Sequence[NDArray[Any] | None] | NDArray[Any]],
    val_scores: Mapping[str, NDArray[Any]],
    family: Sequence[tuple[str, str]],
    *,
    blocks: Mapping[str, Sequence[str]],
    ratio: float | None = None,
    num_classes: int | None = None,
    alpha: float = 0.05,
    rope: float = 0.005,
    failed: Mapping[str, Collection[str]] | None = None,
) -> tuple[Comparison, ...]:
    """Judge every comparison of a family that was declared before the results were seen.

    The promise (no false "better" or "worse" in the family, with probability 1 - alpha) fails when the family or the
    rope was chosen after looking, when the test images took part in choosing the configurations, and where the chosen
    test's own does (`limits`).

    Args:
        names: All configurations.
        correct: Name -> correctness of every image of one fixed test set, (R, M) of 0 and 1; as a sequence of rows,
            None marks a repeat without a result. All must be in the same image order: compare image hashes before
            calling.
        val_scores: Name -> validation accuracies, shape (R,), NaN where missing. Decides only where bits are missing.
        family: The declared comparisons (a, b).
        blocks: Name -> block ids in the order of that name's results, length R.
        ratio: Validation images over training images, n_test / n_train; needed with `val_scores`.
        num_classes: For chance accuracy, 1 / num_classes; needed where a diverged repeat left no result.
        alpha: Family-wise error rate.
        rope: Half-width of practical equivalence, fraction of 1.
        failed: Name -> ids of blocks whose training diverged. With a result it is the last finite checkpoint's;
            without, chance.

    Returns:
        One comparison per declared pair, in the family's order.

    Raises:
        ScoresError: The family or the arrays are malformed.
    """
    _check(names, family, {*correct, *val_scores}, blocks)
    if val_scores and (ratio is None or ratio <= 0):
        msg = f"ratio must be validation images over training images, above 0, got {ratio}"
        raise ScoresError(msg)
    if not (0 < alpha < 0.5 and 0 <= rope < 0.5):
        msg = f"alpha must be in (0, 0.5) and rope in [0, 0.5), got {alpha} and {rope}"
        raise ScoresError(msg)
    lost = failed or {}
    bits = {name: bits_of(name, blocks[name], list(rows), lost.get(name, ())) for name, rows in correct.items()}
    scores = {name: scores_of(name, blocks[name], array, lost.get(name, ())) for name, array in val_scores.items()}
    examined = [examine(pair, bits, scores, ratio=ratio, num_classes=num_classes, alpha=alpha) for pair in family]
    primary = decide([item.test for item in examined], rope=rope, alpha=alpha)
    sensitive = primary
    if any(item.diverged for item in examined):
        again = [item.sensitivity if item.diverged else item.test for item in examined]
        sensitive = decide(again, rope=rope, alpha=alpha)
    return tuple(
        _comparison(item, first, second, alpha=alpha, rope=rope, family_size=len(family))
        for item, first, second in zip(examined, primary, sensitive, strict=True)
    )


def _check(
    names: Sequence[str], family: Sequence[tuple[str, str]], given: set[str], blocks: Mapping[str, Sequence[str]]
) -> None:
    known = set(names)
    for a, b in family:
        if a == b:
            msg = f"family: a comparison must name two configurations, got ({a!r}, {b!r})"
            raise ScoresError(msg)
        for name in (a, b):
            if name not in known:
                msg = f"family: unknown configuration {name!r}; known: {', '.join(names)}"
                raise ScoresError(msg)
    if len({frozenset(pair) for pair in family}) < len(family):
        msg = "family: every pair must be declared once, in one direction"
        raise ScoresError(msg)
    if missing := sorted(given - set(blocks)):
        msg = f"blocks must be named for every configuration with results, got none for {', '.join(missing)}"
        raise ScoresError(msg)


def _comparison(
    item: Examined, first: Decision, second: Decision, *, alpha: float, rope: float, family_size: int
) -> Comparison:
    pair, test, method = item.pair, item.test, item.method
    sensitivity_verdict = second.verdict if item.diverged and test else None
    verdict, reason = _combine(first.verdict, sensitivity_verdict, pair)
    comparison = Comparison(
        a=item.names[0],
        b=item.names[1],
        verdict=verdict,
        sentence="",
        provisional=test is not None and test.num_blocks < FIRM_BLOCKS,
        reason=item.refusal or reason,
        estimand=method.estimand if method else NEW_DATA,
        test=method.name if method else None,
        why=method.why if method else None,
        limits=method.limits if method else None,
        num_blocks=len(pair.blocks) if pair else 0,
        adjust_method=METHOD,
        family_size=family_size,
        alpha=alpha,
        rope=rope,
        adjusted_p=first.adjusted_p,
        rope_probabilities=first.rope_probabilities,
        tost_p=first.tost_p,
        adjusted_tost_p=first.adjusted_tost_p,
        secondary=item.secondary,
        sensitivity=item.sensitivity,
        sensitivity_verdict=sensitivity_verdict,
    )
    if pair is not None and pair.blocks:
        comparison = _with_scores(comparison, pair)
    if pair is not None and test is not None:
        comparison = _with_test(comparison, pair, test)
    return dataclasses.replace(comparison, sentence=sentence_of(comparison))


def _combine(primary: Verdict, sensitivity: Verdict | None, pair: Pair | None) -> tuple[Verdict, str | None]:
    """The verdict after missing pairs and diverged repeats have had their say."""
    if primary is Verdict.REFUSED or pair is None:
        return Verdict.REFUSED, None
    missing = pair.num_mismatched + pair.num_lost
    total = missing + len(pair.blocks)
    if missing > MAX_MISSING * total:
        return Verdict.INCONCLUSIVE, f"{missing} of {total} pairs are missing, more than {100 * MAX_MISSING:g} %"
    if sensitivity in (None, primary):
        return primary, None
    if sensitivity is Verdict.REFUSED:
        return Verdict.INCONCLUSIVE, "too few repeats are left without the diverged ones to confirm it"
    return (
        Verdict.INCONCLUSIVE,
        f"without the diverged repeats it would read {sensitivity.value!r} instead of {primary.value!r}",
    )


def _with_scores(comparison: Comparison, pair: Pair) -> Comparison:
    diff = pair.scores_a - pair.scores_b
    return dataclasses.replace(
        comparison,
        num_images=pair.diff.shape[1] if pair.diff.ndim == 2 else None,
        num_mismatched=pair.num_mismatched,
        num_lost=pair.num_lost,
        failures_a=int(pair.diverged_a.sum()),
        failures_b=int(pair.diverged_b.sum()),
        failures_p=effects.failures_mcnemar(pair.diverged_a, pair.diverged_b),
        blocks=pair.blocks,
        scores_a=tuple(pair.scores_a.tolist()),
        scores_b=tuple(pair.scores_b.tolist()),
        mean_a=float(pair.scores_a.mean()),
        mean_b=float(pair.scores_b.mean()),
        estimate=float(diff.mean()),
    )


def _with_test(comparison: Comparison, pair: Pair, test: MeanTest) -> Comparison:
    diff = pair.scores_a - pair.scores_b
    alpha, family_size = comparison.alpha, comparison.family_size
    share, share_interval = effects.probability_of_superiority(diff, level=1 - alpha)
    return dataclasses.replace(
        comparison,
        estimate=test.estimate,
        interval=test.interval,
        simultaneous_interval=simultaneous_interval(
            test.estimate, test.se, test.df, alpha=alpha, family_size=family_size
        ),
        se=test.se,
        df=test.df,
        t=test.t,
        p=test.p,
        d_z=effects.cohen_d_z(diff),
        g_z=effects.hedges_g_z(diff),
        p_a_gt_b=share,
        p_a_gt_b_interval=share_interval,
        smallest_detectable=effects.smallest_detectable(test.se, test.df, alpha=alpha / family_size),
    )
