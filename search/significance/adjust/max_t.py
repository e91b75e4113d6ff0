"""Westfall-Young max-T: adjust comparisons on the same blocks, using their correlation.

Comparisons that share a control, or blocks, are correlated, which makes Holm conservative. Flipping the signs of whole
blocks preserves the correlation; the largest statistic of each flip gives the null distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.tests.differences import checked, varies
from search.significance.tests.signflip import CHUNK, signed_sums


@dataclass(frozen=True, kw_only=True)
class MaxT:
    """Adjusted p-values of a family."""

    adjusted_p: tuple[float, ...]
    """Per comparison; NaN where its differences do not vary."""
    p_error: tuple[float, ...] | None
    """Monte-Carlo standard errors; None if all sign vectors were counted."""


def max_t(
    diff: NDArray[Any],
    *,
    max_exact: int = 2**20,
    num_samples: int = 100_000,
    seed: int = 0,
) -> MaxT:
    """Adjust a family of paired comparisons by the largest |t| under sign flips of whole blocks.

    Step-down: the adjusted p of the comparison with the largest |t| is the share of sign vectors whose largest |t| over
    all comparisons reaches it; the next comparison is treated the same way among the remaining ones, and so on, with
    adjusted p-values made non-decreasing.
    Since t is monotone in |sum| / sqrt(sum of squares), and flips do not change the squares, only sums are computed.
    The smallest p that R blocks can reach is 2 / 2^R.

    Valid for "on this data set": with iid repeats the family-wise error rate is controlled for any set of true null
    hypotheses (strong control), since flips of the null comparisons have the same distribution with or without the
    others. The guarantee fails for "new data of this kind", where blocks share images. It also assumes that the null
    differences of a block are jointly symmetric, which holds for differences to a shared control if scores are
    symmetric, and approximately otherwise.

    Args:
        diff: Score differences, one column per comparison, shape (R, P), R >= 2; all on the same blocks.
        max_exact: Maximum number of sign vectors to enumerate.
        num_samples: Number of random sign vectors beyond that; the observed one is added to them.
        seed: Seed of the random sign vectors.

    Returns:
        Adjusted p-values. A comparison that does not vary gets NaN and is excluded from all maxima.

    Raises:
        ScoresError: The differences are malformed.

    Reference:
        Westfall & Young 1993, Resampling-Based Multiple Testing, algorithms 2.5 and 4.1; Phipson & Smyth 2010 (the
        add-one estimator).
    """
    values = checked(diff, num_axes=2)
    kept = np.array([place for place in range(values.shape[1]) if varies(values[:, place])], dtype=np.intp)
    adjusted = np.full(values.shape[1], math.nan)
    exact = 2 ** len(values) <= max_exact
    if kept.size:
        columns = values[:, kept] / np.sqrt((values[:, kept] ** 2).sum(axis=0))
        order = np.argsort(-np.abs(columns.sum(axis=0)), kind="stable")
        adjusted[kept[order]] = _share(columns[:, order], num_samples=None if exact else num_samples, seed=seed)
    error = None if exact else tuple(np.sqrt(adjusted * (1 - adjusted) / (num_samples + 1)).tolist())
    return MaxT(adjusted_p=tuple(adjusted.tolist()), p_error=error)


def _share(columns: NDArray[np.float64], *, num_samples: int | None, seed: int) -> NDArray[np.float64]:
    """Return the adjusted p-values of columns in descending order of their statistic."""
    observed = np.abs(columns.sum(axis=0))
    bound = observed - 1e-9 * np.abs(columns).sum(axis=0)  # rounding errors must not break ties
    reached = np.zeros(observed.size, dtype=np.int64)
    total = 0
    for sums in _all_flips(columns) if num_samples is None else _random_flips(columns, num_samples, seed):
        size = np.abs(sums, out=sums)
        # Step-down: the maximum over this column and all later ones.
        largest = np.maximum.accumulate(size[:, ::-1], axis=1)[:, ::-1]
        reached += (largest >= bound).sum(axis=0)
        total += len(sums)
    if num_samples is not None:
        reached, total = reached + 1, total + 1
    return np.maximum.accumulate(reached / total)


def _all_flips(columns: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield signed sums of the columns in chunks; the first block is never flipped, as |sum| is symmetric."""
    middle = max(len(columns) - 10, 1)
    first, second = signed_sums(columns[1:middle]) + columns[0], signed_sums(columns[middle:])
    for part in first:
        yield part + second


def _random_flips(columns: NDArray[np.float64], num_samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    for start in range(0, num_samples, CHUNK):
        flips = rng.integers(0, 2, size=(min(CHUNK, num_samples - start), len(columns)), dtype=np.int8)
        yield columns.sum(axis=0) - 2 * (flips.astype(np.float64) @ columns)
