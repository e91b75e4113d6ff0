"""Equivalence by signed ranks: against baycomp, scipy, its own interval, and what it can never reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from search.significance import Declared, Results, Verdict, judge_results
from search.significance.tests.signed_ranks import signed_rank_probabilities, signed_rank_tost
from search.significance.tests.wilcoxon import hodges_lehmann

C45 = np.array([0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.94, 0.619, 0.972, 0.957])
C45_M = np.array([0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978])
"""Demsar 2006, table 2."""
TEN = np.array([0.0119, -0.004, 0.0031, 0.0007, 0.0055, 0.0102, -0.0013, 0.0042, 0.0066, 0.0004])


@pytest.mark.parametrize(
    ("diff", "rope", "expected"),
    [
        (C45_M - C45, 0.0, (0.0008775, 0.0, 0.9991225)),
        (C45_M - C45, 0.0083, (0.0, 0.2364975, 0.7635025)),
        (TEN, 0.0, (0.0091725, 0.0, 0.9908275)),
        (TEN, 0.005, (0.0, 0.8184025, 0.1815975)),
        (TEN, 0.01, (0.0, 0.9997925, 0.0002075)),
    ],
)
def test_the_posterior_is_that_of_baycomp(
    diff: NDArray[np.float64], rope: float, expected: tuple[float, float, float]
) -> None:
    # baycomp 1.0.3, SignedRankTest(x, x + diff, rope, nsamples=400_000, random_state=1).probs()
    found = signed_rank_probabilities(diff, rope=rope)
    assert found == pytest.approx(expected, abs=0.007)  # three standard errors of 50,000 draws
    assert sum(found) == pytest.approx(1)
    assert signed_rank_probabilities(-diff, rope=rope) == found[::-1]
    assert signed_rank_probabilities(diff[::-1], rope=rope) == pytest.approx(found, abs=0.007)


def test_the_seed_of_the_draws_counts_and_the_order_of_the_data_sets_does_not() -> None:
    found = signed_rank_probabilities(TEN, rope=0.005)
    assert signed_rank_probabilities(TEN, rope=0.005, seed=1) != found
    assert signed_rank_probabilities(TEN[::-1], rope=0.005) == found


def test_the_tests_are_scipys_where_nothing_ties() -> None:
    for rope in (0.0061, 0.0093, 0.0137):
        above = stats.wilcoxon(TEN + rope, alternative="greater", method="exact").pvalue
        below = stats.wilcoxon(TEN - rope, alternative="less", method="exact").pvalue
        assert signed_rank_tost(TEN, rope=rope) == pytest.approx(max(above, below), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=5, max_size=14), st.integers(1, 25), st.sampled_from([0.05, 0.1, 0.01]))
def test_p_and_interval_decide_alike(whole: list[int], edge: int, alpha: float) -> None:
    diff, rope = np.array(whole) / 1000, edge / 1000
    p, (_, interval) = signed_rank_tost(diff, rope=rope), hodges_lehmann(diff, level=1 - 2 * alpha)
    assert p == signed_rank_tost(-diff, rope=rope)
    if interval is not None:  # None: too few differences for this level, or nothing varies
        assert (-rope + 1e-9 < interval.low and interval.high < rope - 1e-9) is (p <= alpha)


def test_beyond_the_exact_range_the_normal_distribution_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = signed_rank_tost(TEN, rope=0.008)
    monkeypatch.setattr("search.significance.tests.signed_ranks.MAX_EXACT", 5)
    assert signed_rank_tost(TEN, rope=0.008) == pytest.approx(exact, abs=0.01)


def data_sets(gaps: list[float]) -> list[Results]:
    """One data set per gap between A and B."""
    blocks = dict.fromkeys("AB", ("0",))
    return [
        Results(
            dataset=f"set-{place}",
            configs=("A", "B"),
            blocks=blocks,
            scores={"A": np.array([0.6 + gap]), "B": np.array([0.6])},
        )
        for place, gap in enumerate(gaps)
    ]


def test_data_sets_can_be_equivalent() -> None:
    gaps = [0.001, -0.002, 0.0005, 0.0031, -0.0012, 0.0008, -0.0004]
    (found,) = judge_results(data_sets(gaps), [("A", "B")], Declared())
    assert found.verdict is Verdict.EQUIVALENT
    assert found.tost_p == 2**-7
    assert found.equivalence_interval is not None
    assert "(90 % interval -0.12 to 0.18; TOST p = .008; 7 data sets; new data sets of this kind)" in found.sentence
    assert judge_results(data_sets(gaps), [("A", "B")], Declared(rope=0.001))[0].verdict is Verdict.INCONCLUSIVE


def test_too_few_data_sets_for_the_family_are_refused_in_words() -> None:
    sets = [
        dataclasses.replace(
            found,
            configs=tuple("ABC"),
            blocks=dict.fromkeys("ABC", ("0",)),
            scores={**found.scores, "C": found.scores["A"] + 0.0001 * (place + 1)},
        )
        for place, found in enumerate(data_sets([0.001, -0.002, 0.0005, 0.0031, -0.0012, 0.0008]))
    ]
    family = [("A", "B"), ("A", "C"), ("B", "C")]
    assert {item.verdict for item in judge_results(sets, family, Declared())} == {Verdict.REFUSED}
    refused = judge_results(sets, family, Declared())[0]
    assert "needs at least 7 data sets for a significant result among 3 comparisons, got 6" in refused.sentence
    (alone,) = judge_results(sets, family[:1], Declared())
    assert alone.verdict is Verdict.EQUIVALENT
