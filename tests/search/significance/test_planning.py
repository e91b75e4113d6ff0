"""Planned power against other libraries, brute force and simulated experiments."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from search.significance.planning.design import (
    Crossed,
    Paired,
    blocks_needed,
    detectable,
    images_needed,
    upper_components,
    upper_variance,
)
from search.significance.records import Components
from search.significance.tests.crossed import components, crossed_test, mean_squares
from search.significance.tests.mixture import Mixture
from search.significance.tests.resampled import corrected_resampled_t, paired_t

quick = settings(max_examples=15, deadline=None)
PLAIN = {
    3: 3.264043552819638,
    5: 1.6819970833232674,
    8: 1.156035271959959,
    10: 0.9960019107624178,
    15: 0.7780225446134179,
    20: 0.6604416544380312,
    30: 0.5292357045238948,
    50: 0.4041829997377859,
}
"""Smallest detectable difference in standard deviations: statsmodels 0.15 TTestPower, two-sided .05, power .8."""
CORRECTED = {
    3: 4.934770000747407,
    5: 2.981862477962997,
    8: 2.4327808893895186,
    10: 2.289877044472897,
    15: 2.12053436599456,
    20: 2.04325625984605,
    30: 1.9700892880957237,
    50: 1.9141627105367456,
    1000: 1.8379718322844432,
    math.inf: 1.8340680468388637,
}
"""The same with the corrected t at 3/7."""
NEEDED = {
    0.3: 89.14936472045834,
    0.5: 33.36713118431779,
    0.8: 14.30276455812943,
    1.0: 9.93785094105438,
    1.5: 5.686142097745736,
    2.0: 4.22071858501904,
}
variances = st.floats(1e-6, 0.5)
designs = st.one_of(
    st.builds(Paired, sd=st.floats(1e-4, 0.1), ratio=st.sampled_from([0.0, 0.1, 3 / 7])),
    st.builds(
        Crossed,
        components=st.builds(Components, repeats=variances, images=variances, residual=variances),
        num_images=st.integers(100, 20_000),
    ),
)


def some(**changes: float) -> Crossed:
    parts = {"repeats": 2e-5, "images": 0.02, "residual": 0.1, **changes}
    return Crossed(components=Components(**parts), num_images=2000)


@pytest.mark.parametrize(("ratio", "table"), [(0.0, PLAIN), (3 / 7, CORRECTED)])
def test_smallest_detectable_difference_is_that_of_the_libraries(ratio: float, table: dict[float, float]) -> None:
    for num_blocks, expected in table.items():
        assert detectable(Paired(sd=1, ratio=ratio), num_blocks) == pytest.approx(expected, abs=1e-5)
        assert detectable(Paired(sd=0.02, ratio=ratio), num_blocks) == pytest.approx(0.02 * expected, abs=1e-6)


def test_needed_repeats_are_those_of_the_libraries() -> None:
    for difference, exact in NEEDED.items():
        needed = blocks_needed(Paired(sd=1), difference)
        assert (needed.number, needed.floor) == (math.ceil(exact), 0.0)


def chance_of_finding(design: Crossed | Paired, difference: float, num_blocks: float, *, alpha: float = 0.05) -> float:
    law = design.law(num_blocks)
    assert law is not None
    return law.power(difference, alpha=alpha) + law.power(-difference, alpha=alpha)


def test_power_is_that_of_statsmodels() -> None:
    from statsmodels.stats.power import TTestPower

    for num_blocks, shift, alpha in [(3, 1.0, 0.05), (10, 0.1, 0.01), (25, -0.7, 0.05 / 8)]:
        expected = TTestPower().power(shift, num_blocks, alpha, alternative="two-sided")
        assert chance_of_finding(Paired(sd=2), 2 * shift, num_blocks, alpha=alpha) == pytest.approx(expected, abs=1e-9)


def test_below_the_floor_no_number_of_repeats_does() -> None:
    overlapping = Paired(sd=0.01, ratio=3 / 7)
    assert blocks_needed(overlapping, 0.0183).number is None
    assert blocks_needed(overlapping, 0.0183).floor == pytest.approx(0.018340680, abs=1e-8)
    enough = blocks_needed(overlapping, 0.0184).number
    assert enough is not None
    assert enough > 100
    crossed = some()
    floor = blocks_needed(crossed, 0.001).floor
    assert floor == pytest.approx(2.8 * math.sqrt(0.02 / 2000), rel=2e-3)
    assert blocks_needed(crossed, floor).number is None
    assert blocks_needed(crossed, 1.01 * floor).number is not None
    assert blocks_needed(some(images=0.0), 1e-4).number is not None


def test_a_hand_worked_crossed_design() -> None:
    design = Crossed(components=Components(repeats=0.0004, images=0.09, residual=0.16), num_images=100)
    assert design.se(4) ** 2 == pytest.approx(0.09 / 100 + 0.0004 / 4 + 0.16 / 400)  # 14e-4
    # expected mean squares: repeats 100 x .0004 + .16 = .20, images 4 x .09 + .16 = .52, residual .16
    law = design.law(4)
    assert isinstance(law, Mixture)
    assert (law.runs, law.rest) == pytest.approx((0.20 / 400, (0.52 - 0.16) / 400))
    assert (law.df_runs, law.df_rest) == (3, 99)
    assert design.se(math.inf) ** 2 == pytest.approx(9e-4)
    ever = design.law(math.inf)
    assert ever is not None
    assert ever.half_width(0.95) == pytest.approx(stats.t.isf(0.025, 99) * 0.03, rel=1e-9)


def test_it_expects_the_standard_error_that_the_crossed_test_then_finds() -> None:
    rng = np.random.default_rng(5)
    latent = rng.normal(0.2, 0.8, 600) + rng.normal(0, 0.4, (12, 1)) + rng.normal(0, 0.6, (12, 600))
    diff = np.clip(np.round(latent), -1, 1).astype(np.int8)
    squares, test = mean_squares(diff), crossed_test(diff)
    pilot = Components(
        repeats=(squares.repeats - squares.residual) / 600,
        images=(squares.images - squares.residual) / 12,
        residual=squares.residual,
    )
    design = Crossed(components=pilot, num_images=600)
    assert isinstance(test.law, Mixture)
    assert dataclasses.astuple(design.law(12)) == pytest.approx(dataclasses.astuple(test.law), rel=1e-9)
    assert design.se(12) == pytest.approx(test.se, rel=1e-9)


@quick
@given(designs, st.integers(2, 12), st.sampled_from([0.05, 0.005]), st.sampled_from([0.5, 0.8, 0.95]))
def test_needed_and_detectable_are_each_others_inverse(design: Paired, num: int, alpha: float, power: float) -> None:
    difference = detectable(design, num, alpha=alpha, power=power)
    assert detectable(design, num + 1, alpha=alpha, power=power) <= difference
    needed = blocks_needed(design, difference * (1 + 1e-9), alpha=alpha, power=power)
    assert needed.number is not None
    assert needed.number <= num
    assert needed.floor < difference
    found = [count for count in range(2, num + 1) if detectable(design, count, alpha=alpha, power=power) <= difference]
    assert min(found, default=num) >= needed.number
    assert chance_of_finding(design, difference, num, alpha=alpha) == pytest.approx(power, abs=1e-3)


@quick
@given(st.floats(1e-4, 0.1), st.floats(1e-3, 1e3), st.integers(2, 30), st.integers(1, 45))
def test_the_unit_means_nothing_and_a_larger_family_asks_for_more(sd: float, unit: float, num: int, size: int) -> None:
    alone = detectable(Paired(sd=sd), num)
    assert detectable(Paired(sd=sd * unit), num) == pytest.approx(unit * alone)
    assert detectable(Paired(sd=sd), num, alpha=0.05 / size) >= alone
    assert detectable(Paired(sd=sd, ratio=0.1), num) > alone


@pytest.mark.parametrize("num_blocks", [5, 20, math.inf])
def test_more_images_buy_what_repeats_cannot(num_blocks: float) -> None:
    design = some()
    needed = images_needed(design, 0.006, num_blocks)
    if num_blocks == 5:  # five repeats alone leave more than that open, on all the images in the world
        assert needed.number is None
        assert needed.floor == pytest.approx(detectable(Paired(sd=math.sqrt(2e-5)), 5))
        return
    assert needed.number is not None
    for number, enough in ((needed.number, True), (needed.number - 1, False)):
        larger = dataclasses.replace(design, num_images=number)
        assert (detectable(larger, num_blocks) <= 0.006) is enough
    assert needed.floor < 0.006
    if num_blocks == math.inf:
        assert needed.floor == 0
        assert needed.number == pytest.approx(0.02 * (2.8016 / 0.006) ** 2, rel=2e-3)
    assert images_needed(some(repeats=0.0), 1e-4, num_blocks).floor == 0


def test_nearly_at_the_floor_it_says_no_number_instead_of_a_monstrous_one() -> None:
    design = Paired(sd=1, ratio=3 / 7)
    assert blocks_needed(design, detectable(design, math.inf) * (1 + 1e-12)).number is None


def test_a_pilots_upper_limit_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = rng.normal(0, 2, (4000, 5)).var(axis=1, ddof=1)
    held = np.mean([upper_variance(value, 4) >= 4 for value in found])
    assert held == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 4000))
    parts = Components(repeats=2e-5, images=0.02, residual=0.1)
    upper = upper_components(parts, num_blocks=5, num_images=2000)
    assert upper.repeats == pytest.approx((upper_variance(0.14, 4) - 0.1) / 2000)
    assert parts.images < upper.images < 1.1 * parts.images
    assert upper.residual == parts.residual


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Paired(sd=0.0), "sd must be above 0"),
        (lambda: Paired(sd=0.1, ratio=-1), "ratio at least 0"),
        (lambda: some(repeats=-0.1), "variances must be at least 0"),
        (lambda: some(repeats=0.0, images=0.0, residual=0.0), "one of them above"),
        (lambda: dataclasses.replace(some(), num_images=1), "num_images at least 2"),
    ],
)
def test_what_no_variance_can_be(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_planned_power_is_the_power_of_the_paired_tests() -> None:
    rng, num_sims = np.random.default_rng(8), 1000
    needed = blocks_needed(Paired(sd=1), 1.0).number
    assert needed is not None
    plain = np.mean([paired_t(rng.normal(1, 1, needed)).p < 0.05 for _ in range(num_sims)])
    assert plain == pytest.approx(0.8, abs=0.04)
    # The corrected t's own world: splits correlate by ratio / (1 + ratio); sd is what is seen within one experiment.
    ratio, num = 3 / 7, 12
    shift = detectable(Paired(sd=1, ratio=ratio), num)
    found = [
        corrected_resampled_t(shift + math.sqrt(ratio) * rng.normal() + rng.normal(0, 1, num), ratio=ratio).p < 0.05
        for _ in range(num_sims)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    "parts",
    [
        Components(repeats=4e-4, images=0.02, residual=0.1),
        Components(repeats=1e-5, images=0.1, residual=0.1),
        Components(repeats=2e-3, images=0.0, residual=0.02),
    ],
    ids=["both", "images", "repeats"],
)
def test_planned_power_is_the_power_of_the_crossed_test(parts: Components) -> None:
    rng, num_sims, images = np.random.default_rng(8), 1000, 120
    design = Crossed(components=parts, num_images=images)
    difference = 1.25 * detectable(design, 12)
    needed = blocks_needed(design, difference).number
    assert needed is not None
    found = 0
    for _ in range(num_sims):
        diff = (
            difference
            + rng.normal(0, math.sqrt(parts.repeats), (needed, 1))
            + rng.normal(0, math.sqrt(parts.images), images)
            + rng.normal(0, math.sqrt(parts.residual), (needed, images))
        )
        found += crossed_test(diff).p < 0.05
    expected = chance_of_finding(design, difference, needed)
    assert 0.8 <= expected < 0.9
    assert found / num_sims == pytest.approx(expected, abs=0.045)


def learners(rng: np.random.Generator, *, repeats: int, images: int, shift: float) -> NDArray[np.int8]:
    """Correctness of two configurations, first minus second, on fresh images: tastes, seeds and luck."""
    hardness = rng.normal(1, 1.5, images)
    first, second = (
        hardness
        + rng.normal(0, 0.5, images)
        + rng.normal(0, 0.1, (repeats, 1))
        + rng.normal(0, 0.7, (repeats, images))
        + lead
        > 0
        for lead in (shift, 0.0)
    )
    return first.astype(np.int8) - second.astype(np.int8)


@pytest.mark.slow
def test_planned_power_is_the_power_on_correctness_bits() -> None:
    rng, num_sims, images = np.random.default_rng(12), 800, 500
    population = learners(rng, repeats=200, images=50_000, shift=0.35)
    design = Crossed(components=components(population), num_images=images)
    difference = float(population.mean())
    needed = blocks_needed(design, difference).number
    assert needed is not None
    assert 4 <= needed <= 15
    found = [crossed_test(learners(rng, repeats=needed, images=images, shift=0.35)).p < 0.05 for _ in range(num_sims)]
    expected = chance_of_finding(design, difference, needed)
    assert np.mean(found) == pytest.approx(expected, abs=0.045)
