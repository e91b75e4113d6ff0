"""Compute p and interval from the distribution of a mean difference, the last step of every test; and Student's t."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy
from scipy import special

from search.significance.records import Interval, Law, MeanTest


@dataclass(frozen=True, kw_only=True)
class Student:
    """Distribution of a mean whose standard error is estimated: a t distribution."""

    se: float
    """Standard error of the mean, above 0."""
    df: float
    """Degrees of freedom."""

    def tail(self, distance: float) -> float:
        """Return the probability that the error exceeds a distance, of either sign, on one side."""
        return float(special.stdtr(self.df, -distance / self.se))

    def half_width(self, level: float) -> float:
        """Return the half-width of an interval with this coverage."""
        return -float(special.stdtrit(self.df, (1 - level) / 2)) * self.se

    def power(self, difference: float, *, alpha: float) -> float:
        """Return the probability that the test rejects on the side of a true difference."""
        # A survival function for the lower tail as well: nct.cdf is NaN where it should be almost 0 (scipy 1.17).
        return float(scipy.stats.nct.sf(-special.stdtrit(self.df, alpha / 2), self.df, difference / self.se))


def interval_of(estimate: float, law: Law, *, level: float) -> Interval:
    """Return the two-sided interval.

    Args:
        estimate: The mean.
        law: Distribution of the estimation error.
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
    """Return the test of a mean against zero, from its estimate and distribution.

    Args:
        name: Name of the test.
        estimate: The mean difference.
        se: Its standard error.
        df: Degrees of freedom; NaN if the distribution has none.
        law: Distribution of the estimation error; None if nothing varied.
        alpha: The interval covers with probability 1 - alpha.
        num_blocks: Number of repeats.
        num_images: Number of images of the fixed test set.

    Returns:
        The test; without a law, t, p and the interval are NaN, since zero variance is no evidence.
    """
    if law is not None:
        t, p = estimate / se, min(2 * law.tail(abs(estimate)), 1.0)  # sums of probabilities can exceed 1 by rounding
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
    """Return a t test from its estimate and standard error; the arguments are those of `complete_test`.

    Returns:
        The test; with a standard error of 0, t, p and the interval are NaN.
    """
    law = Student(se=se, df=df) if se > 0 else None
    return complete_test(
        name, estimate=estimate, se=se, df=df, law=law, alpha=alpha, num_blocks=num_blocks, num_images=num_images
    )
