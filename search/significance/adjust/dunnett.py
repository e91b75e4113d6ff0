"""Dunnett's test of many configurations against one control, in two forms.

Blocked: every configuration ran on the same blocks, as all repeats of a study do. Independent: every configuration has
its own runs, with nothing in common. Both estimate one error variance from all configurations together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from search.significance.pairing import ScoresError
from search.significance.records import Interval

NODES = 120
"""Number of nodes of the Gauss rules; with 60, no p-value changes by more than 1e-6."""


@dataclass(frozen=True, kw_only=True)
class DunnettTest:
    """Dunnett's test; one entry per configuration, without the control."""

    estimates: tuple[float, ...]
    """Mean minus the control's, fraction."""
    se: tuple[float, ...]
    """Standard errors; 0 where nothing varied, and then t, p and intervals are NaN."""
    df: float
    t: tuple[float, ...]
    adjusted_p: tuple[float, ...]
    """Two-sided, adjusted for all comparisons."""
    intervals: tuple[Interval, ...]
    """Simultaneous intervals: all of them cover together with the stated level."""


def dunnett_blocked(scores: NDArray[Any], *, control: int, alpha: float = 0.05) -> DunnettTest:
    """Run Dunnett's test on shared blocks: a two-way additive model with fixed configurations, block effects removed.

    The residual mean square has (R - 1)(k - 1) degrees of freedom, and any two comparisons have correlation 1/2. Valid
    for "on this data set" when all configurations ran on the same blocks: block effects cancel, and few blocks still
    give many degrees of freedom. The guarantee fails when the variance of the differences depends on the pair, since
    one variance is assumed for all; use `max_t`, or Holm over paired tests. It also fails for "new data of this kind",
    where blocks share images.

    Args:
        scores: Shape (R, k), R >= 2 blocks, k >= 2 configurations.
        control: Column of the control.
        alpha: The intervals cover together with probability 1 - alpha.

    Returns:
        The test.

    Raises:
        ScoresError: The shape is wrong, a score is not finite, or the column does not exist.

    Reference:
        Dunnett 1955, A Multiple Comparison Procedure for Comparing Several Treatments with a Control, JASA 50; blocks:
        Hsu 1996, Multiple Comparisons, section 7.2.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        msg = f"scores must be finite, (blocks, configurations), at least 2 by 2, got {values.shape}"
        raise ScoresError(msg)
    rows, cols = values.shape
    if not 0 <= control < cols:
        msg = f"control must be a column, 0 to {cols - 1}, got {control}"
        raise ScoresError(msg)
    means = values.mean(axis=0)
    residual = values - means - values.mean(axis=1, keepdims=True) + values.mean()
    df = (rows - 1) * (cols - 1)
    estimates = np.delete(means - means[control], control)
    error = math.sqrt(2 * float(np.vdot(residual, residual)) / df / rows) if np.ptp(residual) > 1e-12 else 0.0
    width = critical_value(cols - 1, df, alpha=alpha) * error if error else math.nan
    t = estimates / error if error else np.full(cols - 1, math.nan)
    return DunnettTest(
        estimates=tuple(estimates.tolist()),
        se=(error,) * (cols - 1),
        df=float(df),
        t=tuple(t.tolist()),
        adjusted_p=tuple(chance_of_largest(abs(value), cols - 1, df) for value in t.tolist()),
        intervals=tuple(Interval(low=d - width, high=d + width, level=1 - alpha) for d in estimates.tolist()),
    )


def dunnett_independent(
    groups: Sequence[NDArray[Any]], control: NDArray[Any], *, alpha: float = 0.05, seed: int = 0
) -> DunnettTest:
    """Run Dunnett's test (SciPy's) on independent groups, possibly of unequal sizes.

    Valid for runs that share nothing except the images: each configuration has its own seeds, splits and orders; the
    claim is "on this data set". The guarantee fails on shared blocks, whose pairing it ignores (use `dunnett_blocked`),
    and when the groups have different variances, since one variance is assumed.

    Args:
        groups: Scores of every configuration, shape (R_j,) each, R_j >= 2.
        control: Scores of the control, shape (R_0,), R_0 >= 2.
        alpha: The intervals cover together with probability 1 - alpha.
        seed: Seed of SciPy's quasi-random integration, whose error in p is below .001.

    Returns:
        The test.

    Raises:
        ScoresError: There is no group, a group has fewer than two scores, or a score is not finite.

    Reference:
        Dunnett 1955, JASA 50.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    base = np.asarray(control, dtype=np.float64)
    everyone = [*samples, base]
    if not samples or any(s.ndim != 1 or s.size < 2 or not np.isfinite(s).all() for s in everyone):
        msg = f"every group needs at least 2 finite scores, got shapes {[s.shape for s in everyone]}"
        raise ScoresError(msg)
    df = sum(s.size - 1 for s in everyone)
    pooled = sum(float(((s - s.mean()) ** 2).sum()) for s in everyone) / df
    estimates = [float(s.mean() - base.mean()) for s in samples]
    if not max(float(np.ptp(s)) for s in everyone) > 1e-12:
        nothing = (math.nan,) * len(samples)
        none = Interval(low=math.nan, high=math.nan, level=1 - alpha)
        return DunnettTest(
            estimates=tuple(estimates),
            se=(0.0,) * len(samples),
            df=float(df),
            t=nothing,
            adjusted_p=nothing,
            intervals=(none,) * len(samples),
        )
    found = stats.dunnett(*samples, control=base, rng=np.random.default_rng(seed))
    edges = found.confidence_interval(confidence_level=1 - alpha)
    return DunnettTest(
        estimates=tuple(estimates),
        se=tuple(math.sqrt(pooled * (1 / s.size + 1 / base.size)) for s in samples),
        df=float(df),
        t=tuple(np.asarray(found.statistic).tolist()),
        adjusted_p=tuple(np.clip(found.pvalue, 0.0, 1.0).tolist()),
        intervals=tuple(
            Interval(low=float(low), high=float(high), level=1 - alpha)
            for low, high in zip(np.atleast_1d(edges.low), np.atleast_1d(edges.high), strict=True)
        ),
    )


def chance_of_largest(t: float, num_comparisons: int, df: float) -> float:
    """Return P(largest |T| >= t) of equally correlated T with correlation 1/2, by two Gauss rules.

    T_j = (Z_j - Z_0) / (sqrt(2) S) with Z normal and df S^2 chi squared; given Z_0 and S the T_j are independent.

    Args:
        t: At least 0; NaN gives NaN.
        num_comparisons: Number of configurations, without the control.
        df: Degrees of freedom of S.

    Returns:
        The probability.
    """
    if math.isnan(t):
        return math.nan
    z, z_weight, s, s_weight = _nodes(df)
    reach = math.sqrt(2) * t * s[:, None]
    # 1 - inside^P, written so that a p-value of 1e-20 keeps its precision.
    outside = special.ndtr(z - reach) + special.ndtr(-z - reach)
    beyond = -np.expm1(num_comparisons * np.log1p(-np.minimum(outside, 1 - 1e-16)))
    return float(min(s_weight @ beyond @ z_weight, 1.0))


@lru_cache(maxsize=256)
def critical_value(num_comparisons: int, df: float, *, alpha: float) -> float:
    """Return the two-sided critical value of Dunnett's t for equal group sizes.

    Args:
        num_comparisons: Number of configurations, without the control.
        df: Degrees of freedom.
        alpha: Family-wise error rate.

    Returns:
        The t that the largest |T| exceeds with probability alpha.
    """
    highest = float(stats.t.isf(alpha / num_comparisons / 2, df)) * 1.01  # Bonferroni's is never lower
    return float(optimize.brentq(lambda t: chance_of_largest(t, num_comparisons, df) - alpha, 0.0, highest, xtol=1e-10))


@lru_cache(maxsize=64)
def _nodes(df: float) -> tuple[NDArray[np.float64], ...]:
    """Return nodes and weights for a standard normal, and for sqrt(chi squared / df)."""
    z, z_weight = np.polynomial.hermite_e.hermegauss(NODES)
    u, u_weight = np.polynomial.legendre.leggauss(NODES)
    low, high = float(stats.chi.ppf(1e-17, df)), float(stats.chi.isf(1e-17, df))
    chi = low + (high - low) * (u + 1) / 2
    s_weight = u_weight * (high - low) / 2 * stats.chi.pdf(chi, df)
    return z, z_weight / z_weight.sum(), chi / math.sqrt(df), s_weight / s_weight.sum()
