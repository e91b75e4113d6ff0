"""Looking early without paying for it: a test that may be read after every block, and bounds for declared looks.

A p-value that is read after each block until it falls below .05 does so in a third of all null experiments of up to 60
blocks. Both ways out take repeats for independent, so they speak of "this data set".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from search.significance.records import Interval

Kind = Literal["obrien-fleming", "pocock"]
MAX_LOOKS = 100


def e_values(diff: NDArray[Any], *, g: float = 1.0) -> NDArray[np.float64]:
    """Evidence against "no difference" after each block: the t-test e-process.

    E_n = (1 + n g)^(-1/2) [(1 + t^2/v) / (1 + t^2 / (v (1 + n g)))]^(n/2), t of the first n blocks and v = n - 1. Where
    there is no difference it ever reaches 1/alpha with probability at most alpha, so one may look after every block and
    stop at will. While the blocks do not vary at all it is taken at t = 0: zero variance is no evidence.

    The promise fails when the differences are far from normal, when blocks are not independent (random splits, for
    claims about new data), and when blocks are left out or reordered after looking.

    Args:
        diff: Score differences in the order in which the blocks were run, shape (R,).
        g: Variance of the true d_z under the mixture, above 0: large for large effects; fixed before looking.

    Returns:
        E_n for n = 2 to R, shape (R - 1,); empty below two blocks.

    Reference:
        Wang & Ramdas 2023, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance,
        arXiv 2310.03722.
    """
    n, means, squares = _running(diff, g)
    varied = np.sqrt(squares / (n - 1)) > 1e-12  # below: float noise of equal differences
    ratio = np.where(varied, n * means**2 / np.where(varied, squares, 1.0), 0.0)  # t^2 / v
    inflation = 1 + n * g
    with np.errstate(over="ignore"):
        return np.asarray(
            np.exp(n / 2 * (np.log1p(ratio) - np.log1p(ratio / inflation)) - np.log(inflation) / 2), dtype=np.float64
        )


def anytime_p(e_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values that hold whenever one stops: the smallest 1/E so far, at most 1.

    Args:
        e_values: E_n in the order of the blocks.

    Returns:
        Of the same shape, never rising.
    """
    return np.minimum.accumulate(1 / np.maximum(e_values, 1.0))


def anytime_interval(diff: NDArray[Any], *, alpha: float = 0.05, g: float = 1.0) -> Interval | None:
    """Interval that holds whenever one stops: the means against which the e-process has less than 1/alpha now.

    It leaves 0 exactly when the last of `e_values` has reached 1/alpha. Its promise is theirs.

    Args:
        diff: Score differences in the order in which the blocks were run, shape (R,).
        alpha: All intervals of all R together cover with probability 1 - alpha.
        g: As for `e_values`.

    Returns:
        The interval; None while it has no end (few blocks) or nothing varied.
    """
    n, means, squares = (values[-1:] for values in _running(diff, g))
    inflation = 1 + n * g
    threshold = np.exp((np.log(inflation) - 2 * math.log(alpha)) / n)
    if diff.size < 2 or threshold[0] >= inflation[0] or math.sqrt(squares[0] / (n[0] - 1)) < 1e-12:
        return None
    ratio = (threshold - 1) / (1 - threshold / inflation)
    middle, half = float(means[0]), math.sqrt(float(ratio[0] * squares[0] / n[0]))
    return Interval(low=middle - half, high=middle + half, level=1 - alpha)


def _running(diff: NDArray[Any], g: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Number, mean and sum of squared deviations of the first n blocks, n = 2 to R."""
    if not g > 0:
        msg = f"g must be above 0, got {g}"
        raise ValueError(msg)
    n = np.arange(1, diff.size + 1)
    means = np.cumsum(diff) / n
    # Welford's update: a sum of squares, so that equal differences leave no variance but float noise.
    squares = np.cumsum((n[1:] - 1) / n[1:] * (diff[1:] - means[:-1]) ** 2)
    return n[1:], means[1:], squares


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Declared looks, equally spaced."""

    kind: Kind
    constant: float
    """C_B or C_P of the tables."""
    z: tuple[float, ...]
    """Reject at look k when |z| reaches this."""
    nominal: tuple[float, ...]
    """The same as two-sided levels: reject at look k when p falls to this. With few blocks, use these with t's p."""


def group_sequential_bounds(num_looks: int, *, alpha: float = 0.05, kind: Kind = "obrien-fleming") -> Bounds:
    """Bounds that keep the chance of any false rejection over all looks at alpha.

    The promise fails when looks are added, moved or chosen by what was seen, and when blocks are not independent. It is
    one for normal statistics: with t's p at the nominal levels, and a first look after two or three blocks, .054
    (O'Brien-Fleming) and .058 (Pocock) of null experiments were rejected at .05.

    Args:
        num_looks: Looks, each after the same number of further blocks; 1 to 100.
        alpha: Chance of a false rejection at any look, two-sided.
        kind: `obrien-fleming`: hard to pass early, the last look costs almost nothing; `pocock`: alike at every look.

    Returns:
        The bounds.

    Raises:
        ValueError: A number out of range.

    Reference:
        Armitage, McPherson & Rowe 1969 (recursion); Jennison & Turnbull 2000, Group Sequential Methods, sections 2.4
        and 2.5, tables 2.1 and 2.3.
    """
    if not (1 <= num_looks <= MAX_LOOKS and 0 < alpha < 1):
        msg = f"num_looks must be 1 to {MAX_LOOKS} and alpha in (0, 1), got {num_looks} and {alpha}"
        raise ValueError(msg)
    looks = np.arange(1, num_looks + 1)
    shape = np.sqrt(num_looks / looks) if kind == "obrien-fleming" else np.ones(num_looks)
    # One look's bound is too low for several, and Bonferroni's, at every look, too high.
    low, high = float(stats.norm.isf(alpha / 2)), float(stats.norm.isf(alpha / 2 / num_looks))
    widest = high * float((shape * np.sqrt(looks)).max())
    nodes = np.polynomial.legendre.leggauss(
        40 + 4 * math.ceil(widest)
    )  # four per deviation of one look's step, or more

    def excess(constant: float) -> float:
        return 1 - _chance_to_stay(constant * shape, *nodes) - alpha

    constant = float(optimize.brentq(excess, low, high, xtol=1e-10)) if num_looks > 1 else low
    z = constant * shape
    return Bounds(
        kind=kind,
        constant=constant,
        z=tuple(z.tolist()),
        nominal=tuple((2 * stats.norm.sf(z)).tolist()),
    )


def _chance_to_stay(z: NDArray[np.float64], nodes: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Chance that no look's |z| passes its bound: the density of the sum, carried from look to look by quadrature."""
    places, mass = np.zeros(1), np.ones(1)
    for end in z * np.sqrt(np.arange(1, z.size + 1)):
        steps = end * nodes[:, None] - places
        arrived = np.exp(-(steps**2) / 2) @ mass / math.sqrt(2 * math.pi)  # stats.norm.pdf is ten times slower
        places, mass = end * nodes, end * weights * arrived
    return float(mass.sum())
