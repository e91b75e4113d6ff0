"""McNemar's test of two classifiers on the same images, by the images that only one of them classifies correctly."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from search.significance.pairing import ScoresError
from search.significance.records import MeanTest
from search.significance.tests.student import t_result

Variant = Literal["mid-p", "exact"]
NAME = "McNemar test"


def mcnemar_test(
    correct_a: NDArray[Any], correct_b: NDArray[Any], *, variant: Variant = "mid-p", alpha: float = 0.05
) -> MeanTest:
    """Run the two-sided McNemar test of two trained classifiers on one test set.

    It applies to these two checkpoints on images of this kind. The guarantee fails for the configurations: a single
    training each carries no information about the next, for any number of images. It also fails if images are not
    independent (crops of one photograph).

    Args:
        correct_a: Whether the first classified each image correctly, 0 and 1, shape (M,), M >= 2.
        correct_b: The same for the second, in the same order.
        variant: `exact` never rejects more often than alpha; `mid-p` is more powerful and exceeds alpha only slightly.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test. The estimate is the difference in accuracy; se, df, t and interval are those of the paired t over
        images. `statistic` is the smaller discordant count. p is NaN where nothing varied.

    Raises:
        ScoresError: The variant is unknown, lengths differ, or a value is not 0 or 1.

    Reference:
        McNemar 1947, Psychometrika 12; mid-p: Fagerland, Lydersen & Laake 2013, BMC Medical Research Methodology 13;
        for classifiers: Dietterich 1998, Neural Computation 10.
    """
    first, second = np.asarray(correct_a), np.asarray(correct_b)
    if first.ndim != 1 or first.shape != second.shape or first.size < 2:
        msg = f"correctness must be two vectors of the same at least 2 images, got {first.shape} and {second.shape}"
        raise ScoresError(msg)
    if not all(np.isin(side, (0, 1)).all() for side in (first, second)):
        msg = "correctness must be whole numbers, 0 or 1"
        raise ScoresError(msg)
    only_a, only_b, num = (
        int(((first == 1) & (second == 0)).sum()),
        int(((first == 0) & (second == 1)).sum()),
        first.size,
    )
    estimate = (only_a - only_b) / num
    test = t_result(
        f"{NAME}, {variant}",
        estimate=estimate,
        se=math.sqrt(max((only_a + only_b) / num - estimate**2, 0.0) / (num - 1)),
        df=float(num - 1),
        alpha=alpha,
        num_blocks=1,
        num_images=num,
    )
    statistic, p = discordant_test(only_a, only_b, variant=variant)
    return dataclasses.replace(test, p=p, statistic=statistic) if test.se > 0 else test


def discordant_test(only_a: int, only_b: int, *, variant: Variant = "exact") -> tuple[float, float]:
    """Run McNemar's test on the two discordant counts.

    >>> discordant_test(1, 5)
    (1.0, 0.21875)

    Args:
        only_a: Number of cases in which only the first was right (or failed).
        only_b: Number of cases in which only the second was right (or failed).
        variant: As in `mcnemar_test`.

    Returns:
        The smaller count and the two-sided p-value; p is 1 if both counts are equal.

    Raises:
        ScoresError: The variant is unknown.
    """
    if variant not in get_args(Variant):
        msg = f"unknown McNemar variant {variant!r}; known: {', '.join(get_args(Variant))}"
        raise ScoresError(msg)
    smaller, total = min(only_a, only_b), only_a + only_b
    if only_a == only_b:
        return float(smaller), 1.0
    tail = float(special.betainc(total - smaller, smaller + 1, 0.5))  # P(X <= smaller), X ~ Binomial(total, 1 / 2)
    if variant == "mid-p":
        tail -= float(scipy.stats.binom.pmf(smaller, total, 0.5)) / 2
    return float(smaller), min(1.0, 2 * tail)
