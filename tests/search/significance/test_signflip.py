"""The sign-flip test against enumeration, scipy, invariances and equal learners."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from search.significance import ScoresError
from search.significance.tests.signflip import fewest_blocks, sign_flip_test, signed_sums

quick = settings(max_examples=60, deadline=None)
counts = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=10)
sizes = st.sampled_from([30, 70, 1000, 9999])


def by_enumeration(whole: list[int]) -> float:
    """p of whole-number differences, counted without any float."""
    observed = abs(sum(whole))
    signs = list(itertools.product((1, -1), repeat=len(whole)))
    return sum(abs(sum(s * d for s, d in zip(row, whole, strict=True))) >= observed for row in signs) / len(signs)


def test_ten_splits() -> None:
    case = json.loads(Path(__file__).with_name("oracles.json").read_text())["split73_n10"]
    test = sign_flip_test(np.array(case["input"]["A"]) - np.array(case["input"]["B"]))
    assert test.p == pytest.approx(case["expected"]["signflip_p_exact"], abs=case["abs_tol"])
    assert test.t == pytest.approx(case["expected"]["t_plain"], abs=case["abs_tol"])
    assert [test.interval.low, test.interval.high] == pytest.approx(case["expected"]["ci95_plain"], abs=case["abs_tol"])
    assert (test.p_error, test.num_blocks, test.num_images) == (None, 10, None)


@quick
@given(counts, sizes)
def test_float_noise_breaks_no_tie(right: list[tuple[int, int]], num_images: int) -> None:
    whole = [a - b for a, b in right]
    assume(len(set(whole)) > 1)
    test = sign_flip_test(np.array([a / num_images - b / num_images for a, b in right]))
    assert test.p == by_enumeration(whole)
    assert test.statistic == pytest.approx(sum(whole) / len(whole) / num_images)


def test_it_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    for size in (3, 6, 9):
        diff = rng.normal(0.4, 1, size)
        peer = stats.permutation_test((diff,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_test(diff).p == pytest.approx(peer.pvalue, abs=1e-12)


@quick
@given(counts, st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_order_unit_and_names_mean_nothing(right: list[tuple[int, int]], unit: float, seed: int) -> None:
    diff = np.array([a / 30 - b / 30 for a, b in right])
    assume(np.ptp(diff) > 1e-9)
    first = sign_flip_test(diff)
    for other, sign in ((np.random.default_rng(seed).permutation(diff), 1), (diff * unit, 1), (-diff, -1)):
        again = sign_flip_test(other)
        assert again.p == first.p
        assert sign * again.t == pytest.approx(first.t, rel=1e-9, abs=1e-9)


def test_the_smallest_p_is_two_sign_vectors() -> None:
    for size in range(2, 12):
        assert sign_flip_test(np.linspace(0.01, 0.02, size)).p == 2 / 2**size
    assert (fewest_blocks(alpha=0.05), fewest_blocks(alpha=0.05, family_size=8)) == (6, 9)
    for family in (1, 3, 8, 20):
        blocks = fewest_blocks(alpha=0.05, family_size=family)
        assert family * 2 / 2**blocks <= 0.05 < family * 2 / 2 ** (blocks - 1)


def test_twenty_blocks_are_counted_and_more_are_drawn() -> None:
    rng = np.random.default_rng(3)
    diff = rng.normal(0.3, 1, 20)
    sums = np.abs(signed_sums(diff))
    assert sign_flip_test(diff).p == pytest.approx(np.mean(sums >= abs(diff.sum()) - 1e-9), abs=1e-15)
    drawn = sign_flip_test(rng.normal(0.3, 1, 21))
    assert drawn.p_error is not None


def test_random_signs_come_near_the_exact_p() -> None:
    diff = np.random.default_rng(1).normal(0.1, 1, 24)
    exact = sign_flip_test(diff, max_exact=2**24)
    assert exact.p_error is None
    drawn = [sign_flip_test(diff, num_samples=20_000, seed=seed) for seed in range(5)]
    for test in drawn:
        assert test.p_error == pytest.approx(math.sqrt(exact.p * (1 - exact.p) / 20_000), rel=0.1)
        assert abs(test.p - exact.p) < 4 * test.p_error
    assert len({test.p for test in drawn}) == 5
    assert sign_flip_test(diff, num_samples=20_000, seed=3) == drawn[3]


def test_a_drawn_p_is_never_zero() -> None:
    test = sign_flip_test(np.linspace(0.01, 0.02, 40), num_samples=999)
    assert test.p == 1 / 1000
    assert test.p_error == pytest.approx(math.sqrt(0.001 * 0.999 / 1000))


def test_where_nothing_varies_there_is_no_p() -> None:
    for diff in (np.zeros(5), np.full(6, 0.1), np.array([0.1 + 0.2, 0.3, 0.3])):
        test = sign_flip_test(diff)
        assert math.isnan(test.p)
        assert test.se == 0


@pytest.mark.parametrize(
    ("diff", "words"),
    [([0.1], r"got \(1,\)"), ([[0.1, 0.2]], r"got \(1, 2\)"), ([0.1, math.nan], "must be finite, got 1")],
)
def test_what_is_no_set_of_differences_is_refused(diff: list[float], words: str) -> None:
    with pytest.raises(ScoresError, match=words):
        sign_flip_test(np.array(diff))


@pytest.mark.parametrize("max_exact", [2**20, 1])
def test_equal_skewed_learners_are_rarely_told_apart(max_exact: int) -> None:
    rng, num_sims = np.random.default_rng(11), 1000
    scores = rng.exponential(size=(2, num_sims, 8))
    told = np.mean([sign_flip_test(d, max_exact=max_exact, num_samples=199).p <= 0.05 for d in scores[0] - scores[1]])
    assert told <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
    assert told > 0.025  # a test that never rejects would pass too
