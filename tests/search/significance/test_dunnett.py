"""Dunnett's test against printed tables, scipy, ordinary least squares, the paired t, and equal configurations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from search.significance import ScoresError
from search.significance.adjust.dunnett import chance_of_largest, critical_value, dunnett_blocked, dunnett_independent
from search.significance.tests.resampled import paired_t

# Dunnett 1955, table 1: blood counts of a control and two drugs
CONTROL = np.array([7.40, 8.50, 7.20, 8.24, 9.84, 8.32])
DRUGS = [np.array([9.76, 8.80, 7.68, 9.36]), np.array([12.80, 9.68, 12.16, 9.20, 10.55])]


@pytest.mark.parametrize(
    ("num", "df", "printed"),
    [(1, 10, 2.23), (2, 5, 3.03), (2, 10, 2.57), (3, 20, 2.54), (5, 60, 2.58), (4, 10**7, 2.44), (9, 30, 2.86)],
)
def test_critical_values_are_dunnetts(num: int, df: int, printed: float) -> None:
    # Dunnett 1964, Biometrics 20, table II, two-sided .05
    assert critical_value(num, df, alpha=0.05) == pytest.approx(printed, abs=0.006)


def test_the_integral_agrees_with_scipys() -> None:
    for num, df, t in ((2, 7, 1.5), (4, 12, 2.5), (6, 40, 3.0)):
        correlation = np.full((num, num), 0.5) + np.eye(num) / 2
        peer = stats.multivariate_t(shape=correlation, df=df, seed=0).cdf(
            np.full(num, t), lower_limit=np.full(num, -t), maxpts=50_000
        )
        assert chance_of_largest(t, num, df) == pytest.approx(1 - peer, abs=1e-4)
    for df, t in itertools.product((1, 4, 50), (0.0, 1.0, 5.0, 12.0)):
        assert chance_of_largest(t, 1, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-9)


def test_dunnetts_blood_counts() -> None:
    # scipy prints p = .6201 and .0059 for this example
    test = dunnett_independent(DRUGS, CONTROL)
    assert test.adjusted_p == pytest.approx((0.6201, 0.0059), abs=2e-4)
    assert test.estimates == pytest.approx((0.65, 2.628), abs=1e-9)
    assert (test.df, test.se[0]) == (12, pytest.approx(1.175 * math.sqrt(1 / 4 + 1 / 6), rel=2e-3))
    assert test.t == pytest.approx([d / se for d, se in zip(test.estimates, test.se, strict=True)])
    assert test.intervals[1].low > 0 > test.intervals[0].low
    assert dunnett_independent(DRUGS, CONTROL) == test
    other = dunnett_independent(DRUGS, CONTROL, seed=1)
    assert other.adjusted_p != test.adjusted_p
    assert other.adjusted_p == pytest.approx(test.adjusted_p, abs=1e-3)


def test_equal_groups_by_both_ways_of_integrating() -> None:
    groups = np.random.default_rng(0).normal([[0], [0.5], [1]], 1, (3, 8))
    test = dunnett_independent(list(groups[1:]), groups[0])
    for t, p in zip(test.t, test.adjusted_p, strict=True):
        assert p == pytest.approx(chance_of_largest(abs(t), 2, test.df), abs=1e-3)
    width = critical_value(2, test.df, alpha=0.05) * test.se[0]
    assert test.intervals[0].high - test.estimates[0] == pytest.approx(width, rel=1e-2)


def test_blocks_are_taken_out_as_least_squares_does() -> None:
    import pandas as pd
    import statsmodels.formula.api as smf

    rng = np.random.default_rng(1)
    scores = rng.normal(size=(6, 4)) + 10 * rng.normal(size=(6, 1)) + [0, 1, 0, 2]
    long = pd.DataFrame(
        {"score": scores.ravel(), "block": np.repeat(np.arange(6), 4), "config": np.tile(np.arange(4), 6)}
    )
    fit = smf.ols("score ~ C(config, Treatment(2)) + C(block)", long).fit()
    test = dunnett_blocked(scores, control=2)
    rows = [f"C(config, Treatment(2))[T.{place}]" for place in (0, 1, 3)]
    assert test.estimates == pytest.approx(fit.params[rows].to_numpy())
    assert test.se == pytest.approx(fit.bse[rows].to_numpy())
    assert test.t == pytest.approx(fit.tvalues[rows].to_numpy())
    assert test.df == fit.df_resid == 15
    for t, p in zip(test.t, test.adjusted_p, strict=True):
        assert p == chance_of_largest(abs(t), 3, 15)
    half = critical_value(3, 15, alpha=0.05) * test.se[0]
    assert [(i.low, i.high) for i in test.intervals] == [pytest.approx((d - half, d + half)) for d in test.estimates]


def test_one_configuration_is_the_paired_t() -> None:
    scores = np.random.default_rng(2).normal(size=(7, 2))
    test, paired = dunnett_blocked(scores, control=1), paired_t(scores[:, 0] - scores[:, 1])
    found = (test.estimates[0], test.se[0], test.df, test.t[0], test.adjusted_p[0], test.intervals[0].low)
    wanted = (paired.estimate, paired.se, paired.df, paired.t, paired.p, paired.interval.low)
    assert found == pytest.approx(wanted, rel=1e-8)


def test_order_unit_and_block_levels_mean_nothing() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(8, 5)) + np.array([0, 0, 1, 2, -1])
    first = dunnett_blocked(scores, control=0)
    level = rng.normal(size=(8, 1))
    for other in (rng.permutation(scores), scores + level, 40 * scores, -scores):
        assert dunnett_blocked(other, control=0).adjusted_p == pytest.approx(first.adjusted_p, rel=1e-9)
    turned = dunnett_blocked(scores[:, ::-1], control=4)
    assert turned.adjusted_p == pytest.approx(first.adjusted_p[::-1], rel=1e-9)
    raw = [2 * stats.t.sf(abs(t), first.df) for t in first.t]
    assert all(p <= q <= min(1, 4 * p) for p, q in zip(raw, first.adjusted_p, strict=True))
    for q, interval in zip(first.adjusted_p, first.intervals, strict=True):
        assert (q <= 0.05) == (interval.low * interval.high > 0)


def test_where_nothing_varies_there_is_no_p() -> None:
    additive = np.array([[0.1], [0.3], [0.4]]) + np.array([0.0, 0.1, 0.3])
    for test in (dunnett_blocked(additive, control=0), dunnett_independent([np.full(3, 0.2)] * 2, np.full(4, 0.1))):
        assert all(math.isnan(p) for p in (*test.adjusted_p, *test.t, test.intervals[1].low))
        assert test.se == (0, 0)
        assert test.estimates[1] == pytest.approx(0.3 if test.df == 4 else 0.1)


@pytest.mark.parametrize(
    ("scores", "control", "words"),
    [
        (np.zeros((1, 3)), 0, r"at least 2 by 2, got \(1, 3\)"),
        (np.full((3, 3), np.nan), 0, "must be finite"),
        (np.zeros((3, 3)), 3, "control must be a column, 0 to 2, got 3"),
    ],
)
def test_what_has_no_control_is_refused(scores: NDArray[np.float64], control: int, words: str) -> None:
    with pytest.raises(ScoresError, match=words):
        dunnett_blocked(scores, control=control)
    with pytest.raises(ScoresError, match="at least 2 finite scores"):
        dunnett_independent([np.array([0.5])], CONTROL)
    with pytest.raises(ScoresError, match="at least 2 finite scores"):
        dunnett_independent([], CONTROL)


@pytest.mark.parametrize("shift", [(0, 0, 0, 0, 0), (0, 0, 0, 3, 3)])
def test_equal_configurations_are_rarely_told_apart(shift: tuple[int, ...]) -> None:
    rng, num_sims = np.random.default_rng(61), 400
    scores = rng.normal(size=(num_sims, 6, 5)) + 3 * rng.normal(size=(num_sims, 6, 1)) + shift
    null = np.array(shift[1:]) == 0
    claimed = np.array([dunnett_blocked(table, control=0).adjusted_p for table in scores]) <= 0.05
    false = claimed[:, null].any(axis=1).mean()
    assert 0.01 < false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)


@pytest.mark.slow
def test_equal_independent_groups_are_rarely_told_apart() -> None:
    rng, num_sims = np.random.default_rng(62), 150
    sizes = (5, 8, 8, 6)
    told = 0
    for _ in range(num_sims):
        groups = [rng.normal(size=size) for size in sizes]
        told += min(dunnett_independent(groups[1:], groups[0]).adjusted_p) <= 0.05
    assert 0.01 < told / num_sims <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
