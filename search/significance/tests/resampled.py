"""Tests on one score per block: the paired t, and its correction for overlapping training sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.records import MeanTest
from search.significance.tests.differences import varies
from search.significance.tests.student import t_result

PAIRED = "plain paired t"
CORRECTED = "corrected resampled t"


def paired_t(diff: NDArray[Any], *, alpha: float = 0.05) -> MeanTest:
    """Run the paired t test over blocks.

    Valid for "on this data set": given the data and the split, repeats with fresh seeds are independent. The guarantee
    fails for "on new data of this kind": blocks share images, and equal learners are then called different in .12 to
    .86 of simulations at .05.

    Args:
        diff: Score differences, shape (R,), R >= 2.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test.
    """
    return _t(PAIRED, diff, inflation=1 / diff.size, alpha=alpha)


def corrected_resampled_t(diff: NDArray[Any], *, ratio: float, alpha: float = 0.05) -> MeanTest:
    """Run the paired t test over random splits, with the variance corrected for overlapping training sets.

    Variance s^2 (1/n + n_test/n_train), n - 1 degrees of freedom. The second term does not shrink with n: there is a
    smallest difference that no number of splits detects.

    The guarantee fails on one fixed test set, where all scores share the same images (.02 to .78 at .05); use the
    crossed test there. The correction assumes a correlation of n_test / (n_test + n_train) between splits; with fewer
    than five splits the result depends mostly on this assumption.

    Args:
        diff: Score differences, shape (R,), R >= 2.
        ratio: Scored images over training images, n_test / n_train; 3/7 for a 7:3 split.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test.

    Reference:
        Nadeau & Bengio 2003, Inference for the Generalization Error, Machine Learning 52, section 4.2.
    """
    return _t(CORRECTED, diff, inflation=1 / diff.size + ratio, alpha=alpha)


def _t(name: str, diff: NDArray[Any], *, inflation: float, alpha: float) -> MeanTest:
    spread = float(np.std(diff, ddof=1)) if varies(diff) else 0.0  # ignore rounding errors of equal differences
    return t_result(
        name,
        estimate=float(np.mean(diff)),
        se=math.sqrt(inflation) * spread,
        df=float(diff.size - 1),
        alpha=alpha,
        num_blocks=diff.size,
    )
