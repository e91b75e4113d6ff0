"""The headline test: repeats crossed with the images of one fixed test set, both of them random.

D[r, i] = correct_A - correct_B of repeat r on image i. A plain t test over repeats forgets that another test set would
have given another mean; a test over images forgets that another training would. Here both count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.significance.records import Components, MeanTest
from search.significance.student import t_result

NAME = "crossed repeats x images"

Variance = Literal["conservative", "plain"]


@dataclass(frozen=True, kw_only=True)
class MeanSquares:
    """Two-way analysis of variance without replication."""

    mean: float
    repeats: float
    """MS_R: mean square of the rows."""
    images: float
    """MS_I: mean square of the columns."""
    residual: float
    """MS_E."""
    num_repeats: int
    num_images: int


def mean_squares(diff: NDArray[Any]) -> MeanSquares:
    """Split the variation of D into repeats, images and the rest, from row sums, column sums and squares only.

    Integer input is summed exactly, so that no variation gives exactly 0.

    Args:
        diff: D of shape (R, M), R >= 2 and M >= 2: integers in {-1, 0, 1}, or floats where a row was filled with
            chance.

    Returns:
        The mean and the mean squares.
    """
    rows, cols = diff.shape
    if np.issubdtype(diff.dtype, np.integer):
        row_sums = [int(value) for value in diff.sum(axis=1, dtype=np.int64)]
        col_sums = diff.sum(axis=0, dtype=np.int64)
        total, size = sum(row_sums), rows * cols
        # Each sum of squares times R * M is a whole number; Python's integers hold it without rounding.
        between_rows = rows * sum(value * value for value in row_sums) - total**2
        between_cols = cols * int(np.dot(col_sums, col_sums)) - total**2
        everything = size * int(np.count_nonzero(diff)) - total**2
        rest = everything - between_rows - between_cols
        mean, ss_rows, ss_cols, ss_rest = total / size, between_rows / size, between_cols / size, rest / size
    else:
        mean = float(diff.mean())
        centred = diff - mean
        row_means, col_means = centred.mean(axis=1), centred.mean(axis=0)
        ss_rows, ss_cols = cols * float(row_means @ row_means), rows * float(col_means @ col_means)
        ss_rest = max(float(np.vdot(centred, centred)) - ss_rows - ss_cols, 0.0)
    return MeanSquares(
        mean=mean,
        repeats=ss_rows / (rows - 1),
        images=ss_cols / (cols - 1),
        residual=ss_rest / ((rows - 1) * (cols - 1)),
        num_repeats=rows,
        num_images=cols,
    )


def components(diff: NDArray[Any]) -> Components:
    """Split the variance of one D[r, i] by its source, with what comes out negative by chance taken as 0.

    Args:
        diff: D of shape (R, M), R >= 2 and M >= 2.

    Returns:
        The variances, in squared fractions.

    Reference:
        Searle, Casella & McCulloch 1992, section 4.3: expected mean squares solved for the components.
    """
    squares = mean_squares(diff)
    return Components(
        repeats=max((squares.repeats - squares.residual) / squares.num_images, 0.0),
        images=max((squares.images - squares.residual) / squares.num_repeats, 0.0),
        residual=squares.residual,
    )


def crossed_test(diff: NDArray[Any], *, alpha: float = 0.05, variance: Variance = "conservative") -> MeanTest:
    """Test the mean of D against zero, for new repeats and new images of the same kind.

    The variance of the mean is (MS_R + MS_I - MS_E) / (R M). `conservative` takes no less than MS_R / (R M) or MS_I /
    (R M), which keeps a chance-low difference of mean squares from passing for precision. Degrees of freedom are
    Satterthwaite's for the plain combination, and never fewer than min(R, M) - 1, the fewest that any single mean
    square carries.

    The promise fails when the repeats are not exchangeable (a seed that never reaches the training), when all repeats
    share a training pool that is itself unusual (it is one draw, and its variance is not seen), when the test images
    were chosen with either configuration in view, and, mildly, with few repeats that differ strongly: exactly equal
    learners were then told apart in .08 of simulations at .05 with 3 repeats, .06 with 5, .05 from 10 on
    (`bench/calibration.md`).

    Args:
        diff: D of shape (R, M), R >= 2 and M >= 2.
        alpha: The interval covers 1 - alpha.
        variance: `conservative`, or `plain` for the unbiased combination, which can be 0 or less: then there is no
            test.

    Returns:
        The test; its standard error is 0, and p is NaN, where nothing varied.

    Reference:
        Satterthwaite 1946 (degrees of freedom); Searle, Casella & McCulloch 1992, two-way random model without
        replication; nearest precedent: Sellam et al. 2022, The MultiBERTs (Multi-Bootstrap), arXiv 2106.16163.
    """
    squares = mean_squares(diff)
    rows, cols = squares.num_repeats, squares.num_images
    plain = squares.repeats + squares.images - squares.residual
    chosen = max(plain, squares.repeats, squares.images) if variance == "conservative" else max(plain, 0.0)
    spread = (
        squares.repeats**2 / (rows - 1)
        + squares.images**2 / (cols - 1)
        + squares.residual**2 / ((rows - 1) * (cols - 1))
    )
    fewest = float(min(rows, cols) - 1)
    return t_result(
        NAME,
        estimate=squares.mean,
        se=math.sqrt(chosen / (rows * cols)),
        df=max(max(plain, 0.0) ** 2 / spread, fewest) if spread > 0 else fewest,
        alpha=alpha,
        num_blocks=rows,
        num_images=cols,
    )
