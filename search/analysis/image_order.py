"""Check that all configurations were scored on the same images in the same order.

Shapes: C configurations, M images.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from search.analysis.faults import Faults, some
from search.significance.results import Results

MIN_IMAGES = 100
_SURELY, _NOT_AT_ALL = 6.0, 3.0
"""Correlations in standard errors: clearly present, and absent."""
_ACCURACY = (0.3, 0.995)
"""Outside this range, a configuration may predict a single class, or has too few errors for a correlation."""


def check_image_order(results: Results, faults: Faults) -> None:
    """Add a fault if the images of one configuration are ordered differently from those of another.

    Images that are hard for one trained configuration are usually hard for another, so their correctness is correlated
    on the same images. If two configurations each correlate with themselves across blocks but not with each other,
    their images differ.

    Args:
        results: Results on one data set.
        faults: Receives the fault.
    """
    names, means, own = [], [], []
    for config in results.configs:
        rows = [row for row in results.correct.get(config, ()) if row is not None]
        if len(rows) < 2 or rows[0].size < MIN_IMAGES:
            continue
        bits = np.stack(rows)
        agreement = _correlation(bits[::2].mean(axis=0), bits[1::2].mean(axis=0))
        if _ACCURACY[0] <= bits.mean() <= _ACCURACY[1] and agreement * math.sqrt(bits.shape[1]) > _SURELY:
            names.append(config)
            means.append(bits.mean(axis=0))
            own.append(agreement)
    if len(names) < 2:
        return
    table = np.stack(means)
    between = np.corrcoef(table)
    strangers = np.abs(between) * math.sqrt(table.shape[1]) < _NOT_AT_ALL
    strangers &= np.abs(between) < 0.2 * np.sqrt(np.outer(own, own))
    if not strangers.any():
        return
    odd = int(strangers.sum(axis=0).argmax())
    others = [names[at] for at in np.flatnonzero(strangers[odd]).tolist()]
    before = f"{results.dataset}: " if results.dataset else ""
    faults.add(
        f"{before}the images of {names[odd]} seem to be in another order than those of {some(others)}: {names[odd]} "
        f"is correct on the same images in all blocks (correlation {own[odd]:.2f}), but not on those of {others[0]} "
        f"({between[odd, names.index(others[0])]:.2f}); give all configurations the same images in one order"
    )


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
