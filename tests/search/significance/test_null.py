"""Equal learners, simulated: how often the tests cry wolf."""

from __future__ import annotations

import math

import numpy as np
import pytest

from search.significance.tests.crossed import crossed_test
from search.significance.tests.resampled import paired_t

ALPHA = 0.05


def rejections(*, run_effect: float, image_effect: float, num_sims: int, seed: int) -> tuple[float, float]:
    """Share of equal pairs told apart by the crossed test and by the plain paired t, 10 repeats on 250 images."""
    rng = np.random.default_rng(seed)
    told_crossed = told_plain = 0
    for _ in range(num_sims):
        hardness = rng.normal(1, 1.5, 250)
        sides = [
            hardness
            + rng.normal(0, image_effect, 250)
            + rng.normal(0, run_effect, (10, 1))
            + rng.normal(0, 0.7, (10, 250))
            for _ in range(2)
        ]
        diff = (sides[0] > 0).astype(np.int8) - (sides[1] > 0).astype(np.int8)
        told_crossed += crossed_test(diff).p < ALPHA
        told_plain += paired_t(diff.mean(axis=1)).p < ALPHA
    return told_crossed / num_sims, told_plain / num_sims


@pytest.mark.parametrize(
    ("run_effect", "image_effect", "plain_fails"), [(0.0, 0.0, False), (0.15, 0.5, False), (0.05, 1.0, True)]
)
def test_crossed_test_keeps_its_promise(run_effect: float, image_effect: float, plain_fails: bool) -> None:
    num_sims = 2000
    crossed_rate, plain_rate = rejections(run_effect=run_effect, image_effect=image_effect, num_sims=num_sims, seed=7)
    assert crossed_rate <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / num_sims)
    if plain_fails:  # where the learners' tastes in images differ, repeats alone are no evidence about new images
        assert plain_rate > 4 * ALPHA
    if image_effect > 0:
        assert crossed_rate > ALPHA / 4  # a test that never rejects would pass too
