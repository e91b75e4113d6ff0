from __future__ import annotations

import math

import numpy as np
import pytest

from search.significance.means import mean_of_repeats

T_2 = 4.302652729911275
"""Student's t, .975, 2 degrees of freedom."""


def test_a_mean_by_hand() -> None:
    found = mean_of_repeats(np.array([0.7, 0.8, 0.9]), num_further=3)
    assert found.interval is not None
    assert found.expected is not None
    assert found.mean == pytest.approx(0.8)
    assert found.interval.high - 0.8 == pytest.approx(T_2 * 0.1 / math.sqrt(3))
    assert 0.8 - found.expected.low == pytest.approx(T_2 * 0.1 * math.sqrt(1 / 3 + 1 / 3))


@pytest.mark.parametrize("scores", [[0.7], [0.6, 0.8], [0.7, 0.7, 0.7]])
def test_few_or_equal_scores_have_no_interval(scores: list[float]) -> None:
    # Two scores 20 points apart would have one from -57 to 197 %, and every claim would lie inside.
    found = mean_of_repeats(np.array(scores))
    assert found.mean == pytest.approx(0.7)
    assert found.num_repeats == len(scores)
    assert found.interval is None
    assert found.expected is None


def test_the_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(5)
    scores, further = rng.normal(0.8, 0.01, (2000, 4)), rng.normal(0.8, 0.01, (2000, 3)).mean(axis=1)
    found = [mean_of_repeats(row, num_further=3) for row in scores]
    of_mean = np.mean([item.interval.low < 0.8 < item.interval.high for item in found if item.interval])
    of_next = np.mean(
        [item.expected.low < x < item.expected.high for item, x in zip(found, further, strict=True) if item.expected]
    )
    assert of_mean == pytest.approx(0.95, abs=0.02)
    assert of_next == pytest.approx(0.95, abs=0.02)
