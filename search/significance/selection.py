"""The winner's curse: how far the best score flatters, and what the best of k trials is expected to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Optimism:
    """The best mean of several configurations, and how much of it is owed to having been chosen."""

    best: int
    """Column of the configuration with the highest mean; the first of equals."""
    mean: float
    """Its mean score, the one that it was chosen by."""
    bias: float
    """Estimated upward bias of that mean, at least 0."""
    corrected: float
    """Mean minus bias."""


def tibshirani(scores: NDArray[Any]) -> Optimism:
    """Estimate how much higher the best mean is than what the same configuration will score next time.

    Bias = mean over blocks of [best score of any configuration in the block - score of the chosen one]. With one block
    there is none to be seen.

    The promise fails with few blocks, where it overstates the bias of clear winners and knows only the noise between
    blocks: what all blocks share, such as one validation set, flatters unseen. Confirmation on fresh blocks is what
    replaces it.

    Args:
        scores: Scores that the choice was made by, shape (R, K), R >= 1 and K >= 1; higher is better.

    Returns:
        The estimate, in the unit of the scores.

    Raises:
        ValueError: A score is missing.

    Reference:
        Tibshirani & Tibshirani 2009, A bias correction for the minimum error rate in cross-validation, Annals of
        Applied Statistics 3, equation 2; blocks for folds, accuracy for error.
    """
    if scores.ndim != 2 or 0 in scores.shape or not np.isfinite(scores).all():
        msg = f"scores must be finite and (num_blocks, num_configs), at least 1 each, got shape {scores.shape}"
        raise ValueError(msg)
    means = scores.mean(axis=0)
    best = int(np.argmax(means))
    bias = float(np.mean(scores.max(axis=1) - scores[:, best]))
    return Optimism(best=best, mean=float(means[best]), bias=bias, corrected=float(means[best]) - bias)


def expected_best_of(values: NDArray[Any], *, replace: bool) -> NDArray[np.float64]:
    """Expected highest value among k of the trials, drawn at random: what more trials would have bought.

    The promise fails when the trials were not alike: a sampler that learns, or a scheduler that stops some early, makes
    later ones no draws from the same distribution as the first.

    Args:
        values: Validation scores of n finished trials, shape (n,), n >= 1.
        replace: True: drawn with replacement, biased downward (Dodge); False: without, unbiased for k fresh trials
            (Tang), and at k = n simply the best.

    Returns:
        Shape (n,): for k = 1 to n.

    Raises:
        ValueError: No value, or one that is missing.

    Reference:
        Dodge et al. 2019, Show Your Work, EMNLP, section 3.1; Tang et al. 2020, Showing Your Work Doesn't Always Work,
        ACL, section 3.
    """
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        msg = f"values must be finite and (num_trials,), at least 1, got shape {values.shape}"
        raise ValueError(msg)
    n, ordered = values.size, np.sort(values).astype(np.float64)
    gaps, below = np.diff(ordered), np.arange(1.0, n)
    best = np.empty(n)
    none_above = np.ones(n - 1)  # chance that all of k draws lie among the i lowest: a product, so nothing overflows
    for drawn in range(n):
        taken = 0 if replace else drawn
        none_above *= (below - taken) / (n - taken)  # once 0, with more draws than values below, it stays so
        best[drawn] = ordered[-1] - gaps @ none_above
    return best
