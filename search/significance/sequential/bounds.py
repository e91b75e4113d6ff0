"""Sequential tests: an e-process that may be read after every block, and bounds for declared interim analyses.

A p-value that is read after each block until it falls below .05 does so in a third of all null experiments of up to 60
blocks. Both tests assume independent repeats, so they apply to "this data set".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

MAX_LOOKS = 100
FAR = 7.0
"""From this constant on, the sum over the analyses is used: quadrature is less precise than such probabilities."""


def e_values(diff: NDArray[Any], *, g: float = 1.0) -> NDArray[np.float64]:
    """Return the evidence against "no difference" after each block: the t-test e-process.

    E_n = (1 + n g)^(-1/2) [(1 + t^2/v) / (1 + t^2 / (v (1 + n g)))]^(n/2), with t of the first n blocks and v = n - 1.
    Without a difference it ever reaches 1/alpha with probability at most alpha, so it may be read after every block,
    and the experiment may stop at any time. While the blocks do not vary, t = 0 is used: zero variance is no evidence.

    The guarantee fails if the differences are far from normal, if blocks are not independent (random splits, for claims
    about new data), and if blocks are left out or reordered after seeing them.

    Args:
        diff: Score differences in the order in which the blocks were run, shape (R,).
        g: Variance of the true d_z under the mixture, above 0: large for large effects; fixed before seeing the
            results.

    Returns:
        E_n for n = 2 to R, shape (R - 1,); empty below two blocks.

    Reference:
        Wang & Ramdas 2023, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance,
        arXiv 2310.03722.
    """
    n, means, squares = _running(diff, g)
    varied = np.sqrt(squares / (n - 1)) > 1e-12  # below: rounding errors of equal differences
    ratio = np.where(varied, n * means**2 / np.where(varied, squares, 1.0), 0.0)  # t^2 / v
    inflation = 1 + n * g
    with np.errstate(over="ignore"):
        return np.asarray(
            np.exp(n / 2 * (np.log1p(ratio) - np.log1p(ratio / inflation)) - np.log(inflation) / 2), dtype=np.float64
        )


def _running(diff: NDArray[Any], g: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return number, mean and sum of squared deviations of the first n blocks, n = 2 to R."""
    if not g > 0:
        msg = f"g must be above 0, got {g}"
        raise ValueError(msg)
    n = np.arange(1, diff.size + 1)
    means = np.cumsum(diff) / n
    # Welford's update: sums of squares, so that equal differences leave only rounding errors as variance.
    squares = np.cumsum((n[1:] - 1) / n[1:] * (diff[1:] - means[:-1]) ** 2)
    return n[1:], means[1:], squares


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """O'Brien and Fleming's bounds for equally spaced, declared interim analyses."""

    constant: float
    """C_B of the tables."""
    z: tuple[float, ...]
    """Reject at analysis k if |z| reaches this value."""
    nominal: tuple[float, ...]
    """The same as two-sided levels: reject at analysis k if p is at or below it. For few blocks, use these with t's
    p."""
    spent: tuple[float, ...]
    """Probability of a false rejection at analysis k or before; alpha at the last one."""


@lru_cache(maxsize=64)
def group_sequential_bounds(num_looks: int, *, alpha: float = 0.05) -> Bounds:
    """Return bounds that keep the probability of any false rejection over all interim analyses at alpha.

    They are strict at first and almost unadjusted at the last analysis. The guarantee fails if analyses are added,
    moved or chosen by the results, and if blocks are not independent. It holds for normal statistics: with t's p at the
    nominal levels, and a first analysis after two or three blocks, .054 of null experiments were rejected at .05.

    Args:
        num_looks: Number of analyses, each after the same number of further blocks; 1 to 100.
        alpha: Probability of a false rejection at any analysis, two-sided.

    Returns:
        The bounds.

    Raises:
        ValueError: A number is out of range.

    Reference:
        O'Brien & Fleming 1979, Biometrics 35; Armitage, McPherson & Rowe 1969 (recursion); Jennison & Turnbull 2000,
        Group Sequential Methods, section 2.5, table 2.3.
    """
    if not (1 <= num_looks <= MAX_LOOKS and 0 < alpha < 1):
        msg = f"num_looks must be 1 to {MAX_LOOKS} and alpha in (0, 1), got {num_looks} and {alpha}"
        raise ValueError(msg)
    # The bound of a single analysis is too low for several, Bonferroni's too high.
    low, high = -float(special.ndtri(alpha / 2)), -float(special.ndtri(alpha / 2 / num_looks))
    constant = low
    if num_looks > 1:
        constant = float(scipy.optimize.brentq(lambda c: _crossed_by(c, num_looks)[-1] - alpha, low, high, xtol=1e-10))
    z = constant * _shape(num_looks)
    return Bounds(
        constant=constant,
        z=tuple(z.tolist()),
        nominal=tuple((2 * special.ndtr(-z)).tolist()),
        spent=tuple(_crossed_by(constant, num_looks)),
    )


def interim_p(p: float, *, look: int, num_looks: int) -> float:
    """Return the p-value of a declared interim analysis: the smallest alpha whose bounds reject at this analysis.

    It may be read at every analysis, and an experiment may stop at any of them: without a difference, the smallest of
    them all is at or below alpha with probability alpha (a repeated p-value). An adjustment of a family that rests on
    Bonferroni's inequality, such as Holm's, therefore keeps its guarantee at whichever analysis the family stops.

    >>> round(interim_p(0.0226, look=4, num_looks=5), 3)
    0.05

    Args:
        p: Two-sided p-value of the blocks so far.
        look: Number of this analysis, from 1.
        num_looks: Number of declared analyses, each after the same number of further blocks.

    Returns:
        A p-value, at least as large as p; NaN if p is.

    Reference:
        Jennison & Turnbull 2000, Group Sequential Methods, chapter 9.
    """
    if math.isnan(p) or num_looks == 1:
        return p
    constant = -float(special.ndtri(p / 2)) * math.sqrt(look / num_looks)
    if constant > FAR:
        return max(p, float(2 * special.ndtr(-constant * _shape(num_looks)).sum()))
    return max(p, _crossed_by(constant, num_looks)[-1])


def interim_level(alpha: float, interim: tuple[int, int] | None) -> float:
    """Return the level at which a declared interim analysis rejects; alpha if there is only one analysis."""
    if interim is None:
        return alpha
    look, num_looks = interim
    return group_sequential_bounds(num_looks, alpha=alpha).nominal[look - 1]


def _shape(num_looks: int) -> NDArray[np.float64]:
    """Return z_k / C, k = 1 to K."""
    return np.sqrt(num_looks / np.arange(1, num_looks + 1))


def _crossed_by(constant: float, num_looks: int) -> list[float]:
    """Return P(|z| reached its bound at analysis k or before), k = 1 to K.

    The bounds z_k = C sqrt(K / k) are a straight barrier C sqrt(K) for the sum, whose density is propagated between
    analyses by quadrature.
    """
    barrier = constant * math.sqrt(num_looks)
    nodes, weights = np.polynomial.legendre.leggauss(40 + 4 * math.ceil(barrier))  # 4 or more per SD of a step
    places, mass = np.zeros(1), np.ones(1)
    crossed: list[float] = []
    for _ in range(num_looks):
        steps = barrier * nodes[:, None] - places
        arrived = np.exp(-(steps**2) / 2) @ mass / math.sqrt(2 * math.pi)
        places, mass = barrier * nodes, barrier * weights * arrived
        crossed.append(max(1 - float(mass.sum()), *crossed, 0.0))
    return crossed
