"""The Multi-Bootstrap against every resample there is and its own closed form; BCa against every resample there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from search.significance.tests import bootstrap
from search.significance.tests.bootstrap import bca_interval, from_samples, multi_bootstrap, resampled_means
from search.significance.tests.crossed import crossed_test, mean_squares, satterthwaite_df

quick = settings(max_examples=30, deadline=None)
shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12)
diffs = arrays(np.int8, shapes, elements=st.integers(-1, 1))


def simulated(seed: int, *, repeats: int, images: int, shift: float = 0.0) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    latent = rng.normal(0, 1, images) + rng.normal(shift, 0.3, (repeats, 1)) + rng.normal(0, 0.7, (repeats, images))
    return np.where(latent > 1, 1, np.where(latent < -1, -1, 0)).astype(np.int8)


def test_it_draws_what_can_be_drawn_as_often_as_it_should() -> None:
    diff = np.array([[1, 0], [-1, 1], [0, 1]], dtype=np.int8)
    exact: dict[float, float] = {}
    for rows in itertools.product(range(3), repeat=3):
        for cols in itertools.product(range(2), repeat=2):
            mean = diff[np.ix_(rows, cols)].mean()
            exact[round(mean, 9)] = exact.get(round(mean, 9), 0) + 1 / (27 * 4)
    means = np.round(resampled_means([diff], num_samples=20_000)[0], 9)
    assert set(means) == set(exact)
    for value, share in exact.items():
        assert np.mean(means == value) == pytest.approx(share, abs=5 * math.sqrt(share / 20_000))


def test_standard_error_is_that_of_the_pigeonhole_bootstrap() -> None:
    diff = simulated(3, repeats=5, images=40)
    squares = mean_squares(diff)
    rows, cols = diff.shape
    variance = (
        squares.repeats * (rows - 1) / rows
        + squares.images * (cols - 1) / cols
        + squares.residual * (rows - 1) * (cols - 1) / (rows * cols)
    ) / (rows * cols)
    assert multi_bootstrap(diff, num_samples=20_000).se == pytest.approx(math.sqrt(variance), rel=0.03)


def test_pairs_share_the_draws_of_their_configurations() -> None:
    rng = np.random.default_rng(0)
    configs = [rng.integers(0, 2, (4, 30)).astype(np.uint8) for _ in range(3)]
    together = resampled_means(configs, num_samples=200, seed=5)
    for a, b in itertools.combinations(range(3), 2):
        diff = configs[a].view(np.int8) - configs[b].view(np.int8)
        alone = multi_bootstrap(diff, num_samples=200, seed=5)
        assert from_samples(diff, together[a] - together[b]).se == pytest.approx(alone.se, rel=1e-9)
        assert resampled_means([diff], num_samples=200, seed=5)[0] == pytest.approx(
            together[a] - together[b], abs=1e-12
        )


def test_how_many_are_held_at_once_and_in_which_type_is_no_part_of_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    diff = simulated(1, repeats=4, images=50)
    whole = resampled_means([diff], num_samples=100)
    assert (resampled_means([diff.astype(np.float64)], num_samples=100) == whole).all()
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 120)
    assert (resampled_means([diff], num_samples=100) == whole).all()
    assert (resampled_means([diff], num_samples=100, seed=1) != whole).mean() > 0.9


@quick
@given(diffs, st.integers(0, 5))
def test_swapping_the_sides_mirrors_it(diff: NDArray[np.int8], seed: int) -> None:
    test, mirrored = (multi_bootstrap(side, num_samples=99, seed=seed) for side in (diff, -diff))
    assert (test.num_blocks, test.num_images) == diff.shape
    assert test.estimate == pytest.approx(diff.mean())
    assume(test.se > 0)
    assert (mirrored.estimate, mirrored.se, mirrored.p, mirrored.df) == (-test.estimate, test.se, test.p, test.df)
    assert (mirrored.interval.low, mirrored.interval.high) == pytest.approx(
        (-test.interval.high, -test.interval.low), abs=1e-12
    )
    assert test.statistic is not None
    assert mirrored.statistic == pytest.approx(1 - test.statistic)
    assert 2 / 100 <= test.p <= 1


def test_p_counts_the_estimate_among_the_resamples() -> None:
    diff = simulated(1, repeats=4, images=50)
    means = np.array([0.2, 0.1, 0.3, 0.0, -0.1, 0.4, 0.2, 0.2, 0.1])
    test = from_samples(diff, means)
    assert test.p == pytest.approx(2 * (1 + 2) / 10)
    assert test.p_error == pytest.approx(2 * math.sqrt(0.3 * 0.7 / 9))
    assert test.statistic == pytest.approx(7.5 / 9)
    assert test.se == pytest.approx(np.std(means, ddof=1))
    assert from_samples(diff, means + 1).p == pytest.approx(0.2)
    assert (test.interval.level, from_samples(diff, means, alpha=0.2).interval.level) == (0.95, 0.8)


def test_its_p_falls_below_alpha_where_its_interval_leaves_zero() -> None:
    tests = [multi_bootstrap(simulated(seed, repeats=8, images=60, shift=0.25)) for seed in range(20)]
    told = [test.p < 0.05 for test in tests]
    assert 3 < sum(told) < 17
    left = [test.interval.low > 0 or test.interval.high < 0 for test in tests]
    assert sum(a != b for a, b in zip(told, left, strict=True)) <= 1  # the one that p adds


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_to_test_where_nothing_varies(value: int) -> None:
    for dtype in (np.int8, np.float64):
        test = multi_bootstrap(np.full((3, 7), value, dtype=dtype), num_samples=50)
        assert test.se == 0
        assert math.isnan(test.p)
        assert math.isnan(test.interval.low)
    assert math.isnan(multi_bootstrap(np.full((3, 7), 0.1), num_samples=50).p)


def test_with_many_repeats_it_agrees_with_the_crossed_test() -> None:
    rng = np.random.default_rng(2)
    rows, cols = rng.normal(0.1, 0.5, (40, 1)), rng.normal(0, 0.5, 80)
    latent = rows + cols + rng.normal(0, 0.1, (40, 80))  # little residual: that is what it overstates
    diff = np.sign(np.round(latent)).astype(np.int8)
    test, crossed = multi_bootstrap(diff, num_samples=4000), crossed_test(diff)
    assert test.se == pytest.approx(crossed.se, rel=0.1)
    assert test.df == satterthwaite_df(mean_squares(diff))
    assert test.p == pytest.approx(crossed.p, abs=0.03)


def test_bca_equals_the_exact_enumeration() -> None:
    # All 6,435 multinomial resamples of eight differences, weighted: 0.0023125 to 0.0076125.
    diff = np.array([0.0083, -0.0002, 0.0069, -0.0008, 0.0086, 0.0041, 0.0076, 0.0092])
    found = bca_interval(diff)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0023125, 0.0076125), abs=1e-4)
    assert found == bca_interval(diff)
    assert found != bca_interval(diff, seed=1)
    wide = bca_interval(diff, level=0.99)
    assert wide is not None
    assert wide.low < found.low < found.high < wide.high


@pytest.mark.parametrize("diff", [[0.1], [0.1, 0.1, 0.1], [0.3 - 0.2, 0.1, 0.1], []])
def test_no_bca_where_nothing_varies(diff: list[float]) -> None:
    assert bca_interval(np.array(diff)) is None
