"""From mean, standard error and degrees of freedom to t, p and interval: the last step of every test here."""

from __future__ import annotations

import math

from scipy import stats

from search.significance.records import Interval, MeanTest


def interval_of(estimate: float, se: float, df: float, *, level: float) -> Interval:
    """Two-sided t interval.

    Args:
        estimate: The mean.
        se: Its standard error.
        df: Degrees of freedom.
        level: Coverage, between 0 and 1.

    Returns:
        The interval, in the unit of the estimate.
    """
    half = float(stats.t.isf((1 - level) / 2, df)) * se
    return Interval(low=estimate - half, high=estimate + half, level=level)


def t_result(
    name: str, *, estimate: float, se: float, df: float, alpha: float, num_blocks: int, num_images: int | None = None
) -> MeanTest:
    """Complete a t test.

    Returns:
        The test; with a standard error of 0 there is none: t, p and the interval are NaN, since zero variance is no
        evidence.
    """
    if se > 0:
        t = estimate / se
        p = float(2 * stats.t.sf(abs(t), df))
        interval = interval_of(estimate, se, df, level=1 - alpha)
    else:
        t = p = math.nan
        interval = Interval(low=math.nan, high=math.nan, level=1 - alpha)
    return MeanTest(
        name=name,
        estimate=estimate,
        se=se,
        df=df,
        t=t,
        p=p,
        interval=interval,
        num_blocks=num_blocks,
        num_images=num_images,
    )
