"""Several comparisons, one promise: the chance of any false "better" in the declared family stays below alpha.

Two intervals go with an adjusted p. The per-comparison interval (1 - alpha) is the one that people know how to read,
and stands in the sentence; it may exclude 0 although the adjusted p is above alpha, and the sentence then says so. The
simultaneous interval is of Bonferroni width (1 - alpha / family size): all of the family's cover together. It may
include 0 although Holm rejects, because Holm gains its power in later steps; intervals that match Holm's steps exactly
exist only one-sided (Strassburger & Bretz 2008).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.significance.records import Interval
from search.significance.student import interval_of

METHOD = "holm"


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust p-values by Holm's step-down procedure.

    The family is what was declared: a comparison without a p-value (refused) keeps its place and counts as p = 1, so
    that dropping a comparison never makes the others look better. Valid under any dependence; the promise fails when
    the family was chosen after looking.

    Args:
        p_values: Raw two-sided p-values of the whole family; None where there is none.

    Returns:
        Adjusted p-values in the same order, None where the raw one is.

    Reference:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    from statsmodels.stats.multitest import (  # type: ignore[import-untyped, unused-ignore]  # slow import
        multipletests,
    )

    if not p_values:
        return ()
    raw = np.array([1.0 if p is None else p for p in p_values])
    adjusted = multipletests(raw, method=METHOD)[1]
    return tuple(None if p is None else float(value) for p, value in zip(p_values, adjusted, strict=True))


def simultaneous_interval(estimate: float, se: float, df: float, *, alpha: float, family_size: int) -> Interval:
    """Bonferroni interval: with probability 1 - alpha all intervals of the family cover at once.

    Args:
        estimate: The mean difference.
        se: Its standard error.
        df: Degrees of freedom.
        alpha: Family-wise error rate.
        family_size: Number of declared comparisons.

    Returns:
        The interval; its level is 1 - alpha / family_size.
    """
    return interval_of(estimate, se, df, level=1 - alpha / family_size)
