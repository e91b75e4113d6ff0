"""Differences between the values of choices, worked by hand and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from search.significance.importance.choices import choice_differences
from search.significance.importance.factor import Factor

NAN = float("nan")


def choice(positions: list[float], *choices: str) -> Factor:
    return Factor(name="cell", positions=np.array(positions), num_values=len(choices), choices=choices)


def test_two_values() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=13)
    factor = choice([0.0] * 6 + [1.0] * 7, "gru", "lstm")
    (found,) = choice_differences([factor], scores)
    assert (found.a, found.b, found.num_a, found.num_b) == ("gru", "lstm", 6, 7)
    interval = stats.ttest_ind(scores[:6], scores[6:], equal_var=False).confidence_interval()
    assert found.estimate == pytest.approx(scores[:6].mean() - scores[6:].mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_each_of_three_values_against_the_others_among_trials_that_have_it() -> None:
    factor = choice([0, 0, 1, 2, NAN, 2], "a", "b", "c")
    found = choice_differences([factor], np.array([1.0, 3.0, 5.0, 7.0, 100.0, NAN]))
    assert [(item.a, item.b, item.num_a, item.num_b) for item in found] == [
        ("a", "the others", 2, 2),
        ("b", "the others", 1, 3),
        ("c", "the others", 1, 3),
    ]
    assert [item.estimate for item in found] == pytest.approx([2 - 6, 5 - 11 / 3, 7 - 3])
    assert all(item.low is None and item.high is None for item in found)  # fewer than five on a side


def test_scores_that_do_not_vary_have_no_interval() -> None:
    factor = choice([0.0] * 6 + [1.0] * 6, "gru", "lstm")
    for scores in (np.full(12, 0.1), np.array([0.1] * 6 + [0.2] * 6)):
        (found,) = choice_differences([factor], scores)
        assert found.estimate == pytest.approx(scores[0] - scores[-1])
        assert (found.low, found.high, found.num_a, found.num_b) == (None, None, 6, 6)
    (one,) = choice_differences([factor], np.array([0.1] * 6 + [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    assert one.low is not None, "one side that varies is enough"


def test_without_a_second_value_there_is_no_difference() -> None:
    number = Factor(name="x", positions=np.linspace(0, 1, 4), num_values=None)
    assert choice_differences([number, choice([1, 1, 1, 1], "a", "b")], np.arange(4.0)) == ()
