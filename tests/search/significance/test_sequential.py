"""Looking early: the e-process and the declared looks keep their promise, and naive peeking does not."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import integrate, stats

from search.significance.sequential.bounds import e_values, group_sequential_bounds, interim_p
from search.significance.tests.resampled import paired_t

quick = settings(max_examples=50, deadline=None)
score_diffs = arrays(np.float64, st.integers(2, 20), elements=st.floats(-0.5, 0.5).map(lambda x: round(x, 4)))
DIFF = np.array([0.0083, -0.0002, 0.0069, -0.0008, 0.0086, -0.0004, 0.0076, 0.0092, -0.0005, 0.0061])
EVIDENCE = (
    *(0.845659882176817, 1.3437380008587527, 1.039708601760159, 1.8471943982096193, 1.5459110299455496),
    *(2.89658762748725, 5.860785392385706, 4.602192658887582, 8.876240567678785),
)
ALPHA, LAST, NUM_SIMS = 0.05, 60, 2000


def test_evidence_of_a_worked_example() -> None:
    found = e_values(DIFF)
    assert found == pytest.approx(EVIDENCE, abs=1e-6)


@pytest.mark.parametrize("g", [0.3, 1.0, 4.0])
def test_evidence_is_the_mixture_over_effects(g: float) -> None:
    """E_n is the ratio of densities of t, mixed over d_z ~ N(0, g), against no effect."""
    for n in (2, 5, 10):
        t = paired_t(DIFF[:n]).t
        width = math.sqrt(g)
        mixed, _ = integrate.quad(
            lambda effect, n=n, t=t, width=width: (
                stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * stats.norm.pdf(effect, 0, width)
            ),
            -8 * width,
            8 * width,
            epsabs=1e-10,
            limit=200,
        )
        assert e_values(DIFF[:n], g=g)[-1] == pytest.approx(mixed / stats.t.pdf(t, n - 1), rel=1e-6)


@quick
@given(score_diffs, st.floats(0.1, 50), st.floats(0.2, 5))
def test_evidence_ignores_sign_and_unit_and_the_future(diff: NDArray[np.float64], unit: float, g: float) -> None:
    assume(np.ptp(diff[:2]) > 1e-3)
    found = e_values(diff, g=g)
    assert found.shape == (diff.size - 1,)
    assert (found > 0).all()
    for other in (-diff, diff * unit):
        assert e_values(other, g=g) == pytest.approx(found, rel=1e-6)
    assert e_values(diff[:-1], g=g) == pytest.approx(found[:-1], rel=1e-12)


def test_zero_variance_is_no_evidence() -> None:
    found = e_values(np.full(6, 0.3 - 0.2))
    assert found == pytest.approx([(1 + n) ** -0.5 for n in range(2, 7)])
    late = np.array([0.1, 0.1, 0.1, 0.1, 0.2])
    assert e_values(late)[-1] > 1 > e_values(late)[-2]
    assert e_values(np.array([0.1])).size == 0
    assert e_values(np.zeros(0)).size == 0


def test_overwhelming_evidence_is_a_number_or_infinite() -> None:
    found = e_values(np.linspace(0.1, 0.1001, 10_000))
    assert found[-1] == np.inf


@pytest.mark.parametrize("g", [0.0, -1.0, math.nan])
def test_a_mixture_without_width_is_refused(g: float) -> None:
    with pytest.raises(ValueError, match="g must be above 0"):
        e_values(DIFF, g=g)


def test_constants_of_group_sequential_designs() -> None:
    # Jennison & Turnbull 2000, table 2.3 prints three decimals; five looks to 1e-5 by Simpson's rule.
    fleming = group_sequential_bounds(5)
    assert fleming.constant == pytest.approx(2.040073174799298, abs=1e-8)
    assert fleming.z == pytest.approx(
        [4.561742297925042, 3.225638912888301, 2.633723143680725, 2.280871148962521, 2.040073174799298], abs=1e-5
    )
    assert fleming.nominal == pytest.approx(
        [5.073088859281556e-06, 0.001256918234064967, 0.00844543206445254, 0.022556072639154268, 0.04134303805324995],
        abs=1e-7,
    )
    printed = {2: 1.977, 3: 2.004, 4: 2.024, 10: 2.087, 20: 2.126}
    for num_looks, constant in printed.items():
        assert group_sequential_bounds(num_looks).constant == pytest.approx(constant, abs=6e-4)
    assert group_sequential_bounds(1).nominal == pytest.approx((0.05,))
    assert group_sequential_bounds(1, alpha=0.2).z == pytest.approx((1.2815516,))


def test_two_looks_by_the_bivariate_normal() -> None:
    found = group_sequential_bounds(2, alpha=0.03).z
    both = stats.multivariate_normal(cov=[[1, math.sqrt(0.5)], [math.sqrt(0.5), 1]])
    first, last = found
    inside = both.cdf(np.array(found), lower_limit=np.array([-first, -last]))
    assert inside == pytest.approx(0.97, abs=1e-5)


@pytest.mark.parametrize(("num_looks", "alpha"), [(0, 0.05), (101, 0.05), (3, 0.0), (3, 1.0)])
def test_looks_out_of_range_are_refused(num_looks: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="num_looks must be 1 to 100 and alpha in"):
        group_sequential_bounds(num_looks, alpha=alpha)


@cache
def null_p_values() -> NDArray[np.float64]:
    """Plain paired p after 2 to 60 blocks without a difference, (NUM_SIMS, 59)."""
    diff, n = null_differences(), np.arange(1, LAST + 1)
    means = np.cumsum(diff, axis=1) / n
    variances = (np.cumsum(diff**2, axis=1) - n * means**2)[:, 1:] / (n - 1)[1:]
    return 2 * stats.t.sf(np.abs(means[:, 1:]) / np.sqrt(variances / n[1:]), n[1:] - 1)


@cache
def null_differences() -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(0, 0.01, (NUM_SIMS, LAST))


def highest_allowed() -> float:
    return ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / NUM_SIMS)


def test_one_may_stop_whenever_one_likes_with_the_e_process_and_not_without() -> None:
    stopped = np.mean([(e_values(diff) >= 1 / ALPHA).any() for diff in null_differences()])
    assert 0.005 < stopped <= highest_allowed()
    naive = np.mean((null_p_values() <= ALPHA).any(axis=1))
    assert naive > 0.25


def test_declared_looks_keep_alpha() -> None:
    looks = np.arange(12, LAST + 1, 12)
    p = null_p_values()[:, looks - 2]
    told = np.mean((p <= np.array(group_sequential_bounds(5).nominal)).any(axis=1))
    assert ALPHA / 2 < told <= highest_allowed()
    assert np.mean((p <= ALPHA).any(axis=1)) > 0.1  # five looks, each at .05


@pytest.mark.parametrize("num_looks", [2, 3, 5, 12])
def test_the_p_of_a_look_is_the_alpha_whose_bound_it_meets(num_looks: int) -> None:
    for alpha in (0.001, 0.05, 0.3):
        bounds = group_sequential_bounds(num_looks, alpha=alpha)
        for look, level in enumerate(bounds.nominal, 1):
            assert interim_p(level, look=look, num_looks=num_looks) == pytest.approx(alpha, abs=1e-7)
        assert bounds.spent[0] == pytest.approx(bounds.nominal[0], abs=1e-9)
        assert list(bounds.spent) == sorted(bounds.spent)
        assert bounds.spent[-1] == pytest.approx(alpha, abs=1e-9)


@quick
@given(st.floats(0, 1), st.integers(1, 4), st.integers(0, 4))
def test_a_look_never_makes_a_p_smaller(p: float, look: int, further: int) -> None:
    found = interim_p(p, look=look, num_looks=look + further)
    assert p <= found <= 1 + 1e-9
    assert interim_p(p / 2, look=look, num_looks=look + further) <= found + 1e-9
    assert interim_p(p, look=1, num_looks=1) == p


def test_the_p_of_a_look_far_out_and_of_nothing() -> None:
    # The two ways of computing meet where they change over.
    edge = 2 * stats.norm.sf(7.0 * math.sqrt(3))
    below, above = (interim_p(edge * (1 + shift), look=1, num_looks=3) for shift in (1e-3, -1e-3))
    assert below == pytest.approx(above, rel=0.1, abs=1e-13)
    assert interim_p(0.0, look=1, num_looks=3) == 0
    assert interim_p(1.0, look=1, num_looks=3) == 1
    assert math.isnan(interim_p(math.nan, look=1, num_looks=3))


@pytest.mark.parametrize(("num_looks", "each"), [(2, 5), (3, 5), (4, 10)])
def test_stopping_at_any_look_keeps_a_familys_alpha(num_looks: int, each: int) -> None:
    """Three equal configurations and their control, stopped at the look at which Holm claims anything."""
    num_sims, rng = 2000, np.random.default_rng(8)
    scores = rng.normal(0, 0.01, (num_sims, 4, num_looks * each))
    diff = scores[:, 1:] - scores[:, :1]
    claimed = np.zeros(num_sims, dtype=bool)
    naive = claimed.copy()
    for look in range(1, num_looks + 1):
        p = stats.ttest_1samp(diff[:, :, : look * each], 0, axis=2).pvalue.min(axis=1)  # Holm's first step
        claimed |= p <= group_sequential_bounds(num_looks, alpha=ALPHA / 3).nominal[look - 1]
        naive |= p <= ALPHA / 3
    assert 0.02 < claimed.mean() <= highest_allowed()
    assert naive.mean() > claimed.mean()
