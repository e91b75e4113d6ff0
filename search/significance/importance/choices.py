"""The difference in score between the values of a choice, over the trials of a sweep; nothing is paired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.significance.importance.factor import Factor
from search.significance.unpaired import welch_t

MIN_SIDE = 5
"""Smallest number of trials on each side; with fewer, the interval of Welch's t is not to be trusted."""


@dataclass(frozen=True, kw_only=True)
class ChoiceDifference:
    """Difference of mean scores between trials with one value of a choice and trials with others."""

    parameter: str
    a: str
    b: str
    """The other value, or `the others` if there are more than two."""
    estimate: float
    """Mean of a minus mean of b."""
    low: float | None
    """Lower end of Welch's 95 % interval; None with fewer than MIN_SIDE trials on a side, or if no score varies."""
    high: float | None
    num_a: int
    num_b: int


def choice_differences(factors: Sequence[Factor], scores: NDArray[np.float64]) -> tuple[ChoiceDifference, ...]:
    """Return the differences between the values of every choice, among the trials that have it.

    Args:
        factors: Parameters; ordered ones are left out.
        scores: Score of each trial, (N,); trials with NaN are left out.

    Returns:
        One difference for a choice of two values; for more, one per value, against the trials with another one. Values
        that no trial has, or all of them, have none.
    """
    found = []
    for factor in factors:
        is_known = factor.is_active & ~np.isnan(scores)
        values, own = factor.positions[is_known], scores[is_known]
        tried = [index for index in range(len(factor.choices)) if (values == index).any()]
        if len(tried) < 2:
            continue
        for index in tried if len(tried) > 2 else tried[:1]:
            b = "the others" if len(tried) > 2 else factor.choices[tried[1]]
            found.append(_difference(factor.name, factor.choices[index], b, own[values == index], own[values != index]))
    return tuple(found)


def _difference(name: str, a: str, b: str, of_a: NDArray[np.float64], of_b: NDArray[np.float64]) -> ChoiceDifference:
    test = welch_t(of_a, of_b) if min(of_a.size, of_b.size) >= MIN_SIDE else None
    interval = None if test is None or math.isnan(test.p) else test.interval
    return ChoiceDifference(
        parameter=name,
        a=a,
        b=b,
        estimate=float(of_a.mean() - of_b.mean()),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        num_a=of_a.size,
        num_b=of_b.size,
    )
