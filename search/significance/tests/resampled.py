"""Tests on one score per block: the plain paired t, and its correction for training sets that overlap."""

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
    """Paired t test over blocks.

    Right for "on this data set": with the data and the split given, repeats under fresh seeds are independent. The
    promise fails for "on new data of this kind": blocks share images, and equal learners are then told apart in .12 to
    .86 of simulations at .05.

    Args:
        diff: Score differences, shape (R,), R >= 2.
        alpha: The interval covers 1 - alpha.

    Returns:
        The test.
    """
    return _t(PAIRED, diff, inflation=1 / diff.size, alpha=alpha)


def corrected_resampled_t(diff: NDArray[Any], *, ratio: float, alpha: float = 0.05) -> MeanTest:
    """Paired t test over random splits, with the variance that overlapping training sets hide put back.

    Variance s^2 (1/n + n_test/n_train), n - 1 degrees of freedom. The second term does not shrink with n: there is a
    smallest difference that no number of splits can show.

    The promise fails on one fixed test set, where all scores share the same images (.02 to .78 at .05): use the crossed
    test there. The correction assumes a correlation of n_test / (n_test + n_train) between splits; with fewer than five
    splits it is mostly assumption.

    Args:
        diff: Score differences, shape (R,), R >= 2.
        ratio: Images scored over images trained on, n_test / n_train; 3/7 for a 7:3 split.
        alpha: The interval covers 1 - alpha.

    Returns:
        The test.

    Reference:
        Nadeau & Bengio 2003, Inference for the Generalization Error, Machine Learning 52, section 4.2.
    """
    return _t(CORRECTED, diff, inflation=1 / diff.size + ratio, alpha=alpha)


def _t(name: str, diff: NDArray[Any], *, inflation: float, alpha: float) -> MeanTest:
    spread = float(np.std(diff, ddof=1)) if varies(diff) else 0.0  # float noise of equal differences is no spread
    return t_result(
        name,
        estimate=float(np.mean(diff)),
        se=math.sqrt(inflation) * spread,
        df=float(diff.size - 1),
        alpha=alpha,
        num_blocks=diff.size,
    )
