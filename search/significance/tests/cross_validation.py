"""Five times twofold cross-validation: Dietterich's t and Alpaydin's F, for results that come in that form."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search.significance.pairing import ScoresError
from search.significance.records import MeanTest
from search.significance.tests.student import t_result

T_NAME = "5x2cv paired t"
F_NAME = "5x2cv F"


def five_by_two_t(diff: NDArray[Any], *, alpha: float = 0.05) -> MeanTest:
    """Dietterich's 5x2cv paired t: the first difference over the spread within the five pairs, 5 degrees of freedom.

    The two halves of a split share no training image, so the spread within a pair is honest where that over ten random
    splits is not. Right for "new data of this kind", at half of the training size. The promise fails when the ten
    differences are not five twofold splits; it leans on normal differences and on pairs that are independent, which
    they are only nearly. The numerator is one single difference: swapping two folds changes the answer, which is why
    Alpaydin's F is to be preferred.

    Args:
        diff: Score differences, shape (5, 2): split, fold.
        alpha: The interval covers 1 - alpha.

    Returns:
        The test; the estimate is diff[0, 0], by definition. p is NaN where no pair varies.

    Raises:
        ScoresError: Another shape, or a difference is not finite.

    Reference:
        Dietterich 1998, Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms,
        Neural Computation 10, section 3.5.
    """
    values = _checked(diff)
    return _t(T_NAME, values, estimate=float(values[0, 0]), alpha=alpha)


def five_by_two_f(diff: NDArray[Any], *, alpha: float = 0.05) -> MeanTest:
    """Alpaydin's combined 5x2cv F: all ten squared differences over twice the spread within pairs, F(10, 5).

    Does not depend on the order of folds and rejects less often in error than Dietterich's t. The promise fails as that
    of the t does. F knows no direction: it can reject because differences are large in both directions.

    Args:
        diff: Score differences, shape (5, 2): split, fold.
        alpha: The interval covers 1 - alpha.

    Returns:
        The test; `statistic` is F, p is F's. The estimate is the mean of the ten; se, df, t and interval are a t test
        of it with the variance of a single difference, whose t squared never exceeds F. p is NaN where no pair varies.

    Raises:
        ScoresError: Another shape, or a difference is not finite.

    Reference:
        Alpaydin 1999, Combined 5x2 cv F Test for Comparing Supervised Classification Learning Algorithms, Neural
        Computation 11, equation 3.1.
    """
    values = _checked(diff)
    test = _t(F_NAME, values, estimate=float(values.mean()), alpha=alpha)
    if not test.se > 0:
        return test
    ratio = float((values**2).sum()) / (10 * test.se**2)
    return dataclasses.replace(test, statistic=ratio, p=float(stats.f.sf(ratio, 10, 5)))


def _t(name: str, values: NDArray[np.float64], *, estimate: float, alpha: float) -> MeanTest:
    within = np.ptp(values, axis=1)
    spread = math.sqrt(float((within**2).sum()) / 10)  # half the squared range is a pair's sum of squares; of five
    return t_result(
        name, estimate=estimate, se=spread if within.max() > 1e-12 else 0.0, df=5.0, alpha=alpha, num_blocks=10
    )


def _checked(diff: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(diff, dtype=np.float64)
    if values.shape != (5, 2) or not np.isfinite(values).all():
        msg = f"5x2 cross-validation needs finite differences of shape (5, 2), split by fold, got {values.shape}"
        raise ScoresError(msg)
    return values
