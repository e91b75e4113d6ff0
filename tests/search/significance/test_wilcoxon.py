"""The signed-rank test against enumeration, scipy, printed examples and equal learners."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from search.significance import ScoresError
from search.significance.tests import wilcoxon
from search.significance.tests.wilcoxon import hodges_lehmann, wilcoxon_test

quick = settings(max_examples=60, deadline=None)
counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=9)
# Hollander & Wolfe, Hamilton depression scale of nine patients before and after a tranquillizer (table 3.1)
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def oracle(file: str, name: str) -> tuple[Any, Any, float]:
    case = json.loads(Path(__file__).with_name(file).read_text())[name]
    return case["input"], case["expected"], case["abs_tol"]


def by_enumeration(whole: list[int]) -> float:
    """p of whole-number differences: ranks and rank sums doubled, so that all stays whole."""
    size = [abs(d) for d in whole if d]
    doubled = [sum(2 * (other < own) + (other == own) for other in size) + 1 for own in size]
    observed = abs(sum(rank if d > 0 else -rank for rank, d in zip(doubled, [d for d in whole if d], strict=True)))
    signs = list(itertools.product((1, -1), repeat=len(size)))
    return sum(abs(sum(s * r for s, r in zip(row, doubled, strict=True))) >= observed for row in signs) / len(signs)


def test_ten_splits() -> None:
    given_, expected, tol = oracle("oracles.json", "split73_n10")
    test = wilcoxon_test(np.array(given_["A"]) - np.array(given_["B"]))
    assert test.statistic == expected["wilcoxon_W"]
    assert test.p == pytest.approx(expected["wilcoxon_p_exact"], abs=tol)
    assert test.t == pytest.approx(expected["t_plain"], abs=tol)


@quick
@given(counts, st.sampled_from([6, 7, 30, 1000]))
def test_ties_are_exact_and_float_noise_breaks_none(right: list[tuple[int, int]], num_images: int) -> None:
    whole = [a - b for a, b in right]
    assume(len(set(whole)) > 1)
    test = wilcoxon_test(np.array([a / num_images - b / num_images for a, b in right]))
    assert test.p == pytest.approx(by_enumeration(whole), abs=1e-12)


@pytest.mark.parametrize("size", [2, 5, 12, 30, 49])
def test_it_agrees_with_scipy_where_that_is_exact(size: int) -> None:
    diff = np.random.default_rng(size).normal(0.3, 1, size)
    peer = stats.wilcoxon(diff, method="exact")
    test = wilcoxon_test(diff)
    assert (test.statistic, test.p) == pytest.approx((peer.statistic, peer.pvalue), abs=1e-12)


def test_it_agrees_with_scipys_permutations_on_ties_and_zeros() -> None:
    rng = np.random.default_rng(2)
    for _ in range(3):
        diff = rng.integers(-4, 5, 9).astype(float)
        peer = stats.wilcoxon(diff, method=stats.PermutationMethod(n_resamples=np.inf))
        test = wilcoxon_test(diff)
        assert (test.statistic, test.p) == pytest.approx((peer.statistic, peer.pvalue), abs=1e-12)


def test_zeros_say_nothing() -> None:
    diff = np.array([0.01, 0.03, -0.02, 0.04])
    assert wilcoxon_test(np.append(diff, [0.0, 0.1 + 0.2 - 0.3])).p == wilcoxon_test(diff).p


def test_beyond_the_exact_range_the_normal_distribution_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    diff = np.random.default_rng(5).normal(0.15, 1, 200).round(1)
    exact, exact_shift = wilcoxon_test(diff), hodges_lehmann(diff)
    monkeypatch.setattr(wilcoxon, "MAX_EXACT", 100)
    assert wilcoxon_test(diff).p == pytest.approx(exact.p, rel=0.02)
    assert wilcoxon_test(diff).p != exact.p
    assert exact_shift[1] is not None
    shift = hodges_lehmann(diff)[1]
    assert shift is not None
    assert (shift.low, shift.high) == pytest.approx((exact_shift[1].low, exact_shift[1].high), abs=0.01)


@quick
@given(counts, st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_order_unit_and_names_mean_nothing(right: list[tuple[int, int]], unit: float, seed: int) -> None:
    diff = np.array([a / 30 - b / 30 for a, b in right])
    assume(np.ptp(diff) > 1e-9)
    first, shift, within = wilcoxon_test(diff), *hodges_lehmann(diff, level=0.8)
    for other, factor in ((np.random.default_rng(seed).permutation(diff), 1), (diff * unit, unit), (-diff, -1)):
        again = wilcoxon_test(other)
        assert (again.p, again.statistic) == (first.p, first.statistic)
        moved, around = hodges_lehmann(other, level=0.8)
        assert moved == pytest.approx(factor * shift, rel=1e-9, abs=1e-12)
        assert (around is None) == (within is None)
        if around and within:
            edges = sorted([factor * within.low, factor * within.high])
            assert (around.low, around.high) == pytest.approx(edges, rel=1e-9, abs=1e-12)


def test_hollander_and_wolfes_example() -> None:
    diff = BEFORE - AFTER
    test, (shift, interval) = wilcoxon_test(diff), hodges_lehmann(diff)
    assert (test.statistic, test.p) == (5.0, pytest.approx(2 * 0.01953125))  # T+ = 40, one-sided .0195
    assert shift == pytest.approx(0.46)
    assert interval is not None
    assert (interval.low, interval.high, interval.level) == pytest.approx((0.010, 0.786, 0.95))


@pytest.mark.parametrize("size", [6, 9, 15, 40])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_holds_the_shifts_that_are_not_rejected(size: int, level: float) -> None:
    diff = np.random.default_rng(size).normal(0, 1, size)
    interval = hodges_lehmann(diff, level=level)[1]
    assert interval is not None
    for edge, inward in ((interval.low, 1e-7), (interval.high, -1e-7)):
        assert wilcoxon_test(diff - edge - inward).p > 1 - level
        assert wilcoxon_test(diff - edge + inward).p <= 1 - level


def test_where_nothing_varies_or_too_little_is_there() -> None:
    assert math.isnan(wilcoxon_test(np.full(8, 0.01)).p)
    assert hodges_lehmann(np.full(8, 0.01)) == (pytest.approx(0.01), None)
    assert hodges_lehmann(np.linspace(0, 1, 5))[1] is None
    assert hodges_lehmann(np.linspace(0, 1, 6))[1] is not None
    with pytest.raises(ScoresError, match="at least 2 blocks"):
        wilcoxon_test(np.array([0.5]))
    with pytest.raises(ScoresError, match="must be finite"):
        hodges_lehmann(np.array([0.5, math.inf]))


@pytest.mark.parametrize("digits", [1, 8])
def test_equal_learners_over_data_sets_are_rarely_told_apart(digits: int) -> None:
    """Ten data sets of very different difficulty; with one digit the scores tie."""
    rng, num_sims = np.random.default_rng(12), 1000
    spread = rng.choice([0.3, 1, 4], size=(num_sims, 10))
    diff = (spread * rng.exponential(size=(2, num_sims, 10))).round(digits)
    told = np.mean([wilcoxon_test(d).p <= 0.05 for d in diff[0] - diff[1]])
    assert told <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
    assert told > 0.025
