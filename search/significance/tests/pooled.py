"""The test of the ECRNN paper, which treats the images of all runs as independent. Not a valid test; see below."""

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

    Standard error sqrt((p (1 - p) + q (1 - q)) / n). With n = 3 x 15,000 it reproduces every significance mark of Woo,
    Kim and Choi (2023) from their printed accuracies alone.

    For comparison with a valid test, never for a decision. The guarantee never holds: images of one run share its
    weights, and the runs share images, so variation between runs is ignored. Equal learners were called different in
    .10 to .53 of simulations at .05.

    Args:
        accuracy_a: Mean accuracy of the first over its runs, fraction.
        accuracy_b: Mean accuracy of the second.
        num_runs: Number of runs of each.
        num_images: Number of images scored in each run.
        alpha: The interval covers with probability 1 - alpha.

    Returns:
        The test; its standard error is 0, and p is NaN, if both are always right or always wrong.
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
    """Return the number of thresholds above p; 0 for NaN."""
    return sum(p < threshold for threshold in thresholds)
