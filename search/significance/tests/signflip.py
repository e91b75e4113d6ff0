"""Sign-flip test: if A and B are equal, each block's difference might as well have had the other sign."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.records import MeanTest
from search.significance.tests.differences import checked, t_part, tolerance

NAME = "sign-flip test"
CHUNK = 8192
"""Sign vectors drawn at a time."""


def smallest_p(num_blocks: int) -> float:
    """Smallest two-sided p-value that this many blocks can reach, 2 / 2^R; Wilcoxon's is the same."""
    return math.ldexp(1.0, 1 - num_blocks)


def fewest_blocks(*, alpha: float, family_size: int = 1) -> int:
    """Blocks from which on the test can reject at all under Holm: 1 + log2(m / alpha), rounded up.

    Args:
        alpha: Family-wise error rate.
        family_size: Declared comparisons, m.

    Returns:
        6 for one comparison at .05, 9 for eight.
    """
    return math.ceil(1 + math.log2(family_size / alpha))


def sign_flip_test(
    diff: NDArray[Any], *, alpha: float = 0.05, max_exact: int = 2**20, num_samples: int = 100_000, seed: int = 0
) -> MeanTest:
    """Two-sided test of the mean difference over all 2^R sign vectors of R blocks.

    p is the share of sign vectors whose mean is at least as far from 0; up to `max_exact` vectors all are counted,
    beyond that random ones, with the observed vector added to both counts so that p is never 0. No normal
    distribution is assumed. The smallest p that R blocks can reach is 2 / 2^R, whatever the difference.

    Right for "on this data set": repeats under fresh seeds on the same images. The promise fails for "new data of this
    kind", where blocks share images and so are not independent, and when equal means do not come with symmetric
    differences: between two configurations of unequal spread and skewed scores it tests the distribution, not the mean.

    Args:
        diff: Score differences, shape (R,), R >= 2.
        alpha: The t interval beside it covers 1 - alpha.
        max_exact: Most sign vectors to count one by one.
        num_samples: Random sign vectors beyond that.
        seed: Of the random sign vectors.

    Returns:
        The test; `statistic` is the mean difference, se, df, t and interval are those of the plain paired t. p is NaN
        where nothing varied.

    Raises:
        ScoresError: The differences are malformed.

    Reference:
        Fisher 1935, The Design of Experiments, section 21; Phipson & Smyth 2010, Permutation p-values should never be
        zero, Statistical Applications in Genetics and Molecular Biology 9 (the add-one estimator).
    """
    values = checked(diff)
    test = t_part(NAME, values, alpha=alpha)
    if not test.se > 0:
        return test
    # Two sums that are equal on paper may differ by float noise: the observed one must not lose to itself.
    bound = abs(float(values.sum())) - values.size * tolerance(values)
    if 2**values.size <= max_exact:
        p, p_error = _share_of_all(values, bound), None
    else:
        p = (_count_random(values, bound, num_samples, seed) + 1) / (num_samples + 1)
        p_error = math.sqrt(p * (1 - p) / (num_samples + 1))
    return dataclasses.replace(test, p=p, statistic=test.estimate, p_error=p_error)


def signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the values under all sign vectors.

    Args:
        values: Shape (R,) or (R, P): the signs go to the rows.

    Returns:
        Shape (2^R,) or (2^R, P).
    """
    sums = np.zeros((1, *values.shape[1:]))
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _share_of_all(values: NDArray[np.float64], bound: float) -> float:
    """Share of sign vectors with |sum| >= bound: sums of one half looked up among the sorted sums of the other."""
    if bound <= 0:
        return 1.0
    middle = values.size // 2
    first, second = signed_sums(values[:middle]), np.sort(signed_sums(values[middle:]))
    above = first.size * second.size - int(np.searchsorted(second, bound - first, side="left").sum())
    return math.ldexp(above, 1 - values.size)  # sums come in pairs of opposite sign: twice above, of 2^R


def _count_random(values: NDArray[np.float64], bound: float, num_samples: int, seed: int) -> int:
    rng = np.random.default_rng(seed)
    count = 0
    for start in range(0, num_samples, CHUNK):
        flips = rng.integers(0, 2, size=(min(CHUNK, num_samples - start), values.size), dtype=np.int8)
        sums = values.sum() - 2 * (flips.astype(np.float64) @ values)
        count += int((np.abs(sums) >= bound).sum())
    return count
