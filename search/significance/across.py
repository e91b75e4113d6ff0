"""Six or more data sets: the data sets are the sample, and each gives one difference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.significance.declared import Declared
from search.significance.examine import Examined, examine
from search.significance.methods import METHODS, NEW_DATA_SETS, Method
from search.significance.pairing import Pair, ScoresError, bits_of, pair_up, scores_of
from search.significance.records import Interval, MeanTest
from search.significance.results import Results
from search.significance.wilcoxon import hodges_lehmann, wilcoxon_test

MIN_DATA_SETS = 6
"""Fewer are judged one by one."""


def _run(pair: Pair, declared: Declared) -> MeanTest:
    test = wilcoxon_test(pair.per_block, alpha=declared.alpha)
    estimate, interval = hodges_lehmann(pair.per_block, level=1 - declared.alpha)
    nothing = Interval(low=math.nan, high=math.nan, level=1 - declared.alpha)
    return dataclasses.replace(test, estimate=estimate, interval=interval or nothing)


ACROSS = Method(
    title=METHODS["wilcoxon"].title,
    min_blocks=MIN_DATA_SETS,
    permutes=True,
    estimand=NEW_DATA_SETS,
    why="There are six or more data sets, so each counts once, by the mean of its blocks, and ranks decide.",
    limits=(
        "Every data set weighs the same, however many blocks it has, and variants of one data set are not independent. "
        "The estimate is the Hodges-Lehmann one, the typical difference, with its exact interval."
    ),
    run=_run,
)


def data_set_means(results: Sequence[Results], *, num_classes: int | None = None) -> dict[str, dict[str, float]]:
    """Mean score of every configuration on every data set where it left any.

    Args:
        results: One item per data set.
        num_classes: For chance accuracy, the score of a diverged repeat that left none.

    Raises:
        ScoresError: Chance accuracy is needed and num_classes is not given.

    Returns:
        Configuration -> data set -> mean over its blocks; where both are there, correctness counts before scores.
    """
    means: dict[str, dict[str, float]] = {}
    for found in results:
        for name in found.configs:
            if (mean := _mean_of(found, name, num_classes)) is not None:
                means.setdefault(name, {})[found.dataset] = mean
    return means


def _mean_of(found: Results, name: str, num_classes: int | None) -> float | None:
    diverged = found.diverged.get(name, frozenset())
    if name in found.correct:
        outcomes = bits_of(name, found.blocks[name], list(found.correct[name]), diverged)
    elif name in found.scores:
        outcomes = scores_of(name, found.blocks[name], found.scores[name], diverged)
    else:
        return None
    pair = pair_up(outcomes, outcomes, num_classes=num_classes)  # with itself: every outcome, chance filled in
    return float(pair.scores_a.mean()) if pair.blocks else None


def score_table(
    results: Sequence[Results], *, num_classes: int | None = None
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float64]]:
    """Data-set means of the configurations that left results everywhere, as Friedman's test wants them.

    Args:
        results: One item per data set.
        num_classes: For chance accuracy.

    Returns:
        Data sets, configurations, and means of shape (num_datasets, num_configs).
    """
    means = data_set_means(results, num_classes=num_classes)
    datasets = tuple(found.dataset for found in results)
    configs = tuple(name for name, row in means.items() if len(row) == len(datasets))
    table = np.array([[means[name][dataset] for name in configs] for dataset in datasets])
    return datasets, configs, table


def examine_across(results: Sequence[Results], family: Sequence[tuple[str, str]], declared: Declared) -> list[Examined]:
    """Look at every comparison over the data sets.

    Args:
        results: At least MIN_DATA_SETS data sets.
        family: The declared comparisons.
        declared: What is claimed.

    Returns:
        One item per comparison, in the family's order; its blocks are the data sets.

    Raises:
        ScoresError: Another test was declared than the one there is.
    """
    if declared.method not in {"auto", "wilcoxon"}:
        raise ScoresError(
            f"method: over {len(results)} data sets there is wilcoxon only, found {declared.method}; take auto, or "
            "analyse each data set alone"
        )
    scores = {
        name: scores_of(name, tuple(row), np.array(list(row.values())), ())
        for name, row in data_set_means(results, num_classes=declared.num_classes).items()
    }
    plain = dataclasses.replace(declared, method="auto", estimand="this-data", adjust="holm")
    return [examine(pair, {}, scores, plain, family_size=len(family), method=ACROSS) for pair in family]
