"""Split a comparison by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.significance.adjust.multiplicity import simultaneous_interval
from search.significance.records import Interval
from search.significance.tests.crossed import crossed_test

MIN_BLOCKS, MIN_IMAGES = 3, 2
"""A class with fewer blocks or images has an estimate but no interval."""


@dataclass(frozen=True, kw_only=True)
class ClassDifference:
    """First minus second on the test images of one class."""

    name: str
    num_images: int
    accuracy_a: float
    accuracy_b: float
    estimate: float
    """Mean difference, fraction."""
    interval: Interval | None
    """Crossed t interval of this class alone; None where nothing varied or there are too few blocks or images."""
    simultaneous_interval: Interval | None
    """At Bonferroni width: the intervals of all classes cover together."""


def by_class(
    correct_a: NDArray[Any],
    correct_b: NDArray[Any],
    labels: NDArray[Any],
    names: Sequence[str],
    *,
    alpha: float = 0.05,
) -> tuple[ClassDifference, ...]:
    """Split a comparison by the true class of the test images.

    Descriptive: it locates a difference and does not test for one. The coverage of single intervals fails for classes
    chosen after seeing them; the simultaneous intervals keep theirs.

    Args:
        correct_a: Correctness of the first configuration, (R, M) of 0 and 1.
        correct_b: Correctness of the second, on the same blocks and images.
        labels: True class of each image, (M,), indices into `names`.
        names: The classes.
        alpha: Intervals cover with probability 1 - alpha.

    Returns:
        One entry per class that has test images, in the order of `names`.

    Raises:
        ValueError: The shapes do not match.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 2 or labels.shape != correct_a.shape[1:]:
        msg = f"expected (R, M), (R, M) and (M,), got {correct_a.shape}, {correct_b.shape} and {labels.shape}"
        raise ValueError(msg)
    present = [(index, name) for index, name in enumerate(names) if np.any(labels == index)]
    return tuple(
        _one_class(name, correct_a[:, labels == index], correct_b[:, labels == index], alpha, len(present))
        for index, name in present
    )


def _one_class(
    name: str, correct_a: NDArray[Any], correct_b: NDArray[Any], alpha: float, num_classes: int
) -> ClassDifference:
    diff = correct_a.astype(np.int64) - correct_b.astype(np.int64)
    interval = together = None
    if diff.shape[0] >= MIN_BLOCKS and diff.shape[1] >= MIN_IMAGES:
        test = crossed_test(diff, alpha=alpha)
        if test.law is not None:
            interval = test.interval
            together = simultaneous_interval(test.estimate, test.law, alpha=alpha, family_size=num_classes)
    return ClassDifference(
        name=name,
        num_images=diff.shape[1],
        accuracy_a=float(correct_a.mean()),
        accuracy_b=float(correct_b.mean()),
        estimate=float(diff.mean()),
        interval=interval,
        simultaneous_interval=together,
    )
