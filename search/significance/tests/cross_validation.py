"""5x2 cross-validation: Dietterich's t and Alpaydin's F, for results of five twofold splits."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from search.significance.pairing import ScoresError
from search.significance.records import MeanTest
from search.significance.tests.student import t_result

T_NAME = "5x2cv paired t"
F_NAME = "5x2cv F"


def five_by_two_t(diff: NDArray[Any], *, alpha: float = 0.05) -> MeanTest:
    """Run Dietterich's 5x2cv paired t: the first difference over the spread within pairs, 5 degrees of freedom.

    The two halves of a split share no training images, so the spread within a pair is valid, unlike the spread over ten
    random splits. Valid for "new data of this kind", at half of the training size. The guarantee fails if the ten
    differences are not from five twofold splits. It assumes normal differences and independent pairs, which holds only
    approximately. The numerator is a single difference, so swapping two folds changes the result; prefer Alpaydin's F.

    Args:
        diff: Score differences, shape (5, 2): split, fold.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test; the estimate is diff[0, 0], by definition. p is NaN if no pair varies.

    Raises:
        ScoresError: The shape is wrong, or a difference is not finite.

    Reference:
        Dietterich 1998, Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms,
        Neural Computation 10, section 3.5.
    """
    values = _checked(diff)
    return _t(T_NAME, values, estimate=float(values[0, 0]), alpha=alpha)


def five_by_two_f(diff: NDArray[Any], *, alpha: float = 0.05) -> MeanTest:
    """Run Alpaydin's combined 5x2cv F: all ten squared differences over twice the spread within pairs, F(10, 5).

    It does not depend on the order of folds and has fewer false rejections than Dietterich's t. The guarantee fails
    where that of the t does. F has no direction: it can reject because differences are large in both directions.

    Args:
        diff: Score differences, shape (5, 2): split, fold.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test; `statistic` is F, and p is F's. The estimate is the mean of the ten; se, df, t and interval are those
        of its t test with the variance of a single difference, whose t squared never exceeds F. p is NaN if no pair
        varies.

    Raises:
        ScoresError: The shape is wrong, or a difference is not finite.

    Reference:
        Alpaydin 1999, Combined 5x2 cv F Test for Comparing Supervised Classification Learning Algorithms, Neural
        Computation 11, equation 3.1.
    """
    values = _checked(diff)
    test = _t(F_NAME, values, estimate=float(values.mean()), alpha=alpha)
    if not test.se > 0:
        return test
    ratio = float((values**2).sum()) / (10 * test.se**2)
    return dataclasses.replace(test, statistic=ratio, p=float(special.fdtrc(10, 5, ratio)))


def _t(name: str, values: NDArray[np.float64], *, estimate: float, alpha: float) -> MeanTest:
    within = np.ptp(values, axis=1)
    spread = math.sqrt(float((within**2).sum()) / 10)  # a pair's sum of squares is half its squared range; five pairs
    return t_result(
        name, estimate=estimate, se=spread if within.max() > 1e-12 else 0.0, df=5.0, alpha=alpha, num_blocks=10
    )


def _checked(diff: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(diff, dtype=np.float64)
    if values.shape != (5, 2) or not np.isfinite(values).all():
        msg = f"5x2 cross-validation needs finite differences of shape (5, 2), split by fold, got {values.shape}"
        raise ScoresError(msg)
    return values
