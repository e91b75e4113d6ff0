"""Comparisons over six or more data sets: the data sets are the sample, with one difference each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search.significance.declared import NEW_DATA_SETS, Declared
from search.significance.examine import MAX_MISSING, SAME, Examined, outcomes_of, refusal_of
from search.significance.methods import METHODS, Method, run_wilcoxon
from search.significance.pairing import Outcomes, Pair, ScoresError, pair_up
from search.significance.results import Results

MIN_DATA_SETS = 6
"""Fewer data sets are judged one by one."""


ACROSS = Method(
    title=METHODS["wilcoxon"].title,
    min_blocks=MIN_DATA_SETS,
    permutes=True,
    estimand=NEW_DATA_SETS,
    why="There are six or more data sets, so the test uses the ranks of one mean per data set.",
    limits=(
        "Every data set has the same weight, whatever its number of blocks, and variants of one data set are not "
        "independent. The estimate is the Hodges-Lehmann one, the typical difference, with its exact interval; "
        "equivalence is tested by two one-sided signed-rank tests."
    ),
    run=run_wilcoxon,
)


def data_set_means(results: Sequence[Results], *, num_classes: int | None = None) -> dict[str, dict[str, float]]:
    """Return the mean score of every configuration on every data set with results.

    Args:
        results: One item per data set.
        num_classes: Number of classes; a diverged repeat without a result counts with accuracy 1 / num_classes.

    Raises:
        ScoresError: Chance accuracy is needed and num_classes is not given.

    Returns:
        Configuration -> data set -> mean over its blocks; correctness takes precedence over scores.
    """
    means: dict[str, dict[str, float]] = {}
    for found in results:
        for name in found.configs:
            if (mean := _mean_of(found, name, num_classes)) is not None:
                means.setdefault(name, {})[found.dataset] = mean
    return means


def _mean_of(found: Results, name: str, num_classes: int | None) -> float | None:
    bits, scores = outcomes_of(found)
    outcomes = bits.get(name, scores.get(name))
    if outcomes is None:
        return None
    pair = pair_up(outcomes, outcomes, num_classes=num_classes)  # with itself: every outcome, chance filled in
    return float(pair.scores_a.mean()) if pair.blocks else None


def score_table(
    results: Sequence[Results], *, num_classes: int | None = None
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float64]]:
    """Return the data-set means of the configurations with results on all data sets, as input for Friedman's test.

    Args:
        results: One item per data set.
        num_classes: Number of classes, for chance accuracy.

    Returns:
        Data sets, configurations, and means of shape (num_datasets, num_configs).
    """
    means = data_set_means(results, num_classes=num_classes)
    datasets = tuple(found.dataset for found in results)
    configs = tuple(name for name, row in means.items() if len(row) == len(datasets))
    table = np.array([[means[name][dataset] for name in configs] for dataset in datasets])
    return datasets, configs, table


def examine_across(results: Sequence[Results], family: Sequence[tuple[str, str]], declared: Declared) -> list[Examined]:
    """Test every comparison over the data sets.

    A data set is used if both configurations have the same kind of results on blocks of the same names. It is lost if
    more than a tenth of its pairs is missing; if more than a tenth of the data sets is lost, there is no verdict.

    Args:
        results: At least MIN_DATA_SETS data sets.
        family: The declared comparisons.
        declared: The declared settings.

    Returns:
        One item per comparison, in the family's order. Its blocks are the data sets; a data set counts as diverged if a
        repeat on it diverged.

    Raises:
        ScoresError: The declared test does not apply to data sets.
    """
    if declared.method not in {"auto", "wilcoxon"}:
        raise ScoresError(
            f"method: over {len(results)} data sets expected wilcoxon, found {declared.method}; use auto, or analyse "
            "each data set alone"
        )
    sides = [(found.dataset, *outcomes_of(found)) for found in results]
    return [_examine(names, sides, declared, family_size=len(family)) for names in family]


def _examine(
    names: tuple[str, str],
    sides: Sequence[tuple[str, dict[str, Outcomes], dict[str, Outcomes]]],
    declared: Declared,
    *,
    family_size: int,
) -> Examined:
    pairs: dict[str, Pair] = {}
    for dataset, bits, scores in sides:
        source = bits if all(name in bits for name in names) else scores
        if not all(name in source for name in names):
            continue
        pair = pair_up(*(source[name] for name in names), num_classes=declared.num_classes)
        missing = pair.num_mismatched + pair.num_lost
        if pair.blocks and missing <= MAX_MISSING * (len(pair.blocks) + missing):
            pairs[dataset] = pair
    whole = _over(pairs, num_lost=len(sides) - len(pairs))
    left = _over({name: pair.only(pair.complete) for name, pair in pairs.items() if pair.complete.any()})
    why_not = refusal_of(whole, ACROSS, declared, family_size)
    test = None if why_not else ACROSS.run(whole, declared)
    if test is not None and math.isnan(test.p):
        test, why_not = None, SAME
    diverged = not bool(whole.complete.all())
    again = None
    if test is not None and diverged and refusal_of(left, ACROSS, declared, family_size) is None:
        again = ACROSS.run(left, declared)
    return Examined(
        names=names,
        method=ACROSS,
        pair=whole,
        refusal=why_not,
        test=test,
        sensitivity=again if again and not math.isnan(again.p) else None,
        left=left,
        diverged=diverged,
    )


def _over(pairs: Mapping[str, Pair], *, num_lost: int = 0) -> Pair:
    """Return the data sets as the blocks of one pair: the mean score of each side, and whether a repeat diverged."""
    a, b = (np.array([getattr(pair, side).mean() for pair in pairs.values()]) for side in ("scores_a", "scores_b"))
    marks = [
        np.array([bool(getattr(pair, side).any()) for pair in pairs.values()], dtype=np.bool_)
        for side in ("diverged_a", "diverged_b")
    ]
    return Pair(
        blocks=tuple(pairs),
        values_a=a,
        values_b=b,
        diff=a - b,
        scores_a=a,
        scores_b=b,
        diverged_a=marks[0],
        diverged_b=marks[1],
        num_mismatched=0,
        num_lost=num_lost,
    )
