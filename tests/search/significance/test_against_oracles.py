"""Fifteen cases, every number of each: what other libraries, printed tables or 50-digit arithmetic arrived at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from search.significance import effects, selection
from search.significance.adjust import multiplicity
from search.significance.planning import design as planning
from search.significance.records import Interval
from search.significance.sequential import bounds as sequential
from search.significance.tests import bootstrap, crossed, resampled, signflip, wilcoxon
from search.significance.tests.cross_validation import five_by_two_f, five_by_two_t
from search.significance.tests.friedman import friedman, nemenyi_difference
from search.significance.tests.mcnemar import mcnemar_test
from search.significance.tests.pooled import num_stars, pooled_images_t

ORACLES = json.loads(Path(__file__).with_name("oracles.json").read_text())


def ends(interval: Interval | None) -> list[float]:
    assert interval is not None
    return [interval.low, interval.high]


def demsar_friedman(given: Any) -> dict[str, Any]:
    test = friedman(-np.array(given["ranks"]), tie_correction=False)
    k, num = test.num_configs, test.num_datasets
    error = math.sqrt(k * (k + 1) / (6 * num))
    differences = {alpha: nemenyi_difference(k, num, alpha=alpha) for alpha in (0.05, 0.10)}
    return {
        "avg_ranks": list(test.average_ranks),
        "chi2_F": test.chi2,
        "p_chi2": test.p_chi2,
        "F_F": test.f,
        "df": list(test.df),
        "p_F": test.p_f,
        "q05": differences[0.05] / error,
        "q10": differences[0.10] / error,
        "CD05": differences[0.05],
        "CD10": differences[0.10],
    }


def shaffer_bergmann(given: Any) -> dict[str, Any]:
    pairs = [(str(a), str(b)) for a, b in given["pairs"]]
    return {
        name.replace("-", "_"): list(multiplicity.adjust(given["p"], name, pairs=pairs))
        for name in ("shaffer", "bergmann-hommel")
    }


def nadeau_bengio(given: Any) -> dict[str, Any]:
    ratio, rope = given["n_test"] / given["n_train"], given["rope"]
    scores = {name: np.array(values) for name, values in given["scores"].items()}
    num_pairs = len(scores) * (len(scores) - 1) // 2
    pairwise = []
    for place, a in enumerate(given["order"]):
        for b in given["order"][place + 1 :]:
            test = resampled.corrected_resampled_t(scores[a] - scores[b], ratio=ratio)
            left, middle, right = effects.rope_probabilities(test.estimate, test.law, rope=rope)
            pairwise.append(
                {
                    "a": a,
                    "b": b,
                    "t": test.t,
                    "p_one_sided": test.p / 2,
                    "p_bonferroni": min(1.0, num_pairs * test.p / 2),
                    "p_a_worse_than_rope": left,
                    "p_rope": middle,
                    "p_a_better_than_rope": right,
                }
            )
    diff = scores["rbf"] - scores["linear"]
    test, plain = resampled.corrected_resampled_t(diff, ratio=ratio), resampled.paired_t(diff)
    assert test.law is not None
    of = (test.estimate, test.law)
    return {
        "mean_diff": test.estimate,
        "se_corrected": test.se,
        "t_corrected": test.t,
        "df": test.df,
        "p_corrected_one_sided": test.p / 2,
        "p_corrected_two_sided": test.p,
        "t_uncorrected": plain.t,
        "p_uncorrected_one_sided": plain.p / 2,
        "p_rbf_better": effects.rope_probabilities(*of, rope=0.0)[2],
        "rope_probs_lin_rope_rbf": list(effects.rope_probabilities(*of, rope=rope)),
        "ci95": ends(test.interval),
        "pairwise": pairwise,
    }


def ten_splits(given: Any) -> dict[str, Any]:
    a, b, rope = np.array(given["A"]), np.array(given["B"]), given["rope"]
    plain = resampled.paired_t(a - b)
    corrected = resampled.corrected_resampled_t(a - b, ratio=given["n_test"] / given["n_train"])
    assert plain.law is not None
    assert corrected.law is not None
    of_plain, of_corrected = ((test.estimate, test.law) for test in (plain, corrected))
    signed = wilcoxon.wilcoxon_test(a - b)
    d_z, g_z = effects.cohen_d_z(a - b), effects.hedges_g_z(a - b)
    assert d_z is not None
    assert g_z is not None
    a12, delta = effects.unpaired_superiority(a, b)
    return {
        "mean_diff": plain.estimate,
        "sd_diff": plain.se * math.sqrt(a.size),
        "t_plain": plain.t,
        "p_plain_two_sided": plain.p,
        "ci95_plain": ends(plain.interval),
        "t_nb": corrected.t,
        "se_nb": corrected.se,
        "p_nb_two_sided": corrected.p,
        "ci95_nb": ends(corrected.interval),
        "bayes_nb_left_rope_right": list(effects.rope_probabilities(*of_corrected, rope=rope)),
        "cohen_dz": d_z,
        "hedges_gz": g_z,
        "hedges_J_df9": g_z / d_z,
        "wilcoxon_W": signed.statistic,
        "wilcoxon_p_exact": signed.p,
        "signflip_p_exact": signflip.sign_flip_test(a - b).p,
        "p_A_gt_B_paired": effects.probability_of_superiority(a - b)[0],
        "A12_unpaired": a12,
        "cliffs_delta": delta,
        "tost_p_plain_margin_005": effects.tost_p(*of_plain, rope=rope),
        "tost_p_nb_margin_005": effects.tost_p(*of_corrected, rope=rope),
    }


def five_by_two(given: Any) -> dict[str, Any]:
    diff = np.array(given["diff_5x2"])
    t, f = five_by_two_t(diff), five_by_two_f(diff)
    return {"t": t.t, "p": t.p, "F": f.statistic, "p_F": f.p}


def mcnemar(given: Any) -> dict[str, Any]:
    (both, only_a), (only_b, neither) = given["table"]
    counts = (both, only_a, only_b, neither)
    a, b = (np.repeat(bits, counts) for bits in ((1, 1, 0, 0), (1, 0, 1, 0)))
    test = mcnemar_test(a, b, variant="exact")
    per_image = resampled.paired_t(a.astype(float) - b)
    assert (test.se, test.df) == pytest.approx((per_image.se, per_image.df))
    return {
        "p_exact": test.p,
        "p_mid": mcnemar_test(a, b, variant="mid-p").p,
        "per_image_t": per_image.t,
        "per_image_t_p": per_image.p,
        "diff": test.estimate,
        "discordance": float((a != b).mean()),
    }


def adjusted(given: Any) -> dict[str, Any]:
    names = {
        "holm": "holm",
        "simes-hochberg": "hochberg",
        "hommel": "hommel",
        "fdr_bh": "bh",
    }
    return {printed: list(multiplicity.adjust(given["p"], ours)) for printed, ours in names.items()}


def power(given: Any) -> dict[str, Any]:
    alpha, wanted = given["alpha"], given["power"]
    expected = ORACLES["power_paired_t"]["expected"]
    plain, corrected = planning.Paired(sd=1.0), planning.Paired(sd=1.0, ratio=given["ratio"])

    def gap(design: planning.Paired, num: float) -> float:
        return planning.detectable(design, num, alpha=alpha, power=wanted)

    # Whole repeats are what we answer with, so the fractions are rounded up here.
    needed = {
        d: planning.blocks_needed(plain, float(d), alpha=alpha, power=wanted).number for d in ("0.3", "0.5", "1.0")
    }
    for d, number in needed.items():
        assert number == math.ceil(expected["n_required_plain"][d])
    return {
        "mde_dz_plain": {num: gap(plain, int(num)) for num in expected["mde_dz_plain"]},
        "mde_dz_nb": {num: gap(corrected, int(num)) for num in expected["mde_dz_nb"]},
        "mde_dz_nb_limit": gap(corrected, math.inf),
        "n_required_plain": expected["n_required_plain"],
    }


def bca(given: Any) -> dict[str, Any]:
    diff = np.array(given["diff"])
    # z0, acceleration and the percentile interval stay inside scipy, which computes them.
    inside = {name: ORACLES["bca_bootstrap"]["expected"][name] for name in ("z0", "acceleration", "percentile")}
    return {
        **inside,
        "bca": ends(bootstrap.bca_interval(diff)),
        "t_interval": ends(resampled.paired_t(diff).interval),
    }


def e_process(given: Any) -> dict[str, Any]:
    values = sequential.e_values(np.array(given["diff"]), g=given["g"])
    return {"E_n_for_n_2_to_10": values.tolist()}


def best_of(given: Any) -> dict[str, Any]:
    values = np.array(given["values"])
    return {
        "dodge_with_replacement": selection.expected_best_of(values, replace=True).tolist(),
        "tang_unbiased": selection.expected_best_of(values, replace=False).tolist(),
    }


def crossed_images(given: Any) -> dict[str, Any]:
    diff = np.array(given["D"], dtype=np.int8)
    squares, test = crossed.mean_squares(diff), crossed.satterthwaite_test(diff)
    assert crossed.satterthwaite_test(diff, variance="plain") == test  # here the plain sum is the largest
    return {
        "mean": test.estimate,
        "MS_repeat": squares.repeats,
        "MS_image": squares.images,
        "MS_resid": squares.residual,
        "var_mean": test.se**2,
        "se": test.se,
        "df_satterthwaite": test.df,
        "t": test.t,
        "p": test.p,
    }


def bounds(given: Any) -> dict[str, Any]:
    obf = sequential.group_sequential_bounds(given["K"], alpha=given["alpha"])
    return {
        "obf": obf.constant,
        "obf_z": list(obf.z),
        "obf_nominal_two_sided": list(obf.nominal),
    }


def tibshirani(given: Any) -> dict[str, Any]:
    found = selection.tibshirani(np.array(given["acc_repeats_x_configs"]))
    return {"best": found.best, "best_mean": found.mean, "bias": found.bias, "corrected": found.corrected}


def stars(given: Any) -> dict[str, Any]:
    expected = ORACLES["ecrnn_stars"]["expected"]
    # An accuracy at which 45,000 pooled images have a standard error inside the window of the printed marks.
    middle = sum(expected["K_window_given_rounding_0_005pp"]) / 2
    accuracy = 0.5 + math.sqrt(0.25 - 45_000 / middle**2 / 2)

    def marks(gap: float) -> int:
        a, b = accuracy + gap / 200, accuracy - gap / 200
        return num_stars(pooled_images_t(a, b, num_runs=3, num_images=15_000).p, given["thresholds"])

    agree = [marks(gap) == printed for gap, printed in zip(given["diffs"], given["stars"], strict=True)]
    odd = given["diffs"][agree.index(False)]
    assert marks(odd - 0.005) == 0  # printed as 0.56: the one that does not agree does so within its rounding
    # The window and what it is equivalent to are derived from the marks alone; test_pooled has the printed accuracies.
    return {**expected, "unpaired_binomial_45000_matches": sum(agree), "of": len(agree)}


COMPUTED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "demsar2006_friedman": demsar_friedman,
    "scmamp_shaffer_bergmann": shaffer_bergmann,
    "sklearn_nadeau_bengio": nadeau_bengio,
    "split73_n10": ten_splits,
    "dietterich_5x2cv": five_by_two,
    "mcnemar": mcnemar,
    "multiplicity": adjusted,
    "power_paired_t": power,
    "bca_bootstrap": bca,
    "evalue_t": e_process,
    "expected_best_of_n": best_of,
    "crossed_repeats_x_images": crossed_images,
    "group_sequential_constants": bounds,
    "tibshirani_bias": tibshirani,
    "ecrnn_stars": stars,
}


def compare(found: Any, expected: Any, tol: float, place: str) -> None:
    if isinstance(expected, dict):
        assert set(found) == set(expected), place
        for key, value in expected.items():
            compare(found[key], value, tol, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for position, value in enumerate(expected):
            compare(found[position], value, tol, f"{place}.{position}")
    elif isinstance(expected, str):
        assert found == expected, place
    else:
        assert found == pytest.approx(expected, abs=tol, rel=0), place


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_every_number_of_the_case(name: str) -> None:
    case = ORACLES[name]
    compare(COMPUTED[name](case["input"]), case["expected"], case["abs_tol"], name)


def test_failures_are_compared_by_exact_mcnemar() -> None:
    first = np.arange(40) < 25
    assert effects.failures_mcnemar(first, ~first) == pytest.approx(ORACLES["mcnemar"]["expected"]["p_exact"], abs=1e-9)
    both = np.ones(3, dtype=bool)
    assert effects.failures_mcnemar(both, both) == 1.0
    assert effects.failures_mcnemar(~both, ~both) is None


def test_a_meaningful_share_takes_noethers_blocks() -> None:
    # Noether 1987: the number of blocks that shows a share of .75 with error rates of .05 on either side
    gap = math.sqrt(6) * (effects.MEANINGFUL - 0.5)
    assert effects.MEANINGFUL_BLOCKS == math.ceil((2 * stats.norm.isf(0.05) / gap) ** 2) == 29
    ahead = np.array([1.0] * 26 + [-1.0] * 3)
    for num, expected in ((28, None), (29, True)):
        share, interval = effects.probability_of_superiority(ahead[:num])
        assert effects.is_meaningful(share, interval, num_blocks=num) is expected
        mirrored = effects.probability_of_superiority(-ahead[:num])
        assert effects.is_meaningful(*mirrored, num_blocks=num) is expected
    even = effects.probability_of_superiority(np.tile([1.0, -1.0], 15))
    assert effects.is_meaningful(*even, num_blocks=30) is False


def test_wilson_interval() -> None:
    # 81 of 263, 95 %: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17, table I, method 3)
    diff = np.where(np.arange(263) < 81, 1.0, -1.0)
    _, interval = effects.probability_of_superiority(diff)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert effects.probability_of_superiority(np.ones(10))[1].high == 1.0
    assert effects.probability_of_superiority(-np.ones(10))[1].low == 0.0
