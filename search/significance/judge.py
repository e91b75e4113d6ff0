"""Analyse a declared family: pair, test, adjust, decide, and put the result into a sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance import effects
from search.significance.across import ACROSS, MIN_DATA_SETS, examine_across
from search.significance.adjust.max_t import max_t
from search.significance.adjust.multiplicity import adjust
from search.significance.declared import BONFERRONI_BASED, FIRM_BLOCKS, NEW_DATA, THIS_DATA, Declared
from search.significance.examine import MAX_MISSING, Examined, examine, outcomes_of
from search.significance.methods import METHODS, Method
from search.significance.pairing import Pair, ScoresError
from search.significance.planning.design import Crossed, Paired, blocks_needed, upper_design
from search.significance.records import Comparison, Interval, MeanTest, Verdict
from search.significance.results import Results
from search.significance.sequential.bounds import interim_level
from search.significance.tests import crossed, resampled, signflip
from search.significance.tests.bootstrap import bca_interval, from_samples, resampled_means
from search.significance.tests.crossed import components
from search.significance.verdict import Decision, decide
from search.significance.wording import sentence_of

FOR_ONE_DATA_SET = {"shaffer", "bergmann-hommel", "max-t"}
"""Adjustments that need a single data set, since they use the correlation or logic of its comparisons."""

ESTIMANDS = {"new-data": NEW_DATA, "this-data": THIS_DATA}
ADJUSTMENT_LIMITS = {
    "hochberg": (
        "Hochberg's adjustment is valid for positively dependent tests, and the pairs of a family may be otherwise."
    ),
    "hommel": (
        "Hommel's adjustment is valid for positively dependent tests, and the pairs of a family may be otherwise."
    ),
    "max-t": "A refused comparison is not part of the family's largest statistic.",
    "bh": "Benjamini-Hochberg bounds the share of false claims among all claims, not the chance of any.",
}
"""Conditions of an adjustment beyond the limits of the test."""


def judge_results(
    results: Sequence[Results], family: Sequence[tuple[str, str]], declared: Declared, *, family_name: str = ""
) -> tuple[Comparison, ...]:
    """Judge every comparison of a family that was declared before the results were seen.

    Up to five data sets are judged one by one, as one family; from six on, the data sets themselves are the sample.

    The guarantee (no false "better" or "worse" in the family, with probability 1 - alpha) fails if the family or the
    rope was chosen after seeing the results, if the test images were used to choose the configurations, and where the
    guarantee of the chosen test fails (`limits`).

    Args:
        results: Results of the configurations, one item per data set.
        family: The declared comparisons (a, b).
        declared: Estimand, test, adjustment, alpha and rope.
        family_name: Printed with each comparison; empty for a single family.

    Returns:
        One comparison per declared pair, in the family's order; with two to five data sets, one per pair and data set.

    Raises:
        ScoresError: The family or the arrays are malformed, or do not allow the declared settings.
    """
    _check(results, family, declared)
    if len(results) >= MIN_DATA_SETS:
        examined = examine_across(results, family, declared)
    else:
        size = len(family) * len(results)
        examined = [item for found in results for item in _examine_all(found, family, declared, family_size=size)]
    adjusted = _adjust([(item.test, item.pair) for item in examined], examined, declared)
    decided = partial(
        decide,
        rope=declared.rope,
        alpha=declared.alpha,
        may_be_equivalent=declared.interim is None or declared.interim[0] == declared.interim[1],
    )
    primary = decided([item.test for item in examined], adjusted)
    sensitive = primary
    if any(item.diverged for item in examined):
        again = [(item.sensitivity, item.left) if item.diverged else (item.test, item.pair) for item in examined]
        tests = [test for test, _ in again]
        sensitive = decided(tests, _adjust(again, examined, declared))
    checks = _multi_bootstraps(examined, declared)
    comparisons = (
        _comparison(item, first, second, declared, family_name=family_name, family_size=len(examined))
        for item, first, second in zip(examined, primary, sensitive, strict=True)
    )
    return tuple(
        dataclasses.replace(comparison, check=check or comparison.check)
        for comparison, check in zip(comparisons, checks, strict=True)
    )


def _check(results: Sequence[Results], family: Sequence[tuple[str, str]], declared: Declared) -> None:
    known = tuple(dict.fromkeys(name for item in results for name in item.configs))
    for a, b in family:
        if a == b:
            raise ScoresError(f"family: a comparison must name two configurations, got ({a!r}, {b!r})")
        for name in (a, b):
            if name not in known:
                raise ScoresError(f"family: unknown configuration {name!r}; known: {', '.join(known)}")
    if len({frozenset(pair) for pair in family}) < len(family):
        raise ScoresError("family: every pair must be declared once, in one direction")
    for item in results:
        if missing := sorted({*item.correct, *item.scores} - set(item.blocks)):
            names = ", ".join(missing)
            raise ScoresError(f"blocks must be named for every configuration with results, got none for {names}")
    widest = 0.5 if all(item.bounded for item in results) else math.inf
    if not (0 < declared.alpha < 0.5 and 0 <= declared.rope < widest):
        raise ScoresError(f"alpha must be in (0, 0.5) and rope in [0, 0.5), got {declared.alpha} and {declared.rope}")
    if declared.ratio is not None and not declared.ratio > 0:
        raise ScoresError(f"ratio must be images scored over images trained on, above 0, got {declared.ratio}")
    datasets = [item.dataset for item in results]
    if twice := sorted({name for name in datasets if datasets.count(name) > 1}):
        raise ScoresError(f"dataset: every data set must have a name of its own, found {twice[0]!r} more than once")
    asked = METHODS.get(declared.method)
    if asked is not None and ESTIMANDS.get(declared.estimand, asked.estimand) != asked.estimand:
        raise ScoresError(
            f"method: {declared.method} allows claims about {asked.estimand}, but {declared.estimand} was declared; "
            "declare that estimand, or use another method"
        )
    if len(results) >= MIN_DATA_SETS and declared.estimand == "this-data":
        raise ScoresError(
            f"estimand: over {len(results)} data sets, claims are about new data sets, found this-data; analyse each "
            "data set alone"
        )
    if declared.adjust in FOR_ONE_DATA_SET and len(results) > 1:
        raise ScoresError(f"adjust: {declared.adjust} expects one data set, found {len(results)}; use holm")
    if declared.interim is not None and not (
        declared.estimand == "this-data"
        and declared.method in {"auto", "paired-t"}
        and declared.adjust in BONFERRONI_BASED
        and len(results) == 1
    ):
        raise ScoresError(
            f"interim: expected estimand this-data, method paired-t, adjust {' or '.join(BONFERRONI_BASED)}, and one "
            f"data set, found {declared.estimand}, {declared.method}, {declared.adjust}, and {len(results)}; declare "
            "one analysis"
        )
    if declared.adjust == "max-t" and (
        declared.estimand != "this-data" or declared.method not in {"auto", "sign-flip"}
    ):
        raise ScoresError(
            f"adjust: max-t expects estimand this-data and its own sign-flip test, found {declared.estimand} and "
            f"{declared.method}; declare these, or use holm"
        )


def _examine_all(
    found: Results, family: Sequence[tuple[str, str]], declared: Declared, *, family_size: int
) -> list[Examined]:
    bits, scores = outcomes_of(found)
    return [examine(pair, bits, scores, declared, family_size=family_size, dataset=found.dataset) for pair in family]


def _adjust(
    tested: Sequence[tuple[MeanTest | None, Pair | None]], examined: Sequence[Examined], declared: Declared
) -> tuple[float | None, ...]:
    if declared.adjust != "max-t":
        raw = [None if test is None else test.p for test, _ in tested]
        return adjust(raw, declared.adjust, pairs=[item.names for item in examined])
    there = [pair for test, pair in tested if test is not None and pair is not None]
    if not there:
        return tuple(None for _ in tested)
    # Whole blocks are flipped, so only blocks that all comparisons have show their correlation.
    shared = [block for block in there[0].blocks if all(block in pair.blocks for pair in there)]
    if len(shared) < METHODS["sign-flip"].blocks_needed(declared, len(tested)):
        return tuple(None if test is None else 1.0 for test, _ in tested)
    columns = [pair.per_block[[pair.blocks.index(block) for block in shared]] for pair in there]
    found = iter(max_t(np.stack(columns, axis=1)).adjusted_p)
    values = [None if test is None else next(found) for test, _ in tested]
    return tuple(1.0 if value is not None and math.isnan(value) else value for value in values)


def _multi_bootstraps(examined: Sequence[Examined], declared: Declared) -> list[MeanTest | None]:
    """Return the Multi-Bootstrap for every crossed test; comparisons over the same blocks share their resamples."""
    found: list[MeanTest | None] = [None] * len(examined)
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, item in enumerate(examined):
        if item.test is not None and item.pair is not None and item.method is METHODS["crossed"]:
            groups.setdefault((item.dataset, item.pair.blocks, item.pair.diff.shape[1]), []).append(place)
    for places in groups.values():
        values: dict[str, NDArray[Any]] = {}
        for place in places:
            item = examined[place]
            assert item.pair is not None
            values |= {item.names[0]: item.pair.values_a, item.names[1]: item.pair.values_b}
        rows = dict(zip(values, resampled_means(list(values.values())), strict=True))
        for place in places:
            item = examined[place]
            assert item.pair is not None
            a, b = item.names
            found[place] = from_samples(item.pair.diff, rows[a] - rows[b], alpha=declared.alpha)
    return found


def _comparison(
    item: Examined, first: Decision, second: Decision, declared: Declared, *, family_name: str, family_size: int
) -> Comparison:
    pair, test, method = item.pair, item.test, item.method
    sensitivity_verdict = second.verdict if item.diverged and test else None
    verdict, reason = _combine(first.verdict, sensitivity_verdict, pair, across=method is ACROSS)
    if method is not None and not method.decides and test is not None:
        verdict, reason = Verdict.REFUSED, f"'{method.title}' is shown together with a test and gives no verdict"
    comparison = Comparison(
        a=item.names[0],
        b=item.names[1],
        family=family_name,
        dataset=item.dataset,
        verdict=verdict,
        sentence="",
        provisional=test is not None and method is not None and method.min_blocks > 1 and test.num_blocks < FIRM_BLOCKS,
        reason=item.refusal or reason or (first.reason if verdict is Verdict.INCONCLUSIVE else None),
        estimand=method.estimand if method else NEW_DATA,
        test=method.title if method else None,
        why=method.why if method else None,
        limits=_limits(method, declared) if method else None,
        num_blocks=len(pair.blocks) if pair else 0,
        adjust_method=declared.adjust,
        family_size=family_size,
        interim=declared.interim,
        alpha=declared.alpha,
        rope=declared.rope,
        adjusted_p=first.adjusted_p,
        rope_probabilities=first.equivalence.rope_probabilities if first.equivalence else None,
        tost_p=first.equivalence.tost_p if first.equivalence else None,
        adjusted_tost_p=first.adjusted_tost_p,
        equivalence_interval=first.equivalence.interval if first.equivalence else None,
        secondary=item.secondary,
        check=item.check,
        sensitivity=item.sensitivity,
        sensitivity_verdict=sensitivity_verdict,
    )
    if pair is not None and pair.blocks:
        comparison = _with_scores(comparison, pair)
    if method is not None and pair is not None and test is not None:
        comparison = _with_test(comparison, method, pair, test, declared)
    return dataclasses.replace(comparison, sentence=sentence_of(comparison))


def _limits(method: Method, declared: Declared) -> str:
    return " ".join(filter(None, (method.limits, ADJUSTMENT_LIMITS.get(declared.adjust))))


def _combine(
    primary: Verdict, sensitivity: Verdict | None, pair: Pair | None, *, across: bool = False
) -> tuple[Verdict, str | None]:
    """Return the verdict after taking missing pairs and diverged repeats into account, and the reason for a change."""
    if primary is Verdict.REFUSED or pair is None:
        return Verdict.REFUSED, None
    missing = pair.num_mismatched + pair.num_lost
    total = missing + len(pair.blocks)
    if missing > MAX_MISSING * total:
        are, what = ("is" if missing == 1 else "are"), ("data sets" if across else "pairs")
        return Verdict.INCONCLUSIVE, f"{missing} of {total} {what} {are} missing, more than {100 * MAX_MISSING:g} %"
    if sensitivity in (None, primary):
        return primary, None
    if sensitivity is Verdict.REFUSED:
        return Verdict.INCONCLUSIVE, "without the diverged repeats, too few are left to confirm it"
    return (
        Verdict.INCONCLUSIVE,
        f"it depends on the diverged repeats: with them it is {primary.value}, without them {sensitivity.value}",
    )


def _with_scores(comparison: Comparison, pair: Pair) -> Comparison:
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
        estimate=float(pair.per_block.mean()),
    )


def _with_test(comparison: Comparison, method: Method, pair: Pair, test: MeanTest, declared: Declared) -> Comparison:
    diff, level = pair.per_block, 1 - declared.alpha
    share, share_interval = effects.probability_of_superiority(diff, level=level)
    comparison = dataclasses.replace(
        comparison,
        estimate=test.estimate,
        interval=test.interval,
        t=test.t,
        p=test.p,
        p_error=test.p_error,
        d_z=effects.cohen_d_z(diff),
        g_z=effects.hedges_g_z(diff),
        p_a_gt_b=share,
        p_a_gt_b_interval=share_interval,
        meaningful=effects.is_meaningful(share, share_interval, num_blocks=diff.size),
        bca_interval=bca_interval(diff, level=level) if diff.size > 1 else None,
    )
    if test.law is None:  # without a distribution of the mean, the fields that depend on it stay unset
        return comparison
    one_of_family = declared.alpha / comparison.family_size
    comparison = dataclasses.replace(
        comparison,
        se=test.se,
        df=None if math.isnan(test.df) else test.df,
        simultaneous_interval=_simultaneous(method, pair, declared, comparison.family_size),
        smallest_detectable=effects.smallest_detectable(test.law, alpha=interim_level(one_of_family, declared.interim)),
        components=components(pair.diff) if pair.diff.ndim == 2 and len(pair.blocks) > 1 else None,
    )
    design = _design(comparison, pair, declared)
    if design is None:
        return comparison
    # Planned repeats are judged at the last of the declared analyses.
    alpha = interim_level(one_of_family, declared.interim and (declared.interim[1], declared.interim[1]))
    needed = blocks_needed(design, declared.rope, alpha=alpha)
    upper = upper_design(design, num_blocks=len(pair.blocks))
    return dataclasses.replace(
        comparison,
        num_blocks_for_rope=needed.number,
        num_blocks_for_rope_upper=blocks_needed(upper, declared.rope, alpha=alpha).number,
        smallest_ever=needed.floor,
    )


def _simultaneous(method: Method, pair: Pair, declared: Declared, family_size: int) -> Interval | None:
    """Return the test's own interval at 1 - alpha / family size: all intervals of the family cover together."""
    interval = method.run(pair, dataclasses.replace(declared, alpha=declared.alpha / family_size)).interval
    return None if math.isnan(interval.low) else interval


def _design(comparison: Comparison, pair: Pair, declared: Declared) -> Crossed | Paired | None:
    """Return the design for planning further repeats of this comparison."""
    match comparison.test:
        case crossed.NAME if comparison.components is not None:
            return Crossed(components=comparison.components, num_images=pair.diff.shape[1])
        case resampled.CORRECTED if declared.ratio is not None:
            return Paired(sd=float(np.std(pair.per_block, ddof=1)), ratio=declared.ratio)
        case resampled.PAIRED | signflip.NAME:
            return Paired(sd=float(np.std(pair.per_block, ddof=1)))
        case _:
            return None
