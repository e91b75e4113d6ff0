"""McNemar's test against statsmodels, printed examples, enumeration and equal checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from search.significance import ScoresError, effects
from search.significance.tests.mcnemar import Variant, discordant_test, mcnemar_test
from search.significance.tests.resampled import paired_t

CASE = json.loads(Path(__file__).with_name("oracles.json").read_text())["mcnemar"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
counts = st.integers(0, 40)


def vectors(both: int, only_a: int, only_b: int, neither: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    cells = (both, only_a, only_b, neither)
    return np.repeat(np.uint8([1, 1, 0, 0]), cells), np.repeat(np.uint8([1, 0, 1, 0]), cells)


@pytest.mark.parametrize(
    ("variant", "p"),
    [("exact", "p_exact"), ("mid-p", "p_mid")],
)
def test_forty_of_ten_thousand(variant: Variant, p: str) -> None:
    expected, tol = CASE["expected"], CASE["abs_tol"]
    (both, only_a), (only_b, neither) = CASE["input"]["table"]
    test = mcnemar_test(*vectors(both, only_a, only_b, neither), variant=variant)
    assert test.p == pytest.approx(expected[p], abs=tol)
    assert test.statistic == 15
    assert test.estimate == pytest.approx(expected["diff"], abs=tol)
    assert test.t == pytest.approx(expected["per_image_t"], abs=tol)
    assert (test.df, test.num_blocks, test.num_images) == (9999, 1, 10_000)
    assert variant in test.name


def test_fagerlands_example() -> None:
    # Fagerland, Lydersen & Laake 2013, table 1: .070 exact, .039 mid-p
    printed = {"exact": 0.070, "mid-p": 0.039}
    for variant in VARIANTS:
        assert discordant_test(1, 7, variant=variant)[1] == pytest.approx(printed[variant], abs=5e-4)


@settings(max_examples=100, deadline=None)
@given(counts, counts)
def test_it_agrees_with_statsmodels(only_a: int, only_b: int) -> None:
    table = [[3, only_a], [only_b, 2]]
    if only_a + only_b:
        assert discordant_test(only_a, only_b)[1] == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(1, 40), counts, counts, st.sampled_from(VARIANTS))
def test_only_discordant_images_count_and_names_mirror(
    both: int, only_a: int, only_b: int, neither: int, variant: Variant
) -> None:
    first, second = vectors(both + 1, only_a, only_b, neither)
    test, mirrored = mcnemar_test(first, second, variant=variant), mcnemar_test(second, first, variant=variant)
    assert (mirrored.estimate, mirrored.p, mirrored.se) == (-test.estimate, test.p, test.se)
    order = np.random.default_rng(0).permutation(first.size)
    assert mcnemar_test(first[order] == 1, second[order], variant=variant) == test
    more = mcnemar_test(np.append(first, [1, 0]), np.append(second, [1, 0]), variant=variant)
    assert (more.p, more.statistic) == (test.p, test.statistic)
    per_image = paired_t(first.astype(float) - second)
    assert (test.se, test.t) == pytest.approx((per_image.se, per_image.t), rel=1e-9)
    assert test.interval.low == pytest.approx(per_image.interval.low, abs=1e-12)


def test_mid_p_counts_half_of_what_was_seen() -> None:
    # 2 of 6: P(0) + P(1) + P(2) / 2 on each side, in 64ths
    assert discordant_test(2, 4, variant="mid-p")[1] == pytest.approx(2 * (1 + 6 + 15 / 2) / 64)
    assert discordant_test(2, 4, variant="exact")[1] == pytest.approx(2 * (1 + 6 + 15) / 64)


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_counts_are_no_evidence(variant: Variant) -> None:
    assert discordant_test(4, 4, variant=variant)[1] == 1
    assert discordant_test(0, 0, variant=variant)[1] == 1
    assert mcnemar_test(*vectors(5, 3, 3, 5), variant=variant).p == 1
    for cells in ((5, 0, 0, 5), (0, 7, 0, 0)):  # no difference anywhere, or the same one everywhere
        test = mcnemar_test(*vectors(*cells), variant=variant)
        assert math.isnan(test.p)
        assert test.se == 0


def test_what_is_no_correctness_is_refused() -> None:
    ones = np.ones(4, dtype=np.uint8)
    with pytest.raises(ScoresError, match=r"got \(4,\) and \(3,\)"):
        mcnemar_test(ones, ones[:3])
    with pytest.raises(ScoresError, match="0 or 1"):
        mcnemar_test(ones, 0.5 * ones)
    with pytest.raises(ScoresError, match=r"unknown McNemar variant 'wald'; known: mid-p, exact"):
        mcnemar_test(ones, 1 - ones, variant="wald")  # type: ignore[arg-type]


def test_divergences_are_compared_by_the_same_test() -> None:
    failed_a, failed_b = vectors(1, 6, 0, 3)
    assert effects.failures_mcnemar(failed_a == 1, failed_b == 1) == discordant_test(6, 0)[1] == 2 / 2**6


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_checkpoints_are_rarely_told_apart(variant: Variant) -> None:
    """2000 images, of which two checkpoints of equal accuracy disagree on 3 %."""
    rng, num_sims = np.random.default_rng(4), 1000
    cells = rng.multinomial(2000, [0.6, 0.015, 0.015, 0.37], size=num_sims)
    known = {(a, b): discordant_test(int(a), int(b), variant=variant)[1] for _, a, b, _ in np.unique(cells, axis=0)}
    told = np.mean([known[a, b] <= 0.05 for _, a, b, _ in cells])
    assert told <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
    assert told > 0.015


@pytest.mark.parametrize("variant", ["exact", "mid-p"])
@pytest.mark.parametrize("half", [1, 4, 9, 13, 5_000, 4_999_999])
def test_nearly_equal_counts_have_a_p_of_one_at_most(half: int, variant: Variant) -> None:
    _, p = discordant_test(half, half + 1, variant=variant)
    assert p == pytest.approx(1 - (0 if variant == "exact" else stats.binom.pmf(half, 2 * half + 1, 0.5)), abs=1e-9)
    assert p <= 1
