"""Six or more data sets at one glance: how configurations rank over them. It describes; pairs are judged by ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from search.significance.across import MIN_DATA_SETS, score_table
from search.significance.results import Results
from search.significance.wording import p_value

MIN_CONFIGS = 3


def ranks_across(results: Sequence[Results], *, alpha: float = 0.05) -> dict[str, Any] | None:
    """Friedman's test with Iman and Davenport's F, and the critical difference of mean ranks.

    Args:
        results: One per data set.
        alpha: Of the critical difference.

    Returns:
        JSON-safe; None below six data sets, or with fewer than three configurations that have results on all of them.
    """
    if len(results) < MIN_DATA_SETS:
        return None
    from search.significance.friedman import friedman, nemenyi_difference

    datasets, configs, scores = score_table(results)
    if len(configs) < MIN_CONFIGS:
        return None
    test = friedman(scores)
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
        "nemenyi_difference": gap,
        "sentence": (
            f"Over {test.num_datasets} data sets the mean ranks are {ranks} (1 is best; Friedman, Iman-Davenport F "
            f"{p_value(test.p_f)}; critical difference {gap:.2f}, descriptive only)."
        ),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
