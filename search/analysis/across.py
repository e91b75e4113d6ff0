"""Ranks of configurations over six or more data sets. Descriptive: pairs are judged by the signed-rank test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.significance.across import MIN_DATA_SETS, score_table
from search.significance.results import Results
from search.significance.rounding import p_value

if TYPE_CHECKING:
    from search.significance.tests.friedman import FriedmanTest

MIN_CONFIGS = 3


def ranks_across(
    results: Sequence[Results], *, alpha: float = 0.05, num_classes: int | None = None
) -> dict[str, Any] | None:
    """Rank configurations over data sets and test whether they rank alike.

    Reports Friedman's chi squared, Iman and Davenport's F, a permutation test of the ranks, and Nemenyi's critical
    difference.

    Args:
        results: One item per data set.
        alpha: Level of the critical difference.
        num_classes: Number of classes; a diverged repeat without a result counts with accuracy 1 / num_classes.

    Returns:
        A JSON-safe dictionary; None below six data sets, or if fewer than three configurations have results on all of
        them.
    """
    if len(results) < MIN_DATA_SETS:
        return None
    from search.significance.tests.friedman import friedman, nemenyi_difference, permutation_p, rank_scores

    datasets, configs, scores = score_table(results, num_classes=num_classes)
    if len(configs) < MIN_CONFIGS:
        return None
    test = friedman(scores)
    shuffled, error = permutation_p(rank_scores(scores))
    gap = nemenyi_difference(len(configs), len(datasets), alpha=alpha)
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(configs, test.average_ranks, strict=True))
    return {
        "configs": list(configs),
        "num_datasets": test.num_datasets,
        "average_ranks": list(test.average_ranks),
        "chi2": _finite(test.chi2),
        "p_chi2": _finite(test.p_chi2),
        "f": _finite(test.f),
        "df": list(test.df),
        "p_f": _finite(test.p_f),
        "p_shuffled": shuffled,
        "p_shuffled_error": error,
        "nemenyi_difference": gap,
        "sentence": (
            f"Over {test.num_datasets} data sets the mean ranks are {ranks} (1 is best). {_tests(test, shuffled)} "
            f"Critical difference {gap:.2f}, descriptive only."
        ),
    }


def _tests(test: FriedmanTest, shuffled: float) -> str:
    """Return Friedman's test as text: chi squared first, as SciPy and R print it."""
    if math.isnan(test.chi2):
        return "They tie on every data set, so Friedman's test has no result."
    return (
        f"Friedman's chi squared {test.chi2:.2f} with {test.df[0]} degrees of freedom, corrected for ties, "
        f"{p_value(test.p_chi2)}; by Iman and Davenport's F {p_value(test.p_f)}, by shuffled ranks {p_value(shuffled)}."
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
