"""Sign-flip test: if A and B are equal, each block's difference could equally have the opposite sign."""

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
"""Number of sign vectors drawn at a time."""


def fewest_blocks(*, alpha: float, family_size: int = 1) -> int:
    """Return the minimum number of blocks for a rejection under Holm: 1 + log2(m / alpha), rounded up.

    >>> fewest_blocks(alpha=0.05)
    6

    Args:
        alpha: Family-wise error rate.
        family_size: Number of declared comparisons m.

    Returns:
        6 for one comparison at .05, 9 for eight.
    """
    return math.ceil(1 + math.log2(family_size / alpha))


def sign_flip_test(
    diff: NDArray[Any], *, alpha: float = 0.05, max_exact: int = 2**20, num_samples: int = 100_000, seed: int = 0
) -> MeanTest:
    """Run the two-sided test of the mean difference over all 2^R sign vectors of R blocks.

    p is the share of sign vectors whose mean is at least as far from 0. Up to `max_exact` vectors all are enumerated;
    beyond that, random ones are drawn and the observed vector is added to both counts, so that p is never 0. No normal
    distribution is assumed. The smallest p that R blocks can reach is 2 / 2^R, for any difference.

    Valid for "on this data set": repeats with fresh seeds on the same images. The guarantee fails for "new data of this
    kind", where blocks share images and are not independent, and if equal means do not imply symmetric differences: for
    configurations with unequal spread and skewed scores it tests the distribution, not the mean.

    Args:
        diff: Score differences, shape (R,), R >= 2.
        alpha: The accompanying t interval covers with probability 1 - alpha.
        max_exact: Maximum number of sign vectors to enumerate.
        num_samples: Number of random sign vectors beyond that.
        seed: Seed of the random sign vectors.

    Returns:
        The test; `statistic` is the mean difference, and se, df, t and interval are those of the plain paired t. p is
        NaN where nothing varied.

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
    # Sums that are mathematically equal may differ by rounding errors: the observed sum must count as reaching itself.
    bound = abs(float(values.sum())) - values.size * tolerance(values)
    if 2**values.size <= max_exact:
        p, p_error = _share_of_all(values, bound), None
    else:
        p = (_count_random(values, bound, num_samples, seed) + 1) / (num_samples + 1)
        p_error = math.sqrt(p * (1 - p) / (num_samples + 1))
    return dataclasses.replace(test, p=p, statistic=test.estimate, p_error=p_error)


def signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of the values under all sign vectors.

    Args:
        values: Shape (R,) or (R, P); a sign applies to a row.

    Returns:
        Shape (2^R,) or (2^R, P).
    """
    sums = np.zeros((1, *values.shape[1:]))
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _share_of_all(values: NDArray[np.float64], bound: float) -> float:
    """Return the share of sign vectors with |sum| >= bound, by looking up sums of one half in those of the other."""
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
