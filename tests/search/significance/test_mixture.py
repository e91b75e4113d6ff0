"""The law of the crossed test: against published numbers, Student's t, brute force, and itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from search.significance.effects import rope_probabilities, smallest_detectable, tost_p
from search.significance.tests.crossed import MeanSquares, crossed_test, law_of, variances
from search.significance.tests.mixture import Mixture, grid, half_widths, tails
from search.significance.tests.student import Student

CHECKS = [
    # R, M, MS_R, MS_I, MS_E, mean -> p, half of the 95 % and of the 90 % interval
    (5, 30, 0.29333333, 2.20137931, 0.22091954, 0.32, 0.020219, 0.264660, 0.219132),
    (3, 500, 0.5, 0.9, 0.3, 0.05, 0.16096116, 0.08586236, 0.06276115),
    (10, 1_000, 0.8, 1.1, 0.35, 0.02, 0.12927621, 0.02627890, 0.02177785),
    (3, 10_000, 2.0, 0.5, 0.4, 0.03, 0.06733353, 0.03525975, 0.02401192),
    (20, 200, 0.3, 0.6, 0.3, 0.04, 0.00212250, 0.02483614, 0.02074127),
]
"""Computed by another program, with another rule of integration."""


@pytest.mark.parametrize(("repeats", "images", "ms_r", "ms_i", "ms_e", "mean", "p", "half_95", "half_90"), CHECKS)
def test_it_is_the_generalized_p_to_the_printed_digits(
    repeats: int,
    images: int,
    ms_r: float,
    ms_i: float,
    ms_e: float,
    mean: float,
    p: float,
    half_95: float,
    half_90: float,
) -> None:
    squares = MeanSquares(mean=mean, repeats=ms_r, images=ms_i, residual=ms_e, num_repeats=repeats, num_images=images)
    law = law_of(variances(squares), num_repeats=repeats, num_images=images)
    assert law is not None
    digits = 6 if repeats == 5 else 8
    found = (2 * law.tail(mean), law.half_width(0.95), law.half_width(0.90))
    assert tuple(round(value, digits) for value in found) == (p, half_95, half_90)


@pytest.mark.parametrize("repeats", [2, 3, 4, 5, 10, 30, 1000])
def test_with_runs_alone_it_is_students_t(repeats: int) -> None:
    mixture, student = Mixture(runs=4e-4, rest=0.0, df_runs=repeats - 1), Student(se=0.02, df=repeats - 1)
    for distance in (-0.1, 0.0, 0.005, 0.02, 0.1, 1.0, 10.0):
        assert mixture.tail(distance) == pytest.approx(student.tail(distance), rel=1e-8, abs=1e-14)
    for level in (0.2, 0.9, 0.95, 1 - 0.05 / 45):
        assert mixture.half_width(level) == pytest.approx(student.half_width(level), rel=1e-8)
    for alpha in (0.1, 0.05, 0.05 / 45):
        for difference in (-0.05, 0.0, 0.05, 0.3):
            expected = student.power(difference, alpha=alpha)
            assert mixture.power(difference, alpha=alpha) == pytest.approx(expected, abs=2e-5)


def test_with_the_rest_alone_it_is_normal_or_t_of_the_images() -> None:
    known = Mixture(runs=0.0, rest=1.0, df_runs=2)
    assert known.tail(1.959964) == pytest.approx(0.025, abs=1e-8)
    few = Mixture(runs=0.0, rest=1.0, df_runs=2, df_rest=29)
    assert few.tail(2.0) == pytest.approx(stats.t.sf(2, 29), rel=1e-9)
    assert few.power(3.0, alpha=0.05) == pytest.approx(Student(se=1, df=29).power(3.0, alpha=0.05), abs=2e-5)
    assert Mixture(runs=0.0, rest=1.0, df_runs=math.inf).half_width(0.95) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(("df_runs", "df_rest"), [(2, math.inf), (4, 29), (9, math.inf)])
def test_power_is_that_of_simulated_experiments(df_runs: int, df_rest: float) -> None:
    law, alpha, rng, num = (
        Mixture(runs=0.6, rest=0.4, df_runs=df_runs, df_rest=df_rest),
        0.05,
        np.random.default_rng(1),
        4000,
    )
    gap = smallest_detectable(law, alpha=alpha)
    runs = law.runs * rng.chisquare(df_runs, num) / df_runs
    rest = law.rest * (rng.chisquare(df_rest, num) / df_rest if df_rest < math.inf else np.ones(num))
    seen = gap + rng.standard_normal(num)
    found = (2 * tails(seen, runs, rest, grid(df_runs, df_rest)) <= alpha).mean()
    assert found == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / num))


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    distance, runs, rest = rng.normal(0, 2, 50), rng.exponential(1, 50), rng.exponential(1, 50)
    nodes = grid(2)
    laws = [Mixture(runs=a, rest=b, df_runs=2) for a, b in zip(runs, rest, strict=True)]
    together = tails(distance, runs, rest, nodes), half_widths(0.05 / 28, runs, rest, nodes)
    alone = [
        (law.tail(value), law.half_width(1 - 0.05 / 28)) for law, value in zip(laws, distance.tolist(), strict=True)
    ]
    assert np.transpose(together) == pytest.approx(np.array(alone), rel=1e-10)
    # an interval ends where the test stops rejecting
    assert 2 * tails(together[1], runs, rest, nodes) == pytest.approx(np.full(50, 0.05 / 28), rel=1e-9)


def test_equivalence_and_the_posterior_come_from_the_same_law() -> None:
    law = Mixture(runs=1e-5, rest=2e-5, df_runs=2)
    left, inside, right = rope_probabilities(0.004, law, rope=0.01)
    assert left + inside + right == pytest.approx(1)
    assert (left, right) == pytest.approx((law.tail(0.014), law.tail(0.006)))
    assert tost_p(0.004, law, rope=0.01) == max(left, right)
    # the 90 % interval lies inside the rope exactly where the TOST rejects at .05
    edge = 0.004 + law.half_width(0.90)
    assert tost_p(0.004, law, rope=edge) == pytest.approx(0.05, rel=1e-8)


@pytest.mark.parametrize("repeats", range(2, 40))
def test_no_difference_at_all_has_p_of_1_and_not_more(repeats: int) -> None:
    """Probabilities that are summed in floats can come out as 1.0000000000000002, which no adjustment accepts."""
    diff = np.zeros((repeats, 300), np.int8)
    diff[:, :10], diff[:, 10:20] = 1, -1
    diff[0, 20], diff[1, 20] = 1, -1
    test = crossed_test(diff)
    assert test.estimate == 0
    assert test.p == pytest.approx(1)
    assert test.p <= 1
    assert test.law is not None
    assert tost_p(0.9, test.law, rope=0.005) <= 1  # far outside the rope all of the probability is on one side
