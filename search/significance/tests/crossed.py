"""The default test: repeats crossed with the images of one fixed test set, both as random effects.

D[r, i] = correct_A - correct_B of repeat r on image i. A plain t test over repeats ignores that another test set would
give another mean; a test over images ignores that another training would. This test accounts for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.significance.records import Components, MeanTest
from search.significance.tests.mixture import Mixture
from search.significance.tests.student import complete_test, t_result

NAME = "crossed repeats x images"
SATTERTHWAITE = f"{NAME}, Satterthwaite"
FEW_IMAGES = 200
"""Up to this number of images, the variance from images is integrated over as well, instead of treated as known."""

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
    """Return the mean squares of repeats, images and residual, from row sums, column sums and squares only.

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
        # Each sum of squares times R * M is an integer, which Python computes exactly.
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
    """Return the variance components of one D[r, i]; negative estimates are set to 0.

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


@dataclass(frozen=True, kw_only=True)
class Variances:
    """The variance of the mean of D, by source, in squared fractions."""

    repeats: float
    """MS_R / (R M), or the total if that is less."""
    rest: float
    """The total minus `repeats`."""


def variances(squares: MeanSquares, *, variance: Variance = "conservative") -> Variances:
    """Return the variance of the mean of D for new repeats and new images, in the two parts that the test uses.

    Args:
        squares: The mean squares.
        variance: As in `crossed_test`.

    Returns:
        Both parts; 0 where nothing varied.
    """
    plain = squares.repeats + squares.images - squares.residual
    chosen = max(plain, squares.repeats, squares.images) if variance == "conservative" else max(plain, 0.0)
    repeats, cells = min(squares.repeats, chosen), squares.num_repeats * squares.num_images
    return Variances(repeats=repeats / cells, rest=(chosen - repeats) / cells)


def law_of(parts: Variances, *, num_repeats: float, num_images: int) -> Mixture | None:
    """Return the distribution of the estimation error of the mean of D.

    Args:
        parts: Its variance.
        num_repeats: R; infinity is allowed.
        num_images: M.

    Returns:
        The distribution; None where nothing varied.
    """
    if not parts.repeats + parts.rest > 0:
        return None
    df_rest = num_images - 1 if num_images <= FEW_IMAGES else math.inf
    return Mixture(runs=parts.repeats, rest=parts.rest, df_runs=num_repeats - 1, df_rest=df_rest)


def satterthwaite_df(squares: MeanSquares) -> float:
    """Return Satterthwaite's degrees of freedom of the plain sum of mean squares.

    They are never fewer than min(R, M) - 1, the minimum of the single mean squares.

    Args:
        squares: The mean squares.

    Returns:
        Degrees of freedom, not always an integer.

    Reference:
        Satterthwaite 1946, An approximate distribution of estimates of variance components, Biometrics Bulletin 2.
    """
    rows, cols = squares.num_repeats, squares.num_images
    plain = squares.repeats + squares.images - squares.residual
    spread = (
        squares.repeats**2 / (rows - 1)
        + squares.images**2 / (cols - 1)
        + squares.residual**2 / ((rows - 1) * (cols - 1))
    )
    fewest = float(min(rows, cols) - 1)
    return max(max(plain, 0.0) ** 2 / spread, fewest) if spread > 0 else fewest


def crossed_test(diff: NDArray[Any], *, alpha: float = 0.05, variance: Variance = "conservative") -> MeanTest:
    """Test the mean of D against zero, for new repeats and new images of the same kind.

    The variance of the mean is (MS_R + MS_I - MS_E) / (R M). `conservative` uses at least MS_R / (R M) and at least
    MS_I / (R M), so that a difference of mean squares that is low by chance does not suggest precision. p is a
    generalized p-value: with few repeats MS_R has only R - 1 degrees of freedom, so the normal tail is averaged over
    its distribution (`mixture`). With 200 images or fewer the rest of the variance is averaged over in the same way. If
    only repeats vary, this is the t test with R - 1 degrees of freedom.

    The guarantee fails if the repeats are not exchangeable (a seed that does not affect the training), if all repeats
    share an unusual training pool (it is a single draw, whose variance is not observed), and if the test images were
    chosen by the results of either configuration. In simulations where repeats and preferences for images differed
    strongly, equal configurations were called different in .035 to .047 of cases at .05, with 3 to 20 repeats, alone
    and in families of up to 28 adjusted by Holm (`bench/calibration.md`).

    Args:
        diff: D of shape (R, M), R >= 2 and M >= 2.
        alpha: The interval covers with probability 1 - alpha.
        variance: `conservative`, or `plain` for the unbiased combination; if that is 0 or less, there is no test.

    Returns:
        The test; its standard error is 0, and p is NaN, where nothing varied. The degrees of freedom are NaN.

    Reference:
        Tsui & Weerahandi 1989, Generalized p-values in significance testing of hypotheses in the presence of nuisance
        parameters, Journal of the American Statistical Association 84; Searle, Casella & McCulloch 1992, two-way random
        model without replication; nearest precedent: Sellam et al. 2022, The MultiBERTs (Multi-Bootstrap), arXiv
        2106.16163.
    """
    squares = mean_squares(diff)
    parts = variances(squares, variance=variance)
    return complete_test(
        NAME,
        estimate=squares.mean,
        se=math.sqrt(parts.repeats + parts.rest),
        df=math.nan,
        law=law_of(parts, num_repeats=squares.num_repeats, num_images=squares.num_images),
        alpha=alpha,
        num_blocks=squares.num_repeats,
        num_images=squares.num_images,
    )


def satterthwaite_test(diff: NDArray[Any], *, alpha: float = 0.05, variance: Variance = "conservative") -> MeanTest:
    """Run the test with the same estimate and variance, and a t distribution with Satterthwaite's degrees of freedom.

    For comparison with the crossed test, never for a decision. The guarantee fails with few repeats that differ
    strongly, and more so in families: the tails of t with estimated degrees of freedom are too light far out, where the
    smallest p of a family is read. Where the crossed test rejected in .035 of families of 28 with 3 repeats, this one
    rejected in .35 (`bench/calibration.md`).

    Args:
        diff: D of shape (R, M), R >= 2 and M >= 2.
        alpha: The interval covers with probability 1 - alpha.
        variance: As in `crossed_test`.

    Returns:
        The test; its standard error is 0, and p is NaN, where nothing varied.
    """
    squares = mean_squares(diff)
    parts = variances(squares, variance=variance)
    return t_result(
        SATTERTHWAITE,
        estimate=squares.mean,
        se=math.sqrt(parts.repeats + parts.rest),
        df=satterthwaite_df(squares),
        alpha=alpha,
        num_blocks=squares.num_repeats,
        num_images=squares.num_images,
    )
