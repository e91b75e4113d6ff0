"""One configuration alone: the mean of its repeats, how sure it is, and what further repeats are likely to give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.declared import MIN_BLOCKS
from search.significance.records import Interval
from search.significance.tests.student import Student, interval_of


@dataclass(frozen=True, kw_only=True)
class MeanOfRepeats:
    """The mean of some repeats on one data set."""

    mean: float
    num_repeats: int
    interval: Interval | None
    """Of the mean; None below three repeats, or where nothing varied."""
    expected: Interval | None
    """Where the mean of that many further repeats would fall; None likewise."""


def mean_of_repeats(scores: NDArray[Any], *, num_further: int = 1, level: float = 0.95) -> MeanOfRepeats:
    """Mean of scores with its t interval, and the prediction interval for the mean of further repeats.

    Both speak of this data set: of fresh splits, weights and orders, not of other images. The promise fails when the
    scores are far from normal, and below five repeats it rests on that.

    Args:
        scores: One score per repeat, shape (R,), R >= 1.
        num_further: How many further repeats the prediction is for; at least 1.
        level: Coverage of both intervals.

    Returns:
        The mean and its intervals, in the unit of the scores.
    """
    count, mean = scores.size, float(np.mean(scores))
    spread = float(np.std(scores, ddof=1)) if count > 1 else 0.0
    if count < MIN_BLOCKS or spread < 1e-12:  # below: description only, and float noise of equal scores
        return MeanOfRepeats(mean=mean, num_repeats=count, interval=None, expected=None)

    def within(variance: float) -> Interval:
        return interval_of(mean, Student(se=spread * math.sqrt(variance), df=count - 1), level=level)

    return MeanOfRepeats(
        mean=mean, num_repeats=count, interval=within(1 / count), expected=within(1 / count + 1 / num_further)
    )
