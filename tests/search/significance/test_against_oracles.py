"""Every formula against numbers that other libraries, or 50-digit arithmetic, arrived at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.significance import crossed, effects, multiplicity, resampled

ORACLES = json.loads(Path(__file__).with_name("oracles.json").read_text())


def oracle(name: str) -> tuple[Any, Any, float]:
    case = ORACLES[name]
    return case["input"], case["expected"], case["abs_tol"]


def test_crossed_test_equals_the_analysis_of_variance() -> None:
    given, expected, tol = oracle("crossed_repeats_x_images")
    diff = np.array(given["D"], dtype=np.int8)
    squares = crossed.mean_squares(diff)
    assert squares.repeats == pytest.approx(expected["MS_repeat"], abs=tol)
    assert squares.images == pytest.approx(expected["MS_image"], abs=tol)
    assert squares.residual == pytest.approx(expected["MS_resid"], abs=tol)
    for variance in ("plain", "conservative"):  # here the two agree: the plain sum is the largest
        test = crossed.crossed_test(diff, variance=variance)
        assert test.estimate == pytest.approx(expected["mean"], abs=tol)
        assert test.se**2 == pytest.approx(expected["var_mean"], abs=tol)
        assert test.df == pytest.approx(expected["df_satterthwaite"], abs=tol)
        assert test.t == pytest.approx(expected["t"], abs=tol)
        assert test.p == pytest.approx(expected["p"], abs=tol)


def test_one_pair_of_ten_splits() -> None:
    given, expected, tol = oracle("split73_n10")
    diff = np.array(given["A"]) - np.array(given["B"])
    plain = resampled.paired_t(diff)
    assert plain.estimate == pytest.approx(expected["mean_diff"], abs=tol)
    assert plain.t == pytest.approx(expected["t_plain"], abs=tol)
    assert plain.p == pytest.approx(expected["p_plain_two_sided"], abs=tol)
    assert [plain.interval.low, plain.interval.high] == pytest.approx(expected["ci95_plain"], abs=tol)
    corrected = resampled.corrected_resampled_t(diff, ratio=given["n_test"] / given["n_train"])
    assert corrected.se == pytest.approx(expected["se_nb"], abs=tol)
    assert corrected.t == pytest.approx(expected["t_nb"], abs=tol)
    assert corrected.p == pytest.approx(expected["p_nb_two_sided"], abs=tol)
    assert [corrected.interval.low, corrected.interval.high] == pytest.approx(expected["ci95_nb"], abs=tol)
    of = (corrected.estimate, corrected.se, corrected.df)
    assert effects.rope_probabilities(*of, rope=given["rope"]) == pytest.approx(
        expected["bayes_nb_left_rope_right"], abs=tol
    )
    assert effects.tost_p(*of, rope=given["rope"]) == pytest.approx(expected["tost_p_nb_margin_005"], abs=tol)
    of = (plain.estimate, plain.se, plain.df)
    assert effects.tost_p(*of, rope=given["rope"]) == pytest.approx(expected["tost_p_plain_margin_005"], abs=tol)
    assert effects.cohen_d_z(diff) == pytest.approx(expected["cohen_dz"], abs=tol)
    assert effects.hedges_g_z(diff) == pytest.approx(expected["hedges_gz"], abs=tol)
    assert effects.probability_of_superiority(diff)[0] == pytest.approx(expected["p_A_gt_B_paired"], abs=tol)


def test_scikit_learns_example_of_nadeau_and_bengio() -> None:
    given, expected, tol = oracle("sklearn_nadeau_bengio")
    ratio = given["n_test"] / given["n_train"]
    for case in expected["pairwise"]:
        diff = np.array(given["scores"][case["a"]]) - np.array(given["scores"][case["b"]])
        test = resampled.corrected_resampled_t(diff, ratio=ratio)
        assert test.t == pytest.approx(case["t"], abs=tol)
        assert test.p / 2 == pytest.approx(case["p_one_sided"], abs=tol)
        assert effects.rope_probabilities(test.estimate, test.se, test.df, rope=given["rope"]) == pytest.approx(
            (case["p_a_worse_than_rope"], case["p_rope"], case["p_a_better_than_rope"]), abs=tol
        )
    diff = np.array(given["scores"]["rbf"]) - np.array(given["scores"]["linear"])
    test = resampled.corrected_resampled_t(diff, ratio=ratio)
    assert test.se == pytest.approx(expected["se_corrected"], abs=tol)
    assert test.df == expected["df"]
    assert [test.interval.low, test.interval.high] == pytest.approx(expected["ci95"], abs=tol)
    assert resampled.paired_t(diff).t == pytest.approx(expected["t_uncorrected"], abs=tol)
    assert resampled.paired_t(diff).p / 2 == pytest.approx(expected["p_uncorrected_one_sided"], abs=tol)


def test_holm() -> None:
    given, expected, tol = oracle("multiplicity")
    assert multiplicity.holm(given["p"]) == pytest.approx(expected["holm"], abs=tol)


def test_smallest_detectable_difference() -> None:
    given, expected, tol = oracle("power_paired_t")
    for num, wanted in expected["mde_dz_plain"].items():
        n = int(num)
        found = effects.smallest_detectable((1 / n) ** 0.5, n - 1, alpha=given["alpha"], power=given["power"])
        assert found == pytest.approx(wanted, abs=tol)
    for num, wanted in expected["mde_dz_nb"].items():
        n = int(num)
        se = (1 / n + given["ratio"]) ** 0.5
        assert effects.smallest_detectable(se, n - 1, alpha=given["alpha"]) == pytest.approx(wanted, abs=tol)


def test_exact_mcnemar() -> None:
    given, expected, tol = oracle("mcnemar")
    total = given["only_a"] + given["only_b"]
    first = np.arange(total) < given["only_a"]
    assert effects.failures_mcnemar(first, ~first) == pytest.approx(expected["p_exact"], abs=tol)
    both = np.ones(3, dtype=bool)
    assert effects.failures_mcnemar(both, both) == 1.0
    assert effects.failures_mcnemar(~both, ~both) is None


def test_wilson_interval() -> None:
    # 81 of 263, 95 %: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17, table I, method 3)
    diff = np.where(np.arange(263) < 81, 1.0, -1.0)
    _, interval = effects.probability_of_superiority(diff)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
