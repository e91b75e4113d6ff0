"""fANOVA: the share of a random forest's variance over the search space that each parameter explains alone.

The forest grows all its trees at once, level by level, on binned parameters, which takes a small fraction of a second.
Unlike `optuna.importance.FanovaImportanceEvaluator`, the variance is taken over each parameter's own scale, so that a
logarithmic one is not dominated by its highest values.

Reference: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter Importance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.significance.importance.factor import Factor, Share

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_TREES = 64
MAX_BINS = 16
MIN_LEAF = 3
"""Smallest number of trials in a leaf, a trial drawn twice counted twice."""


@dataclass(frozen=True, kw_only=True)
class Fanova:
    """Shares of the forest's variance."""

    shares: tuple[Share, ...]
    """Highest first. What is missing to 1 lies in interactions of parameters."""
    r2: float
    """Share of the scores' variance that the forest predicts in trials that a tree was not fitted to (out of bag); at
    most 0 if it predicts nothing."""


def fanova(factors: Sequence[Factor], scores: Array, *, seed: int = 0) -> Fanova:
    """Decompose the variance of the score over the space into main effects.

    Args:
        factors: Parameters that every trial has.
        scores: Score of each trial, (N,).
        seed: Seed of the trees' samples.

    Returns:
        The shares, with the middle 95 % over trees, each of which is fitted to a resampling of the trials.
    """
    num_trials = len(scores)
    sizes = np.array([_num_bins(factor) for factor in factors])
    codes = np.array([factor.binned(size) for factor, size in zip(factors, sizes, strict=True)]).T
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_trials, np.full(num_trials, 1 / num_trials), size=NUM_TREES).astype(np.float64)
    forest = _grow(codes, sizes, np.array([factor.is_ordered for factor in factors]), scores, drawn)
    per_tree = _main_effects(forest, sizes)
    low, high = np.quantile(per_tree, (0.025, 0.975), axis=0)
    shares = [
        Share(parameter=factor.name, share=float(mean), low=float(low[index]), high=float(high[index]))
        for index, (factor, mean) in enumerate(zip(factors, per_tree.mean(axis=0), strict=True))
    ]
    return Fanova(
        shares=tuple(sorted(shares, key=lambda share: -share.share)),
        r2=_out_of_bag(forest.predicted, drawn == 0, scores),
    )


def _num_bins(factor: Factor) -> int:
    if not factor.is_ordered:
        return len(factor.choices)
    return min(factor.num_values or MAX_BINS, MAX_BINS)


@dataclass(frozen=True, kw_only=True)
class _Forest:
    """The leaves of all trees, and their predictions."""

    tree: Ints
    """Tree of each leaf, (L,)."""
    value: Array
    """Mean score of each leaf, (L,)."""
    is_inside: NDArray[np.bool_]
    """Whether a leaf contains a bin of a parameter, (L, F, G); False beyond the parameter's last bin."""
    predicted: Array
    """Prediction of each tree for each trial, (T, N)."""


def _grow(codes: Ints, sizes: Ints, is_ordered: NDArray[np.bool_], scores: Array, drawn: Array) -> _Forest:
    """Fit regression trees, each to its own weighting of the trials.

    Args:
        codes: Bins of the trials, (N, F).
        sizes: Number of bins of each parameter, (F,).
        is_ordered: Whether a split separates lower from higher bins; otherwise one bin from the others, (F,).
        scores: Scores, (N,).
        drawn: How often each tree counts each trial, (T, N).
    """
    num_trees, num_trials = drawn.shape
    num_factors, num_bins = len(sizes), int(sizes.max())
    shift = scores.mean()
    centred = scores - shift  # keeps the sums of squares exact
    leaves: list[tuple[Ints, Array, NDArray[np.bool_]]] = []
    predicted = np.zeros((num_trees, num_trials))
    # The nodes of one level of all trees; each trial of each tree lies in one of them, or in a leaf above.
    tree = np.arange(num_trees)
    inside = np.broadcast_to(np.arange(num_bins) < sizes[:, None], (num_trees, num_factors, num_bins))
    rows, trials = np.divmod(np.arange(num_trees * num_trials), num_trials)
    node = rows.copy()
    while len(tree):
        weight = drawn[rows, trials]
        counts = _histograms(node, codes[trials], weight, len(tree), num_bins)
        sums = _histograms(node, codes[trials], weight * centred[trials], len(tree), num_bins)
        total, total_sum = counts[0].sum(axis=1), sums[0].sum(axis=1)
        gain = _gain(counts, sums, is_ordered)
        flat = gain.transpose(1, 0, 2).reshape(len(tree), -1)
        split = flat.argmax(axis=1)
        is_split = flat[np.arange(len(tree)), split] > 1e-12 * (1 + total_sum**2)
        mean = total_sum / np.maximum(total, 1)
        leaves.append((tree[~is_split], mean[~is_split] + shift, inside[~is_split]))
        is_done = ~is_split[node]
        predicted[rows[is_done], trials[is_done]] = mean[node[is_done]] + shift
        rows, trials, node = rows[~is_done], trials[~is_done], node[~is_done]
        # Children of the k-th node that is split: 2k the lower (or chosen) bins, 2k + 1 the others.
        factor, place = np.divmod(split[is_split], num_bins)
        bins = np.arange(num_bins)
        is_left = np.where(is_ordered[factor, None], bins <= place[:, None], bins == place[:, None])
        parents = inside[is_split]
        left, right = parents.copy(), parents.copy()
        each = np.arange(len(factor))
        left[each, factor] &= is_left
        right[each, factor] &= ~is_left
        inside = np.stack([left, right], axis=1).reshape(-1, num_factors, num_bins)
        tree = np.repeat(tree[is_split], 2)
        position = (np.cumsum(is_split) - 1)[node]
        node = 2 * position + ~is_left[position, codes[trials, factor[position]]]
    return _Forest(
        tree=np.concatenate([leaf[0] for leaf in leaves]),
        value=np.concatenate([leaf[1] for leaf in leaves]),
        is_inside=np.concatenate([leaf[2] for leaf in leaves]),
        predicted=predicted,
    )


def _histograms(node: Ints, codes: Ints, values: Array, num_nodes: int, num_bins: int) -> Array:
    """Return the sum of the values in each bin of each parameter in each node, (F, K, G)."""
    sums: list[Array] = [
        np.bincount(node * num_bins + own, values, num_nodes * num_bins).astype(np.float64) for own in codes.T
    ]
    return np.stack(sums).reshape(-1, num_nodes, num_bins)


def _gain(counts: Array, sums: Array, is_ordered: NDArray[np.bool_]) -> Array:
    """Return the reduction of the sum of squares by each split, (F, K, G); 0 where a side would be too small."""
    ordered = is_ordered[:, None, None]
    left = np.where(ordered, np.cumsum(counts, axis=2), counts)
    left_sum = np.where(ordered, np.cumsum(sums, axis=2), sums)
    total, total_sum = counts.sum(axis=2, keepdims=True), sums.sum(axis=2, keepdims=True)
    right, right_sum = total - left, total_sum - left_sum
    is_allowed = (left >= MIN_LEAF) & (right >= MIN_LEAF)
    between = left_sum**2 / np.maximum(left, 1) + right_sum**2 / np.maximum(right, 1)
    gain: Array = np.where(is_allowed, between - total_sum**2 / np.maximum(total, 1), 0.0)
    return gain


def _main_effects(forest: _Forest, sizes: Ints) -> Array:
    """Return the share of each tree's variance that each parameter explains alone, (T, F); trees of one leaf have 0."""
    num_trees = int(forest.tree.max()) + 1
    fractions = forest.is_inside.sum(axis=2) / sizes
    volume = fractions.prod(axis=1)
    mean = np.bincount(forest.tree, volume * forest.value, num_trees)
    centred = forest.value - mean[forest.tree]
    variance = np.bincount(forest.tree, volume * centred**2, num_trees)
    effects = []
    for factor, size in enumerate(sizes):
        weighted = (volume / fractions[:, factor] * centred)[:, None] * forest.is_inside[:, factor, :size]
        marginal = np.zeros((num_trees, size))
        np.add.at(marginal, forest.tree, weighted)
        effects.append((marginal**2).mean(axis=1))
    shares: Array = np.array(effects).T / np.maximum(variance, 1e-300)[:, None]
    return shares


def _out_of_bag(predicted: Array, is_out: NDArray[np.bool_], scores: Array) -> float:
    num_out = is_out.sum(axis=0)
    known = num_out > 0
    means = (predicted * is_out).sum(axis=0)[known] / num_out[known]
    spread = float(((scores[known] - scores[known].mean()) ** 2).sum())
    return 1 - float(((scores[known] - means) ** 2).sum()) / spread if spread else 0.0
