"""Max-T against enumeration, the single test, bounds, and families of which some are null."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from search.significance import ScoresError
from search.significance.adjust.max_t import max_t
from search.significance.tests.signflip import sign_flip_test

quick = settings(max_examples=50, deadline=None)
tables = st.tuples(st.integers(3, 8), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(-9, 9))
)


def by_enumeration(diff: NDArray[np.int64]) -> list[float]:
    """Adjusted p of whole numbers by their definition: studentized, every sign vector, column set after column set."""
    with np.errstate(divide="ignore"):
        flipped = np.array([np.array(s)[:, None] * diff for s in itertools.product((1, -1), repeat=len(diff))])
        t = np.abs(flipped.mean(axis=1)) / flipped.std(axis=1, ddof=1)
    t = np.nan_to_num(t, posinf=1e6)
    adjusted, left, last = [0.0] * diff.shape[1], list(np.argsort(-t[0])), 0.0
    while left:
        first = left[0]
        last = max(last, float(np.mean(t[:, left].max(axis=1) >= t[0, first] - 1e-9)))
        adjusted[first] = last
        left = left[1:]
    return adjusted


@quick
@given(tables)
def test_against_all_sign_vectors(table: NDArray[np.int64]) -> None:
    assume(np.ptp(table, axis=0).min() > 0)
    found = max_t(table / 30)
    assert found.adjusted_p == pytest.approx(by_enumeration(table), abs=1e-12)
    assert found.p_error is None


def test_one_comparison_is_the_sign_flip_test() -> None:
    for size in (3, 9, 13, 20):
        diff = np.random.default_rng(size).normal(0.4, 1, size)
        assert max_t(diff[:, None]).adjusted_p == (sign_flip_test(diff).p,)


@quick
@given(tables, st.integers(0, 2**32 - 1))
def test_bounds_and_invariances(table: NDArray[np.int64], seed: int) -> None:
    diff, rng = table / 30, np.random.default_rng(seed)
    assume(np.ptp(table, axis=0).min() > 0)
    down = max_t(diff).adjusted_p
    raw = [sign_flip_test(column).p for column in diff.T]
    assert all(p - 1e-12 <= q <= 1 + 1e-12 for p, q in zip(raw, down, strict=True))
    t = np.abs(diff.mean(axis=0)) / diff.std(axis=0)
    assert all(down[i] <= down[j] for i in range(t.size) for j in range(t.size) if t[i] > t[j] + 1e-9)
    mirrored_scaled = diff * rng.choice([-1, 1], diff.shape[1]) * rng.uniform(0.1, 10, diff.shape[1])
    assert max_t(mirrored_scaled).adjusted_p == pytest.approx(down, abs=1e-12)
    assert max_t(rng.permutation(diff)).adjusted_p == pytest.approx(down, abs=1e-12)
    order = rng.permutation(diff.shape[1])
    assert max_t(diff[:, order]).adjusted_p == pytest.approx([down[i] for i in order], abs=1e-12)


def test_copies_of_a_comparison_cost_nothing() -> None:
    diff = np.random.default_rng(0).normal(0.8, 1, 10)
    assert max_t(np.stack([diff, 2 * diff, -diff], axis=1)).adjusted_p == (sign_flip_test(diff).p,) * 3


def test_random_signs_come_near_the_exact_p() -> None:
    diff = np.random.default_rng(1).normal([0.1, 0.3, 0.5], 1, (16, 3))
    exact = max_t(diff)
    drawn = [max_t(diff, max_exact=1, num_samples=20_000, seed=seed) for seed in range(3)]
    for found in drawn:
        assert found.p_error is not None
        for p, error, wanted in zip(found.adjusted_p, found.p_error, exact.adjusted_p, strict=True):
            assert abs(p - wanted) <= 4 * error
            assert error == pytest.approx(math.sqrt(p * (1 - p) / 20_001))
    assert len({found.adjusted_p for found in drawn}) == 3
    assert max_t(diff, max_exact=1, num_samples=20_000, seed=2) == drawn[2]


def test_a_drawn_p_is_never_zero() -> None:
    diff = np.linspace(0.01, 0.02, 40)[:, None] * [1, 2]
    assert max_t(diff, num_samples=999).adjusted_p == (1 / 1000, 1 / 1000)


def test_what_does_not_vary_gets_no_p_and_changes_none() -> None:
    diff = np.random.default_rng(2).normal(0.5, 1, (9, 2))
    with_constant = np.column_stack([diff[:, 0], np.full(9, 0.3), diff[:, 1], np.zeros(9)])
    found, alone = max_t(with_constant).adjusted_p, max_t(diff).adjusted_p
    assert (found[0], found[2]) == alone
    assert math.isnan(found[1])
    assert math.isnan(found[3])
    assert all(math.isnan(p) for p in max_t(np.zeros((4, 2))).adjusted_p)


@pytest.mark.parametrize(
    ("diff", "words"),
    [
        (np.zeros(5), r"\(num_blocks, num_comparisons\) with at least 2 blocks, got \(5,\)"),
        (np.zeros((1, 3)), r"got \(1, 3\)"),
        (np.full((3, 1), np.nan), "must be finite, got 3"),
    ],
)
def test_what_is_no_family_is_refused(diff: NDArray[np.float64], words: str) -> None:
    with pytest.raises(ScoresError, match=words):
        max_t(diff)


@pytest.mark.parametrize("shift", [(0, 0, 0, 0), (0, 0, 2, 4)])
@pytest.mark.parametrize("skewed", [False, True])
def test_the_null_ones_are_rarely_claimed(shift: tuple[int, ...], skewed: bool) -> None:
    """Four configurations against a control on ten blocks; some truly differ, which must not harm the others."""
    rng, num_sims = np.random.default_rng(51), 600
    draw = rng.exponential if skewed else rng.normal
    scores = draw(size=(num_sims, 10, 5)) + rng.normal(size=(num_sims, 10, 1))
    diff = scores[:, :, 1:] - scores[:, :, :1] + shift
    null = np.array(shift) == 0
    claimed = np.array([max_t(d).adjusted_p for d in diff]) <= 0.05
    false = claimed[:, null].any(axis=1).mean()
    assert 0.01 < false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
