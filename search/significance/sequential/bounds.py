"""Sequential tests: an e-process that may be read after every block, and bounds for declared interim analyses.

A p-value that is read after each block until it falls below .05 does so in a third of all null experiments of up to 60
blocks. Both tests assume independent repeats, so they apply to "this data set".
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


def anytime_p(e_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return anytime-valid p-values: the smallest 1/E so far, at most 1.

    Args:
        e_values: E_n in the order of the blocks.

    Returns:
        The same shape, non-increasing.
    """
    return np.minimum.accumulate(1 / np.maximum(e_values, 1.0))


def anytime_interval(diff: NDArray[Any], *, alpha: float = 0.05, g: float = 1.0) -> Interval | None:
    """Return an anytime-valid interval: the means against which the e-process is currently below 1/alpha.

    It excludes 0 exactly if the last of `e_values` has reached 1/alpha, and has the same guarantee.

    Args:
        diff: Score differences in the order in which the blocks were run, shape (R,).
        alpha: The intervals after all R blocks cover together with probability 1 - alpha.
        g: As for `e_values`.

    Returns:
        The interval; None while it is unbounded (few blocks) or nothing varied.
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
    """Bounds for equally spaced, declared interim analyses."""

    kind: Kind
    constant: float
    """C_B or C_P of the tables."""
    z: tuple[float, ...]
    """Reject at analysis k if |z| reaches this value."""
    nominal: tuple[float, ...]
    """The same as two-sided levels: reject at analysis k if p is at or below it. For few blocks, use these with t's
    p."""


def group_sequential_bounds(num_looks: int, *, alpha: float = 0.05, kind: Kind = "obrien-fleming") -> Bounds:
    """Return bounds that keep the probability of any false rejection over all interim analyses at alpha.

    The guarantee fails if analyses are added, moved or chosen by the results, and if blocks are not independent. It
    holds for normal statistics: with t's p at the nominal levels, and a first analysis after two or three blocks, .054
    (O'Brien-Fleming) and .058 (Pocock) of null experiments were rejected at .05.

    Args:
        num_looks: Number of analyses, each after the same number of further blocks; 1 to 100.
        alpha: Probability of a false rejection at any analysis, two-sided.
        kind: `obrien-fleming`: strict at first, almost unadjusted at the last analysis; `pocock`: equal at every
            analysis.

    Returns:
        The bounds.

    Raises:
        ValueError: A number is out of range.

    Reference:
        Armitage, McPherson & Rowe 1969 (recursion); Jennison & Turnbull 2000, Group Sequential Methods, sections 2.4
        and 2.5, tables 2.1 and 2.3.
    """
    if not (1 <= num_looks <= MAX_LOOKS and 0 < alpha < 1):
        msg = f"num_looks must be 1 to {MAX_LOOKS} and alpha in (0, 1), got {num_looks} and {alpha}"
        raise ValueError(msg)
    looks = np.arange(1, num_looks + 1)
    shape = np.sqrt(num_looks / looks) if kind == "obrien-fleming" else np.ones(num_looks)
    # The bound of a single analysis is too low for several, Bonferroni's too high.
    low, high = float(stats.norm.isf(alpha / 2)), float(stats.norm.isf(alpha / 2 / num_looks))
    widest = high * float((shape * np.sqrt(looks)).max())
    nodes = np.polynomial.legendre.leggauss(
        40 + 4 * math.ceil(widest)
    )  # four per standard deviation of one step, or more

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
    """Return P(no |z| exceeds its bound): the density of the sum, propagated between analyses by quadrature."""
    places, mass = np.zeros(1), np.ones(1)
    for end in z * np.sqrt(np.arange(1, z.size + 1)):
        steps = end * nodes[:, None] - places
        arrived = np.exp(-(steps**2) / 2) @ mass / math.sqrt(2 * math.pi)  # stats.norm.pdf is ten times slower
        places, mass = end * nodes, end * weights * arrived
    return float(mass.sum())
