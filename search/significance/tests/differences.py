"""Score differences as the tests on them want them: checked once, and float noise told from difference.

0.7408 - 0.7325 and 0.7447 - 0.7364 are the same 0.0083, but not the same float. Ranks and sums that treat them as
different invent an order that nobody measured, so equality here always means equality up to `tolerance`.
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
    """Refuse what is no set of differences.

    Args:
        diff: Shape (R,), or (R, P) with two axes; R >= 2.
        num_axes: 1 or 2.

    Returns:
        The same as float64.

    Raises:
        ScoresError: Another shape, fewer than two blocks, or a value that is not finite.
    """
    values = np.asarray(diff, dtype=np.float64)
    wanted = "(num_blocks,)" if num_axes == 1 else "(num_blocks, num_comparisons)"
    if values.ndim != num_axes or len(values) < 2 or values.size == 0:
        msg = f"differences must have shape {wanted} with at least 2 blocks, got {values.shape}"
        raise ScoresError(msg)
    if not np.isfinite(values).all():
        msg = f"differences must be finite, got {int((~np.isfinite(values)).sum())} that are not: leave lost blocks out"
        raise ScoresError(msg)
    return values


def tolerance(values: NDArray[np.float64]) -> float:
    """Distance below which two of these values, or two sums of them, count as equal.

    Float noise of scores around 1 is 1e-16 and the smallest honest step, one image of a million, is 1e-6.
    """
    return max(1e-9 * float(np.abs(values).sum()) / max(len(values), 1), 1e-12)


def merged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give values that differ by float noise only the same float.

    Rounding to a number of decimals would tear apart two that lie on both sides of a rounding edge.

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
    """Whether more than float noise sets the values apart."""
    return bool(np.ptp(diff) > tolerance(diff))


def t_part(name: str, diff: NDArray[np.float64], *, alpha: float) -> MeanTest:
    """Estimate, standard error and t interval that go with a test of another kind.

    Args:
        name: The test's.
        diff: Checked differences, shape (R,).
        alpha: The interval covers 1 - alpha.

    Returns:
        The plain paired t test; standard error 0, and so no p, where nothing varied.
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
