"""Distribution of a mean whose variance is estimated from few repeats: a normal averaged over the possible variances.

The tails of a t distribution with estimated (Satterthwaite's) degrees of freedom are too light far out, where the
smallest p of a family is read. Here the variance contributed by repeats is not estimated and then treated as known: it
is averaged over its own distribution, chi-squared with R - 1 degrees of freedom.

    Var(W) = runs df_runs / W + rest        W ~ chi2(df_runs)
    P(error > d) = E_W[Phi(-d / sqrt(Var(W)))]

If only repeats vary this is exactly Student's t. If the rest is estimated from few images, it is averaged over a
chi-squared variable of its own.

The functions take arrays with one entry per comparison, so that thousands are computed at once.
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

Array = NDArray[np.float64]

_LOGITS = np.linspace(-15, 15, 37)
"""log(runs / rest) at which half-widths are tabulated for the power; beyond, one of the two is negligible."""
_PLANNED = 1e-8
"""Probability left out when computing power; the result is accurate to three digits or more."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Nodes of the integral over both chi-squared variables."""

    runs: Array
    """df_runs / W at every node, shape (N,)."""
    rest: Array
    """The same for the rest; ones if the rest is treated as known."""
    weights: Array
    """Probabilities, which sum to 1."""


def _axis(df: float, *, left_out: float, step: float) -> tuple[Array, Array]:
    """Return nodes df / W for W ~ chi2(df) at equal steps of log W, and their probabilities."""
    if math.isinf(df):
        return np.ones(1), np.ones(1)
    low, high = (
        math.log(value / df) for value in (2 * special.gammaincinv(df / 2, left_out), special.chdtri(df, left_out))
    )
    # Equal steps are exact up to exp(-pi^2 / step) for few, exp(-(2 pi sd / step)^2 / 2) for many degrees of freedom.
    count = math.ceil((high - low) / min(step, 2 * step * math.sqrt(2 / df))) + 1
    logs = np.linspace(low, high, count)
    density = np.exp(df / 2 * (logs - np.expm1(logs)))
    return np.exp(-logs), density / density.sum()


@lru_cache(maxsize=512)
def grid(
    df_runs: float, df_rest: float = math.inf, *, left_out: float = 1e-16, steps: tuple[float, float] = (0.25, 0.25)
) -> Grid:
    """Return the nodes of the integral.

    Args:
        df_runs: Degrees of freedom of the repeats' mean square.
        df_rest: Degrees of freedom of the rest; infinite if it is treated as known.
        left_out: Probability beyond each end.
        steps: Steps of log W, for the repeats and the rest; a quarter gives twelve digits.

    Returns:
        The nodes.
    """
    runs, runs_weights = _axis(df_runs, left_out=left_out, step=steps[0])
    rest, rest_weights = _axis(df_rest, left_out=left_out, step=steps[1])
    weights = np.outer(runs_weights, rest_weights).ravel()
    counts = weights > left_out / 100
    return Grid(runs=np.repeat(runs, rest.size)[counts], rest=np.tile(rest, runs.size)[counts], weights=weights[counts])


def tails(distance: NDArray[Any], runs: NDArray[Any], rest: NDArray[Any], nodes: Grid) -> Array:
    """Return the probability that the error exceeds a distance on one side, for many comparisons at once.

    Args:
        distance: Distances of either sign, shape (K,).
        runs: Variance of each mean contributed by repeats, as estimated by their mean square, shape (K,).
        rest: Variance from all other sources, shape (K,); the sum of both is above 0.
        nodes: From `grid`.

    Returns:
        Probabilities, shape (K,).
    """
    variance = np.multiply.outer(np.asarray(runs, np.float64), nodes.runs)
    variance += np.multiply.outer(np.asarray(rest, np.float64), nodes.rest)
    scaled = np.asarray(distance, np.float64)[..., None] / np.sqrt(variance)
    return np.minimum(special.ndtr(-scaled) @ nodes.weights, 1.0)  # the weights sum to 1 up to rounding


def half_widths(alpha: float, runs: NDArray[Any], rest: NDArray[Any], nodes: Grid) -> Array:
    """Return the distance that the error exceeds, on either side, with probability alpha.

    Args:
        alpha: Between 0 and 1.
        runs: As in `tails`.
        rest: As in `tails`.
        nodes: From `grid`.

    Returns:
        Half-widths of the intervals of level 1 - alpha, shape (K,).
    """
    variance = np.multiply.outer(np.asarray(runs, np.float64), nodes.runs)
    variance += np.multiply.outer(np.asarray(rest, np.float64), nodes.rest)
    spread = np.sqrt(variance)
    low = high = np.log(np.sqrt(np.asarray(runs) + np.asarray(rest)) * special.ndtri(1 - alpha / 2))

    def excess(log_width: Array) -> tuple[Array, Array]:
        scaled = np.exp(log_width)[:, None] / spread
        tail = special.ndtr(-scaled) @ nodes.weights
        slope = -(scaled * np.exp(-(scaled**2) / 2)) @ nodes.weights / math.sqrt(2 * math.pi)
        return np.log(2 * tail / alpha), slope / tail

    low, high = low - 1, high + 1
    while (outside := excess(low)[0] < 0).any():
        low = np.where(outside, low - 2, low)
    while (outside := excess(high)[0] > 0).any():
        high = np.where(outside, high + 2, high)
    width = (low + high) / 2
    for _ in range(100):  # Newton's steps; bisection where one would leave the bracket
        value, slope = excess(width)
        low, high = np.where(value > 0, width, low), np.where(value > 0, high, width)
        step = width - value / slope
        step = np.where((step > low) & (step < high), step, (low + high) / 2)
        if np.abs(step - width).max() < 1e-13:
            break
        width = step
    return np.asarray(np.exp(width))


@lru_cache(maxsize=512)
def _critical(df_runs: float, df_rest: float, alpha: float) -> scipy.interpolate.CubicSpline:
    """Return the half-width divided by the standard error, as a function of log(runs / rest)."""
    share = special.expit(_LOGITS)
    nodes = grid(df_runs, df_rest, left_out=_PLANNED, steps=(0.5, 0.5))
    return scipy.interpolate.CubicSpline(_LOGITS, half_widths(alpha, share, 1 - share, nodes))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The distribution by which the crossed test decides."""

    runs: float
    """Variance of the mean contributed by repeats, as estimated by their mean square."""
    rest: float
    """Variance of the mean from all other sources; the sum of both is above 0."""
    df_runs: float
    """R - 1; infinite for infinitely many repeats."""
    df_rest: float = math.inf
    """M - 1 if there are few images; infinite if the rest is treated as known."""

    def tail(self, distance: float) -> float:
        """Return the probability that the error exceeds a distance, of either sign, on one side."""
        nodes = grid(self.df_runs, self.df_rest)
        return float(tails(np.array([distance]), np.array([self.runs]), np.array([self.rest]), nodes)[0])

    def half_width(self, level: float) -> float:
        """Return the half-width of an interval with this coverage."""
        nodes = grid(self.df_runs, self.df_rest)
        return float(half_widths(1 - level, np.array([self.runs]), np.array([self.rest]), nodes)[0])

    def power(self, difference: float, *, alpha: float) -> float:
        """Return the probability that the test rejects on the side of a true difference.

        Both variances are assumed to be the true ones; each simulated experiment estimates them anew, and the critical
        value depends on the estimates.
        """
        # In the tails the probability of a rejection changes from 0 to 1 within a small part of a step of log W.
        nodes = grid(self.df_runs, self.df_rest, left_out=_PLANNED, steps=(0.08, 0.5))
        seen_runs, seen_rest = self.runs / nodes.runs, self.rest / nodes.rest
        with np.errstate(divide="ignore"):
            logit = np.clip(np.log(seen_runs) - np.log(seen_rest), _LOGITS[0], _LOGITS[-1])
        critical = np.sqrt(seen_runs + seen_rest) * _critical(self.df_runs, self.df_rest, alpha)(logit)
        return float(special.ndtr((difference - critical) / math.sqrt(self.runs + self.rest)) @ nodes.weights)
