"""Mean of one configuration's repeats, with its confidence interval and a prediction for further repeats."""

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
    """Confidence interval of the mean; None below three repeats, or where nothing varied."""
    expected: Interval | None
    """Prediction interval for the mean of further repeats; None in the same cases."""


def mean_of_repeats(scores: NDArray[Any], *, num_further: int = 1) -> MeanOfRepeats:
    """Return the mean of scores with its 95 % t interval and prediction interval for the mean of further repeats.

    Both apply to this data set: to fresh splits, weights and orders, not to other images. The guarantee fails if the
    scores are far from normal; with fewer than five repeats this matters most.

    Args:
        scores: One score per repeat, shape (R,), R >= 1.
        num_further: Number of further repeats of the prediction; at least 1.

    Returns:
        The mean and its intervals, in the unit of the scores.
    """
    count, mean = scores.size, float(np.mean(scores))
    spread = float(np.std(scores, ddof=1)) if count > 1 else 0.0
    if count < MIN_BLOCKS or spread < 1e-12:  # below: description only, or rounding errors of equal scores
        return MeanOfRepeats(mean=mean, num_repeats=count, interval=None, expected=None)

    def within(variance: float) -> Interval:
        return interval_of(mean, Student(se=spread * math.sqrt(variance), df=count - 1), level=0.95)

    return MeanOfRepeats(
        mean=mean, num_repeats=count, interval=within(1 / count), expected=within(1 / count + 1 / num_further)
    )
