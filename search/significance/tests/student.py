"""From the law of a mean difference to p and interval, the last step of every test; and Student's law, the usual."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from search.significance.records import Interval, Law, MeanTest


@dataclass(frozen=True, kw_only=True)
class Student:
    """The law of a mean whose standard error is estimated: a t distribution."""

    se: float
    """Standard error of the mean, above 0."""
    df: float
    """Degrees of freedom."""

    def tail(self, distance: float) -> float:
        """Chance that the estimate misses by more than a distance, of either sign, to one side."""
        return float(special.stdtr(self.df, -distance / self.se))

    def half_width(self, level: float) -> float:
        """Half of the interval of a level."""
        return -float(special.stdtrit(self.df, (1 - level) / 2)) * self.se

    def finds(self, difference: float, *, alpha: float) -> float:
        """Chance that this test claims a true difference, on the side of the sign that it has."""
        # For the far side too a survival function: nct.cdf is NaN where it should be next to nothing (scipy 1.17).
        from scipy import stats

        return float(stats.nct.sf(-special.stdtrit(self.df, alpha / 2), self.df, difference / self.se))


def interval_of(estimate: float, law: Law, *, level: float) -> Interval:
    """Two-sided interval.

    Args:
        estimate: The mean.
        law: How far it may be off.
        level: Coverage, between 0 and 1.

    Returns:
        The interval, in the unit of the estimate.
    """
    half = law.half_width(level)
    return Interval(low=estimate - half, high=estimate + half, level=level)


def complete_test(
    name: str,
    *,
    estimate: float,
    se: float,
    df: float,
    law: Law | None,
    alpha: float,
    num_blocks: int,
    num_images: int | None = None,
) -> MeanTest:
    """Complete a test of a mean against zero.

    Args:
        name: The test's.
        estimate: The mean difference.
        se: Its standard error.
        df: Degrees of freedom; NaN where the law has none.
        law: How far the estimate may be off; None where nothing varied.
        alpha: The interval covers 1 - alpha.
        num_blocks: Repeats.
        num_images: Images of the fixed test set.

    Returns:
        The test; without a law there is none: t, p and the interval are NaN, since zero variance is no evidence.
    """
    if law is not None:
        t, p = estimate / se, min(2 * law.tail(abs(estimate)), 1.0)  # probabilities are summed in floats
        interval = interval_of(estimate, law, level=1 - alpha)
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
        law=law,
        num_blocks=num_blocks,
        num_images=num_images,
    )


def t_result(
    name: str, *, estimate: float, se: float, df: float, alpha: float, num_blocks: int, num_images: int | None = None
) -> MeanTest:
    """Complete a t test.

    Returns:
        The test; with a standard error of 0 there is none: t, p and the interval are NaN.
    """
    law = Student(se=se, df=df) if se > 0 else None
    return complete_test(
        name, estimate=estimate, se=se, df=df, law=law, alpha=alpha, num_blocks=num_blocks, num_images=num_images
    )
