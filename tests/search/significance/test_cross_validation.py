"""Dietterich's t and Alpaydin's F against printed numbers, their definitions, and equal learners."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from search.significance import ScoresError
from search.significance.tests.cross_validation import five_by_two_f, five_by_two_t

CASE = json.loads(Path(__file__).with_name("oracles.json").read_text())["dietterich_5x2cv"]
diffs = arrays(np.float64, (5, 2), elements=st.floats(-0.3, 0.3).map(lambda x: round(x, 3)))


def test_the_example() -> None:
    diff, expected, tol = np.array(CASE["input"]["diff_5x2"]), CASE["expected"], CASE["abs_tol"]
    t, f = five_by_two_t(diff), five_by_two_f(diff)
    assert (t.t, t.p) == pytest.approx((expected["t"], expected["p"]), abs=tol)
    assert (f.statistic, f.p) == pytest.approx((expected["F"], expected["p_F"]), abs=tol)
    assert (t.estimate, t.df, t.num_blocks) == (diff[0, 0], 5, 10)
    assert f.estimate == pytest.approx(diff.mean())


@settings(max_examples=60, deadline=None)
@given(diffs, st.floats(1e-2, 1e2), st.integers(0, 2**32 - 1))
def test_definitions_mirrors_and_units(diff: NDArray[np.float64], unit: float, seed: int) -> None:
    assume(np.ptp(diff, axis=1).max() > 1e-3)
    t, f = five_by_two_t(diff), five_by_two_f(diff)
    variances = ((diff - diff.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    assert t.t == pytest.approx(diff[0, 0] / math.sqrt(variances.sum() / 5))
    assert t.p == pytest.approx(2 * stats.t.sf(abs(t.t), 5))
    assert f.statistic == pytest.approx((diff**2).sum() / (2 * variances.sum()))
    assert f.p == pytest.approx(stats.f.sf(f.statistic, 10, 5))
    assert f.t**2 <= f.statistic * (1 + 1e-9)
    for test, first in ((five_by_two_t, t), (five_by_two_f, f)):
        for factor in (unit, -1.0):
            again = test(factor * diff)
            assert again.p == pytest.approx(first.p, rel=1e-9)
            assert again.estimate == pytest.approx(factor * first.estimate)
            assert again.t == pytest.approx(math.copysign(1, factor) * first.t)
            edges = sorted([factor * first.interval.low, factor * first.interval.high])
            assert (again.interval.low, again.interval.high) == pytest.approx(edges)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(rng.permutation(diff), axis=1)
    assert five_by_two_f(shuffled).p == pytest.approx(f.p)
    later = np.vstack([diff[:1], rng.permuted(rng.permutation(diff[1:]), axis=1)])
    assert five_by_two_t(later).p == pytest.approx(t.p)


def test_where_no_pair_varies_there_is_no_p() -> None:
    diff = np.repeat([[0.1], [0.2], [0.3], [0.0], [0.1]], 2, axis=1)
    for test in (five_by_two_t(diff), five_by_two_f(diff)):
        assert math.isnan(test.p)
        assert test.statistic is None


@pytest.mark.parametrize("diff", [np.zeros((2, 5)), np.zeros(10), np.full((5, 2), np.nan)])
def test_another_shape_is_refused(diff: NDArray[np.float64]) -> None:
    with pytest.raises(ScoresError, match=r"finite differences of shape \(5, 2\), split by fold, got"):
        five_by_two_f(diff)


@pytest.mark.parametrize("taste", [0.0, 1.0])
def test_equal_learners_are_rarely_told_apart(taste: float) -> None:
    """100 images split in halves five times; two learners of equal accuracy may like different images (taste)."""
    rng, num_sims, num_images = np.random.default_rng(31), 1000, 100
    liked = taste * rng.normal(size=(num_sims, num_images))
    diff = np.empty((num_sims, 5, 2))
    for split in range(5):
        shuffled = rng.permuted(liked, axis=1).reshape(num_sims, 2, -1)
        luck = rng.normal(0, 0.05, size=(num_sims, 2))  # of each training
        diff[:, split] = (shuffled + rng.normal(size=shuffled.shape)).mean(axis=2) + luck
    for test in (five_by_two_t, five_by_two_f):
        told = np.mean([test(d).p <= 0.05 for d in diff])
        assert 0.01 < told <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims), test.__name__
