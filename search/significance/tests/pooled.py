"""The test that the ECRNN paper prints: images of all runs as if they were independent. Not a valid test; see below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.significance.records import MeanTest
from search.significance.tests.student import t_result

NAME = "pooled images, as published"


def pooled_images_t(
    accuracy_a: float, accuracy_b: float, *, num_runs: int, num_images: int, alpha: float = 0.05
) -> MeanTest:
    """Compare two accuracies as proportions of n = runs x images independent images each.

    Standard error sqrt((p (1 - p) + q (1 - q)) / n). With n = 3 x 15,000 it gives every significance mark that Woo,
    Kim and Choi (2023) print, from their printed accuracies alone.

    The promise fails always: images of one run share its weights, and the runs share images, so that variation between
    runs is forgotten. Exactly equal learners were told apart in .10 to .53 of simulations at .05. It is here to be set
    beside a valid test, never to decide.

    Args:
        accuracy_a: Mean accuracy of the first over its runs, fraction.
        accuracy_b: The same of the second.
        num_runs: Runs of each.
        num_images: Images scored in each run.
        alpha: The interval covers 1 - alpha.

    Returns:
        The test; its standard error is 0, and p is NaN, where both are always right or always wrong.
    """
    pooled = num_runs * num_images
    return t_result(
        NAME,
        estimate=accuracy_a - accuracy_b,
        se=math.sqrt((accuracy_a * (1 - accuracy_a) + accuracy_b * (1 - accuracy_b)) / pooled),
        df=2.0 * pooled - 2,
        alpha=alpha,
        num_blocks=num_runs,
        num_images=num_images,
    )


def num_stars(p: float, thresholds: Sequence[float]) -> int:
    """How many of the thresholds p lies below; NaN lies below none."""
    return sum(p < threshold for threshold in thresholds)
