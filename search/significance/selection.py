"""Selection bias of the best score, and the expected best score of k trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class SelectionBias:
    """The best mean of several configurations, and its estimated selection bias."""

    best: int
    """Column of the configuration with the highest mean; the first of equals."""
    mean: float
    """Its mean score, by which it was selected."""
    bias: float
    """Estimated upward bias of that mean, at least 0."""
    corrected: float
    """Mean minus bias."""


def tibshirani(scores: NDArray[Any]) -> SelectionBias:
    """Estimate the selection bias of the highest mean score.

    Bias = mean over blocks of [best score of any configuration in the block - score of the selected one]. With a single
    block the bias cannot be estimated.

    The estimate fails with few blocks: it overstates the bias of clear winners, and covers only the noise between
    blocks. Bias from whatever all blocks share, such as one validation set, is not detected. Only confirmation on fresh
    blocks removes it.

    Args:
        scores: Scores that the selection was based on, shape (R, K), R >= 1 and K >= 1; higher is better.

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
    return SelectionBias(best=best, mean=float(means[best]), bias=bias, corrected=float(means[best]) - bias)


def expected_best_of(values: NDArray[Any], *, replace: bool) -> NDArray[np.float64]:
    """Return the expected maximum among k randomly drawn trials, for every k.

    The estimate fails if the trials are not identically distributed: with an adaptive sampler, or a scheduler that
    stops trials early, later trials are not draws from the distribution of the first.

    >>> expected_best_of(np.array([0.5, 0.7]), replace=False).tolist()
    [0.6, 0.7]

    Args:
        values: Validation scores of n finished trials, shape (n,), n >= 1.
        replace: True: drawn with replacement, biased downward (Dodge); False: without, unbiased for k fresh trials
            (Tang), and the maximum at k = n.

    Returns:
        Shape (n,): for k = 1 to n.

    Raises:
        ValueError: There is no value, or one is missing.

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
    none_above = np.ones(n - 1)  # P(all k draws are among the i lowest), as a product, which cannot overflow
    for drawn in range(n):
        taken = 0 if replace else drawn
        none_above *= (below - taken) / (n - taken)  # stays 0 once there are more draws than lower values
        best[drawn] = ordered[-1] - gaps @ none_above
    return best
