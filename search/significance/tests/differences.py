"""Validation of score differences, and equality up to rounding errors.

0.7408 - 0.7325 and 0.7447 - 0.7364 are both 0.0083, but not the same float. Ranks and sums that treat them as different
create an order that was not measured, so equality here means equality up to `tolerance`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.pairing import ScoresError
from search.significance.records import MeanTest
from search.significance.tests.student import t_result


def checked(diff: NDArray[Any], *, num_axes: int = 1) -> NDArray[np.float64]:
    """Validate score differences.

    Args:
        diff: Shape (R,), or (R, P) with two axes; R >= 2.
        num_axes: 1 or 2.

    Returns:
        The same as float64.

    Raises:
        ScoresError: The shape is wrong, there are fewer than two blocks, or a value is not finite.
    """
    values = np.asarray(diff, dtype=np.float64)
    wanted = "(num_blocks,)" if num_axes == 1 else "(num_blocks, num_comparisons)"
    if values.ndim != num_axes or len(values) < 2 or values.size == 0:
        msg = f"differences must have shape {wanted} with at least 2 blocks, got {values.shape}"
        raise ScoresError(msg)
    if not np.isfinite(values).all():
        msg = f"differences must be finite, got {int((~np.isfinite(values)).sum())} that are not; remove lost blocks"
        raise ScoresError(msg)
    return values


def tolerance(values: NDArray[np.float64]) -> float:
    """Return the distance below which two of these values, or two sums of them, count as equal.

    Rounding errors of scores around 1 are 1e-16; the smallest real step, one image of a million, is 1e-6.
    """
    return max(1e-9 * float(np.abs(values).sum()) / max(len(values), 1), 1e-12)


def merged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace values that differ only by rounding errors by the same float.

    Rounding to a number of decimals would separate two values on both sides of a rounding edge.

    Args:
        values: Shape (n,).

    Returns:
        The same shape, every value replaced by the smallest of its group; a group ends where the gap to the next value
        exceeds the tolerance.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    starts = np.concatenate([[True], np.diff(ascending) > tolerance(values)])
    result = np.empty_like(values)
    result[order] = ascending[starts][np.cumsum(starts) - 1]
    return result


def varies(diff: NDArray[np.float64]) -> bool:
    """Return whether the values differ by more than rounding errors."""
    return bool(np.ptp(diff) > tolerance(diff))


def t_part(name: str, diff: NDArray[np.float64], *, alpha: float) -> MeanTest:
    """Return the plain paired t test, whose estimate, standard error and interval accompany another test.

    Args:
        name: Name of the other test.
        diff: Checked differences, shape (R,).
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test; standard error 0, and no p, where nothing varied.
    """
    spread = float(np.std(diff, ddof=1)) if varies(diff) else 0.0
    return t_result(
        name,
        estimate=float(np.mean(diff)),
        se=spread / math.sqrt(diff.size),
        df=float(diff.size - 1),
        alpha=alpha,
        num_blocks=diff.size,
    )
