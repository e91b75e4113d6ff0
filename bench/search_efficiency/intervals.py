"""Bootstrap intervals over simulated sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NUM_BOOTSTRAPS = 2000

Values = np.ndarray[Any, np.dtype[np.float64]]


def show_mean(values: Sequence[float], digits: int) -> str:
    """Return a mean with its 95 % interval."""
    low, high = np.quantile(_means(np.array(values), 0), (0.025, 0.975))
    return f"{np.mean(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def show_ratio(values: Sequence[float], others: Sequence[float]) -> str:
    """Return the ratio of two means with its 95 % interval; nothing without others."""
    if not len(others):
        return ""
    ratios = _means(np.array(values), 0) / _means(np.array(others), 1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return f"{np.mean(values) / np.mean(others):.2f} ({low:.2f}-{high:.2f})"


def _means(values: Values, seed: int) -> Values:
    random = np.random.default_rng(seed)
    means: Values = values[random.integers(len(values), size=(NUM_BOOTSTRAPS, len(values)))].mean(axis=1)
    return means
