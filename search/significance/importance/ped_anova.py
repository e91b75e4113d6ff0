"""PED-ANOVA: how far the values of a parameter in the best trials differ from its values in all trials.

The same numbers as `optuna.importance.PedAnovaImportanceEvaluator`, for many resamplings of the trials at once, and
without importing Optuna, which takes longer than all of them.

References: Watanabe, Bansal and Hutter 2023, PED-ANOVA (arXiv 2304.10255); for conditional parameters, arXiv
2601.20800, theorem 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from search.significance.importance.factor import Factor, Share

Array = NDArray[np.float64]

NUM_RESAMPLINGS = 200
NUM_STEPS = 50
"""Largest number of grid points of a parameter."""
MIN_SIGMA = 0.5 / 1.64
"""Narrowest kernel, in grid steps: nine tenths of it lie on one grid point."""


def ped_anova_shares(
    factors: Sequence[Factor], order: Array, *, target: float, region: float = 1.0, seed: int = 0
) -> tuple[Share, ...]:
    """Return what share of the difference between the best trials and the others lies in each parameter.

    Args:
        factors: At least one parameter.
        order: Scores of the trials, higher is better; only their order counts, (N,).
        target: Fraction of the trials that counts as best.
        region: Fraction of the trials, the best ones, that they are compared with; above `target`.
        seed: Seed of the resamplings and shuffles.

    Returns:
        One share per parameter, highest first; they add up to 1. The interval is the middle 95 % over resamplings of
        the trials with replacement. A share is beyond chance if, relative to what shuffled scores give the parameter
        on average, it exceeds the highest one of all parameters in 95 % of shuffles.

    Example:
        >>> position = np.linspace(0, 1, 40)
        >>> relevant = Factor(name="x", positions=position, num_values=None)
        >>> other = Factor(name="y", positions=position[::-1][np.argsort(np.sin(99 * position))], num_values=None)
        >>> [share.parameter for share in ped_anova_shares([other, relevant], position, target=0.25)]
        ['x', 'y']
    """
    rng, num_trials = np.random.default_rng(seed), len(order)
    once = np.ones((1, num_trials))
    found = ped_anova(factors, order[None], once, target=target, region=region)[0]
    drawn = rng.multinomial(num_trials, np.full(num_trials, 1 / num_trials), size=NUM_RESAMPLINGS).astype(np.float64)
    resampled = _normalised(ped_anova(factors, order[None], drawn, target=target, region=region))
    # The best trials stay the best ones of the region; which of its trials they are is shuffled.
    inside = np.flatnonzero(_best(order[None], once, region)[0])
    shuffled = np.repeat(order[None], NUM_RESAMPLINGS, axis=0)
    shuffled[:, inside] = rng.permuted(shuffled[:, inside], axis=1)
    by_chance = ped_anova(factors, shuffled, np.ones_like(shuffled), target=target, region=region)
    usual = np.maximum(by_chance.mean(axis=0), 1e-300)  # by chance, a parameter of many values gets more
    limit = float(np.quantile((by_chance / usual).max(axis=1), 0.95))
    low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    shares = [
        Share(
            parameter=factor.name,
            share=float(share),
            low=float(low[index]),
            high=float(high[index]),
            is_beyond_chance=bool(found[index] / usual[index] > limit),
        )
        for index, (factor, share) in enumerate(zip(factors, _normalised(found[None])[0], strict=True))
    ]
    return tuple(sorted(shares, key=lambda share: -share.share))


def ped_anova(factors: Sequence[Factor], order: Array, weights: Array, *, target: float, region: float) -> Array:
    """Return the importances of all parameters in B weightings of the trials, not normalised.

    Args:
        factors: The parameters.
        order: Scores, higher is better, (B, N) or (1, N).
        weights: How often each trial is counted, whole numbers, (B, N).
        target: Fraction of the trials that counts as best.
        region: Fraction of the trials that they are compared with.

    Returns:
        Importances, (B, F).
    """
    best, compared = _best(order, weights, target), _best(order, weights, region)
    num_best, num_compared = best.sum(axis=1), compared.sum(axis=1)
    grids = [_on_grid(factor) for factor in factors]
    every, ends = np.hstack(grids), np.cumsum([grid.shape[1] for grid in grids])[:-1]
    columns = []
    for factor, counts, all_counts in zip(
        factors, np.split(best @ every, ends, axis=1), np.split(compared @ every, ends, axis=1), strict=True
    ):
        density = _on_numbers if factor.is_ordered else _on_choices
        p_best, p_compared = density(counts) + 1e-12, density(all_counts) + 1e-12
        divergence = (p_compared * (p_best / p_compared - 1) ** 2).sum(axis=1)
        own, all_own = counts.sum(axis=1), all_counts.sum(axis=1)
        value = (own / num_best) ** 2 / np.maximum(all_own / num_compared, 1e-12) * divergence
        columns.append(np.where((own > 0) & (all_own > 1), value, 0.0))
    importances: Array = np.array(columns).T * ((num_best / num_compared) ** 2)[:, None]
    return importances


def _best(order: Array, weights: Array, fraction: float) -> Array:
    """Return the weights of the best trials, ties included, 0 for the others, (B, N)."""
    ranked = np.broadcast_to(np.argsort(-order, axis=1, kind="stable"), weights.shape)
    counted = np.cumsum(np.take_along_axis(weights, ranked, axis=1), axis=1)
    last = np.argmax(counted >= np.ceil(fraction * counted[:, -1:]), axis=1)[:, None]
    place = np.take_along_axis(ranked, last, axis=1)
    cutoff = np.take_along_axis(np.broadcast_to(order, weights.shape), place, axis=1)
    kept: Array = weights * (order >= cutoff)
    return kept


def _normalised(importances: Array) -> Array:
    total = importances.sum(axis=1, keepdims=True)
    even = np.full_like(importances, 1 / importances.shape[1])
    shares: Array = np.divide(importances, total, out=even, where=total > 0)
    return shares


def _on_grid(factor: Factor) -> Array:
    """Return the grid point of each trial, one-hot, (N, G); all 0 without the parameter."""
    num_points = len(factor.choices) if factor.choices else NUM_STEPS
    if factor.is_ordered and factor.num_values is not None:
        steps = math.ceil(math.log2(factor.num_values)) + 1 if factor.is_log else factor.num_values
        num_points = min(steps, NUM_STEPS)
    scale = num_points - 1 if factor.is_ordered else 1
    own = factor.is_active
    places = np.clip(np.ceil(factor.positions[own] * scale - 0.5).astype(np.int64), 0, num_points - 1)
    grid = np.zeros((len(own), num_points))
    grid[own.nonzero()[0], places] = 1
    return grid


def _on_choices(counts: Array) -> Array:
    """Return the estimated probability of each choice, (B, G), with one prior count spread over all of them."""
    total, num_choices = counts.sum(axis=1, keepdims=True), counts.shape[1]
    num_kernels = (counts > 0).sum(axis=1, keepdims=True) + 1
    kernels = (total / num_kernels + counts) / (num_choices / num_kernels + 1)
    density: Array = (kernels + 1 / num_choices) / (total + 1)
    return density


def _on_numbers(counts: Array) -> Array:
    """Return the estimated probability of each grid point, (B, G): kernels of Scott's width, and one of a prior."""
    num_points = counts.shape[1]
    points = np.arange(num_points)
    total = np.maximum(counts.sum(axis=1), 1.0)
    counted, is_seen = np.cumsum(counts, axis=1), counts > 0
    first = np.argmax(is_seen & (counted >= (total // 4)[:, None]), axis=1)
    third = np.argmax(is_seen & (counted > (total * 3 // 4)[:, None]), axis=1)
    mean = counts @ points / total
    sd = np.sqrt((counts * (points - mean[:, None]) ** 2).sum(axis=1) / np.maximum(total - 1, 1))
    sigma = np.maximum(1.059 * np.minimum((third - first) / 1.34, sd) * total**-0.2, MIN_SIGMA)
    # The mass of a kernel at a point depends on their distance only; each kernel is cut off at both ends of the grid.
    below = special.ndtr((np.arange(-num_points, num_points) + 0.5) / sigma[:, None])
    mass = np.diff(below, axis=1)[:, points[:, None] - points + num_points - 1]
    inside = below[:, 2 * num_points - 1 - points] - below[:, num_points - 1 - points]
    kernels = np.einsum("bg,bpg->bp", counts / inside, mass)
    edges = special.ndtr((np.arange(num_points + 1) - 0.5 - (num_points - 1) / 2) / num_points)
    prior = np.diff(edges) / (edges[-1] - edges[0])
    density: Array = (kernels + prior) / (total + 1)[:, None]
    return density
