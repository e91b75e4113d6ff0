"""The winner's curse against worked examples, brute force and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from search.significance.selection import expected_best_of, tibshirani

quick = settings(max_examples=50, deadline=None)
scores = st.floats(0, 1).map(lambda x: round(x, 4))
tables = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8), elements=scores)
lists = arrays(np.float64, st.integers(1, 6), elements=scores)

TRIALS = np.array([0.731, 0.742, 0.718, 0.755, 0.747, 0.739, 0.728, 0.751])
DODGE = (
    *(0.738875, 0.745515625, 0.7485488281249999, 0.750266845703125),
    *(0.7513659973144531, 0.7521249885559083, 0.7526770482063294, 0.7530938037037849),
)
TANG = (
    *(0.738875, 0.7464642857142857, 0.7498214285714286, 0.751742857142857),
    *(0.7529821428571428, 0.7538571428571429, 0.7545, 0.755),
)


def test_bias_of_a_worked_example() -> None:
    found = tibshirani(
        np.array(
            [
                [0.731, 0.742, 0.738, 0.729],
                [0.735, 0.737, 0.744, 0.731],
                [0.728, 0.740, 0.741, 0.736],
                [0.733, 0.739, 0.735, 0.741],
                [0.730, 0.745, 0.739, 0.733],
            ]
        )
    )
    assert found.best == 1
    assert (found.mean, found.bias, found.corrected) == pytest.approx((0.7406, 0.002, 0.7386), abs=1e-12)


@quick
@given(tables, st.floats(-1, 1), st.floats(0.1, 10))
def test_bias_is_never_negative_and_follows_unit_and_origin(
    table: NDArray[np.float64], shift: float, unit: float
) -> None:
    found = tibshirani(table)
    assert found.bias >= 0
    assert found.corrected == pytest.approx(found.mean - found.bias)
    assert found.mean == pytest.approx(table.mean(axis=0).max())
    moved = tibshirani(table * unit + shift)
    assert (moved.mean, moved.bias) == pytest.approx((found.mean * unit + shift, found.bias * unit), abs=1e-9)
    assert tibshirani(table[:1]).bias == 0
    assert tibshirani(table[:, :1]).bias == 0
    repeated = np.concatenate([table, table], axis=1)
    assert (tibshirani(repeated).best, tibshirani(repeated).bias) == (found.best, found.bias)


def test_bias_is_that_of_choosing_among_equals() -> None:
    # Ten equal configurations, 20 blocks: the best mean is 1.54 standard errors too high (the largest of ten normals).
    rng = np.random.default_rng(0)
    excess, bias = [], []
    for _ in range(400):
        found = tibshirani(rng.normal(0, 1, (20, 10)))
        excess.append(found.mean)
        bias.append(found.bias)
    assert np.mean(excess) == pytest.approx(1.5388 / math.sqrt(20), rel=0.05)
    assert np.mean(bias) > np.mean(excess)  # per block, not per mean: with clear noise it errs to the cautious side


@pytest.mark.parametrize(("replace", "expected"), [(True, DODGE), (False, TANG)])
def test_best_of_k_equals_the_closed_forms(replace: bool, expected: tuple[float, ...]) -> None:
    assert expected_best_of(TRIALS, replace=replace) == pytest.approx(expected, abs=1e-12)
    assert expected_best_of(TRIALS[::-1], replace=replace) == pytest.approx(expected, abs=1e-12)


@quick
@given(lists)
def test_best_of_k_equals_brute_force(values: NDArray[np.float64]) -> None:
    n = values.size
    with_replacement, without = (expected_best_of(values, replace=replace) for replace in (True, False))
    for k in range(1, n + 1):
        if n**k <= 300:
            every = [max(draw) for draw in itertools.product(values, repeat=k)]
            assert with_replacement[k - 1] == pytest.approx(np.mean(every), abs=1e-12)
        every = [max(draw) for draw in itertools.combinations(values, k)]
        assert without[k - 1] == pytest.approx(np.mean(every), abs=1e-12)
    assert with_replacement[0] == pytest.approx(values.mean())
    assert without[-1] == pytest.approx(values.max())


def test_best_of_thousands_stays_exact() -> None:
    # Of 1 to n without replacement the expected largest of k is k (n + 1) / (k + 1).
    n = 5000
    k = np.arange(1, n + 1)
    assert expected_best_of(np.arange(n, 0, -1), replace=False) == pytest.approx(k * (n + 1) / (k + 1), rel=1e-12)
    found = expected_best_of(np.arange(1.0, n + 1), replace=True)
    for draws in (1, 2, 100, n):
        assert found[draws - 1] == pytest.approx(n - np.sum((np.arange(1.0, n) / n) ** draws), rel=1e-12)
    assert (np.diff(found) > 0).all()


def test_without_replacement_is_unbiased_for_fresh_trials() -> None:
    rng = np.random.default_rng(1)
    trials = rng.uniform(0, 1, (1000, 25))
    found, biased = (
        np.mean([expected_best_of(row, replace=replace)[9] for row in trials]) for replace in (False, True)
    )
    assert found == pytest.approx(10 / 11, abs=0.005)  # the mean of the largest of ten
    assert biased < 10 / 11 - 0.01


def test_missing_values_are_refused() -> None:
    for table in (np.zeros((0, 2)), np.zeros(3), np.array([[0.1, np.nan]])):
        with pytest.raises(ValueError, match="scores must be finite"):
            tibshirani(table)
    for values in (np.zeros(0), np.zeros((2, 2)), np.array([np.inf])):
        with pytest.raises(ValueError, match="values must be finite"):
            expected_best_of(values, replace=False)
