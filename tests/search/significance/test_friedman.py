"""Rank tests over data sets against Demsar's printed example, scipy, invariances and equal learners."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import stats

from search.significance import ScoresError
from search.significance.tests.friedman import friedman, nemenyi_difference, permutation_p, rank_scores

CASE = json.loads(Path(__file__).with_name("oracles.json").read_text())["demsar2006_friedman"]
GIVEN, EXPECTED, TOL = CASE["input"], CASE["expected"], CASE["abs_tol"]
quick = settings(max_examples=60, deadline=None)
shapes = array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=7)
tables = arrays(np.int64, shapes, elements=st.integers(0, 9))


def test_demsars_table_6() -> None:
    test = friedman(-np.array(GIVEN["ranks"]), tie_correction=False)
    assert test.average_ranks == pytest.approx(EXPECTED["avg_ranks"], abs=TOL)
    assert (test.chi2, test.p_chi2) == pytest.approx((EXPECTED["chi2_F"], EXPECTED["p_chi2"]), abs=TOL)
    assert (test.f, test.p_f) == pytest.approx((EXPECTED["F_F"], EXPECTED["p_F"]), abs=TOL)
    assert test.df == tuple(EXPECTED["df"])
    assert (test.num_datasets, test.num_configs, test.tie_correction) == (14, 4, False)


def test_his_printed_scores_tie_where_his_ranks_do_not() -> None:
    scores = np.array(GIVEN["scores"])
    ranks = rank_scores(scores)
    assert [row + 1 for row in range(14) if ranks[row].tolist() != GIVEN["ranks"][row]] == [13]
    assert friedman(scores).chi2 == pytest.approx(10.95, abs=0.005)
    assert friedman(scores, tie_correction=False).chi2 == pytest.approx(9.86, abs=0.005)


def test_demsars_critical_differences() -> None:
    assert nemenyi_difference(4, 14) == pytest.approx(EXPECTED["CD05"], abs=TOL)
    assert nemenyi_difference(4, 14, alpha=0.1) == pytest.approx(EXPECTED["CD10"], abs=TOL)
    # His table 5: q of .05 is 1.960, 2.343, 2.569, 2.728, 2.850 for two to six configurations
    for k, q in enumerate((1.960, 2.343, 2.569, 2.728, 2.850), start=2):
        assert nemenyi_difference(k, 6) / math.sqrt(k * (k + 1) / 36) == pytest.approx(q, abs=1e-3)


@quick
@given(tables)
def test_it_agrees_with_scipy_on_ties(table: NDArray[np.int64]) -> None:
    assume(np.ptp(table, axis=1).any())
    peer = stats.friedmanchisquare(*table.T)
    test = friedman(table / 9)
    assert (test.chi2, test.p_chi2) == pytest.approx((peer.statistic, peer.pvalue), abs=1e-9)
    plain = friedman(table / 9, tie_correction=False)
    assert plain.chi2 <= test.chi2 + 1e-9
    assert plain.p_f >= test.p_f - 1e-9 or math.isinf(test.f)


@quick
@given(tables, st.integers(0, 2**32 - 1), st.booleans())
def test_order_scale_and_noise_mean_nothing(table: NDArray[np.int64], seed: int, correction: bool) -> None:
    assume(np.ptp(table, axis=1).any())
    rng = np.random.default_rng(seed)
    first = friedman(table / 9, tie_correction=correction)
    noisy = table / 9 + rng.uniform(-1e-15, 1e-15, table.shape)
    scaled = (table / 9) * rng.uniform(0.1, 10, (len(table), 1))  # each data set in a unit of its own
    for other in (noisy, scaled, table / 9 + rng.uniform(size=(len(table), 1)), rng.permutation(table / 9)):
        again = friedman(other, tie_correction=correction)
        assert dataclasses.astuple(again)[2] == pytest.approx(first.average_ranks)
        assert (again.chi2, again.p_chi2, again.f, again.p_f) == pytest.approx(
            (first.chi2, first.p_chi2, first.f, first.p_f)
        )
    order = rng.permutation(table.shape[1])
    turned = friedman(table[:, order], tie_correction=correction)
    assert turned.average_ranks == pytest.approx([first.average_ranks[i] for i in order])
    mirrored = friedman(-table, tie_correction=correction)
    assert mirrored.average_ranks == pytest.approx([table.shape[1] + 1 - rank for rank in first.average_ranks])
    assert mirrored.p_f == pytest.approx(first.p_f)


def test_full_agreement_has_its_exact_chance() -> None:
    test = friedman(np.array([[0.9, 0.8, 0.7]] * 4))
    assert (test.f, test.average_ranks) == (math.inf, (1.0, 2.0, 3.0))
    assert test.p_f == pytest.approx(6.0**-3)
    tied = friedman(np.array([[0.9, 0.7, 0.7]] * 4))
    assert (tied.f, tied.p_f) == (math.inf, pytest.approx(3.0**-3))


def test_ties_everywhere_are_no_evidence() -> None:
    scores = np.full((5, 3), 0.5)
    plain = friedman(scores, tie_correction=False)
    assert (plain.chi2, plain.p_f) == (0, 1)
    assert math.isnan(friedman(scores).p_f)


def test_what_cannot_be_ranked_is_refused() -> None:
    scores = np.array([[0.1, 0.2, 0.3], [0.3, np.nan, 0.1], [0.1, 0.2, 0.3]])
    with pytest.raises(ScoresError, match=r"scores must be finite, rows \[2\] are not: remove data sets"):
        friedman(scores)
    with pytest.raises(ScoresError, match=r"at least 2 by 3, got \(3, 2\)"):
        friedman(scores[:, ::2])
    with pytest.raises(ScoresError, match=r"must sum to 6 in every row, rows \[2\] do not"):
        permutation_p(np.array([[1, 2, 3], [1, 2, 2]]))


def test_shuffled_ranks_against_all_tables() -> None:
    ranks = rank_scores(np.array([[3, 2, 1], [3, 1, 2], [2, 2, 1], [3, 1, 1]]))
    orders = [list(itertools.permutations(row)) for row in ranks]
    spread = [np.var(np.sum(table, axis=0)) for table in itertools.product(*orders)]
    exact = np.mean(np.array(spread) >= np.var(ranks.sum(axis=0)) - 1e-9)
    found = [permutation_p(ranks, num_samples=20_000, seed=seed) for seed in range(3)]
    assert all(abs(p - exact) < 4 * error for p, error in found)
    assert found[0][1] == pytest.approx(math.sqrt(exact * (1 - exact) / 20_000), rel=0.1)
    assert len(set(found)) == 3
    assert permutation_p(ranks, num_samples=20_000, seed=2) == found[2]
    assert permutation_p(rank_scores(np.tile([1.0, 2, 3, 4], (20, 1))), num_samples=999)[0] == 1 / 1000


@pytest.mark.parametrize("num_datasets", [6, pytest.param(12, marks=pytest.mark.slow)])
def test_equal_configurations_are_rarely_told_apart(num_datasets: int) -> None:
    """Four configurations on data sets of unequal spread."""
    rng, num_sims = np.random.default_rng(41), 1000
    shape = (num_sims, num_datasets)
    scores = rng.choice([0.1, 1, 5], size=(*shape, 1)) * rng.exponential(size=(*shape, 4))
    tests = [friedman(table) for table in scores]
    means = np.array([test.average_ranks for test in tests])
    largest = np.abs(means[:, 1:] - means[:, :1]).max(axis=1)
    told = {
        "shuffled": np.mean([permutation_p(rank_scores(table), num_samples=199)[0] <= 0.05 for table in scores]),
        "chi2": np.mean([test.p_chi2 <= 0.05 for test in tests]),
        "nemenyi": np.mean(np.ptp(means, axis=1) >= nemenyi_difference(4, num_datasets)),
        "control": np.mean(largest >= stats.norm.isf(0.05 / 6) * math.sqrt(20 / 6 / num_datasets)),
    }
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
    for name, rate in told.items():
        assert 0.02 < rate <= limit, name
    documented = {6: 0.060, 12: 0.055}[num_datasets]
    assert np.mean([test.p_f <= 0.05 for test in tests]) == pytest.approx(documented, abs=0.016)  # two errors of 1000
