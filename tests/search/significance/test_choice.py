"""Which test decides: by what is declared and stored, never by the numbers."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from search.significance import Comparison, Declared, Results, ScoresError, Verdict, judge_results
from search.significance.across import score_table
from search.significance.adjust.max_t import max_t
from search.significance.adjust.multiplicity import adjust
from search.significance.tests.mcnemar import mcnemar_test
from search.significance.tests.pooled import pooled_images_t
from search.significance.tests.resampled import corrected_resampled_t, paired_t
from search.significance.tests.signflip import sign_flip_test
from search.significance.tests.wilcoxon import hodges_lehmann, wilcoxon_test
from search.significance.wording import sentence_of

R, M = 10, 800


def simulated(seed: int, shift: float = 0.0, *, repeats: int = R, images: int = M) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    latent = np.random.default_rng(0).normal(0.8, 1.5, images) + rng.normal(shift, 0.06, (repeats, 1))
    return (latent + rng.normal(0, 0.7, (repeats, images)) > 0).astype(np.uint8)


BITS = {"A": simulated(1, 0.3), "B": simulated(2), "C": simulated(3, 0.05)}
MEANS = {name: rows.mean(axis=1) for name, rows in BITS.items()}
ALL_PAIRS = [("A", "B"), ("A", "C"), ("B", "C")]


def results(
    *, bits: bool = True, scores: bool = True, num: int = R, dataset: str = "", names: list[str] | None = None
) -> Results:
    return Results(
        dataset=dataset,
        configs=tuple(BITS),
        blocks=dict.fromkeys(BITS, tuple(names or [f"block-{r}" for r in range(num)])),
        correct={name: list(rows[:num]) for name, rows in BITS.items()} if bits else {},
        scores={name: values[:num] for name, values in MEANS.items()} if scores else {},
    )


def judged(found: Results, **declared: Any) -> Comparison:
    return judge_results([found], [("A", "B")], Declared(**declared))[0]


@pytest.mark.parametrize(
    ("there", "declared", "test", "estimand"),
    [
        ({}, {}, "crossed repeats x images", "new data of this kind"),
        ({}, {"ratio": 3 / 7}, "crossed repeats x images", "new data of this kind"),
        ({}, {"estimand": "new-data"}, "crossed repeats x images", "new data of this kind"),
        ({"bits": False}, {"ratio": 3 / 7}, "corrected resampled t", "new data of this kind"),
        ({"bits": False}, {}, "plain paired t", "this data set"),
        ({}, {"estimand": "this-data"}, "plain paired t", "this data set"),
        ({"bits": False}, {"estimand": "this-data", "ratio": 3 / 7}, "plain paired t", "this data set"),
        ({}, {"estimand": "this-data", "adjust": "max-t"}, "sign-flip test", "this data set"),
        ({}, {"method": "wilcoxon"}, "Wilcoxon signed-rank test", "this data set"),
        ({}, {"method": "corrected-t", "ratio": 3 / 7}, "corrected resampled t", "new data of this kind"),
    ],
)
def test_the_table(there: dict[str, Any], declared: dict[str, Any], test: str, estimand: str) -> None:
    comparison = judged(results(**there), **declared)
    assert (comparison.test, comparison.estimand) == (test, estimand)
    assert comparison.why
    assert comparison.limits
    assert f"; {estimand})" in comparison.sentence


def test_new_data_without_the_means_to_speak_of_it_is_refused() -> None:
    comparison = judged(results(bits=False), estimand="new-data")
    assert comparison.verdict is Verdict.REFUSED
    assert "needs the correctness of every test image, or random splits with their ratio" in comparison.sentence
    comparison = judged(results(bits=False), method="crossed")
    assert "the crossed repeats x images needs the correctness" in comparison.sentence


def test_each_method_is_the_test_that_it_is_called() -> None:
    diff = MEANS["A"] - MEANS["B"]
    for method, expected in (
        ("paired-t", paired_t(diff)),
        ("sign-flip", sign_flip_test(diff)),
        ("wilcoxon", wilcoxon_test(diff)),
        ("corrected-t", corrected_resampled_t(diff, ratio=3 / 7)),
    ):
        comparison = judged(results(), method=method, ratio=3 / 7)
        assert comparison.p == pytest.approx(expected.p, rel=1e-12), method
        if method == "wilcoxon":
            assert (comparison.estimate, comparison.interval) == hodges_lehmann(diff)
            assert comparison.se is None
            assert comparison.rope_probabilities == (0.0, 0.0, 1.0)
        else:
            assert comparison.interval == expected.interval


def test_permutations_need_blocks_enough_for_the_family() -> None:
    def found(num: int, family: list[tuple[str, str]]) -> Comparison:
        return judge_results([results(num=num)], family, Declared(method="sign-flip"))[0]

    assert ("needs at least 6 paired repeats for a significant result among 1 comparison, got 5") in found(
        5, [("A", "B")]
    ).sentence
    assert found(6, [("A", "B")]).p is not None
    assert ("needs at least 7 paired repeats for a significant result among 3 comparisons, got 6") in found(
        6, ALL_PAIRS
    ).sentence
    assert found(7, ALL_PAIRS).p is not None
    joint = Declared(estimand="this-data", adjust="max-t")  # its smallest p is 2 / 2^R for any family
    six, five = (judge_results([results(num=num)], ALL_PAIRS, joint)[0] for num in (6, 5))
    assert six.adjusted_p is not None
    assert six.adjusted_p >= 2 / 2**6
    assert five.verdict is Verdict.REFUSED


def test_one_trained_pair_is_two_checkpoints() -> None:
    expected = mcnemar_test(BITS["A"][0], BITS["B"][0], variant="exact")
    described = judged(results(num=1))
    assert described.verdict is Verdict.REFUSED
    assert described.check is not None
    assert described.check.p == expected.p
    assert "Between these two checkpoints, on images of this kind: " in described.sentence
    asked = judged(results(num=1), method="mcnemar")
    assert (asked.p, asked.verdict) == (expected.p, Verdict.BETTER)
    assert "one trained pair; 800 images; these two checkpoints" in asked.sentence
    assert not asked.provisional
    with pytest.raises(ScoresError, match="expects one trained pair, found 10 blocks"):
        judged(results(), method="mcnemar")


def test_the_published_test_never_decides() -> None:
    comparison = judged(results(), method="pooled-images")
    expected = pooled_images_t(float(MEANS["A"].mean()), float(MEANS["B"].mean()), num_runs=R, num_images=M)
    assert comparison.p == expected.p
    assert expected.p < 0.001
    assert comparison.verdict is Verdict.REFUSED
    assert comparison.sentence.startswith(
        "No verdict: 'pooled images, as published' is shown together with a test and gives no verdict."
    )
    with pytest.raises(ScoresError, match="expects the number of images behind each score"):
        judged(results(bits=False), method="pooled-images")
    assert judged(results(bits=False), method="pooled-images", num_images=M).p == expected.p
    assert judged(results(), method="multi-bootstrap").verdict is Verdict.REFUSED


def test_five_by_two_wants_its_names() -> None:
    names = [f"{repeat}.{fold}" for repeat in range(1, 6) for fold in (1, 2)]
    shown = judged(results(bits=False, names=names), method="5x2cv-f")
    assert shown.p is not None
    assert shown.verdict is Verdict.REFUSED  # it tells equal learners apart too often
    shuffled = dataclasses.replace(
        results(bits=False, names=names[::-1]), scores={name: values[::-1] for name, values in MEANS.items()}
    )
    for method in ("5x2cv-t", "5x2cv-f"):
        assert judged(shuffled, method=method).p == judged(results(bits=False, names=names), method=method).p
    with pytest.raises(ScoresError, match=r"expects ten blocks named repeat.fold, 1.1, 1.2, ..., 5.2, found block-0"):
        judged(results(bits=False), method="5x2cv-t")


def test_max_t_is_judged_over_all_pairs_at_once() -> None:
    found = judge_results([results()], ALL_PAIRS, Declared(estimand="this-data", adjust="max-t"))
    diff = np.stack([MEANS[a] - MEANS[b] for a, b in ALL_PAIRS], axis=1)
    assert [item.adjusted_p for item in found] == pytest.approx(list(max_t(diff).adjusted_p))
    assert "max-T p" in found[0].sentence
    for wrong in ({"estimand": "new-data"}, {"estimand": "this-data", "method": "paired-t"}):
        with pytest.raises(ScoresError, match="max-t expects estimand this-data"):
            judge_results([results()], ALL_PAIRS, Declared(adjust="max-t", **wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["holm", "hommel", "hochberg", "shaffer", "bergmann-hommel", "bh"])
def test_the_declared_adjustment_is_used_and_named(method: Any) -> None:
    found = judge_results([results()], ALL_PAIRS, Declared(adjust=method))
    raw = [item.p for item in found]
    assert [item.adjusted_p for item in found] == pytest.approx(adjust(raw, method, pairs=ALL_PAIRS))
    assert {item.adjust_method for item in found} == {method}
    assert ("-Hochberg bounds" in str(found[0].limits), "positively dependent tests" in str(found[0].limits)) == (
        method == "bh",
        method in {"hochberg", "hommel"},
    )
    for part in method.split("-"):
        if method != "bh":
            assert part.capitalize() in found[0].sentence


def many(num: int) -> list[Results]:
    rng = np.random.default_rng(5)
    sets = []
    for place in range(num):
        level = rng.uniform(0.6, 0.9)
        scores = {
            "A": level + rng.uniform(0.005, 0.03, 3),
            "B": level + rng.uniform(-0.004, 0.004, 3),
            "C": np.full(3, level),
        }
        blocks = dict.fromkeys(scores, ("0", "1", "2"))
        sets.append(Results(dataset=f"set-{place}", configs=tuple(scores), blocks=blocks, scores=scores))
    return sets


def test_two_to_five_data_sets_are_judged_apart_as_one_family() -> None:
    pair = [results(dataset="digits"), results(dataset="letters")]
    found = judge_results(pair, [("A", "B"), ("C", "B")], Declared())
    assert [item.dataset for item in found] == ["digits", "digits", "letters", "letters"]
    assert {item.family_size for item in found} == {4}
    assert found[0].sentence.startswith("On digits: A beats B")
    alone = judged(results())
    assert (found[0].p, found[0].estimate) == (alone.p, alone.estimate)
    assert found[0].adjusted_p == pytest.approx(4 * alone.p) or found[0].adjusted_p == pytest.approx(3 * alone.p)
    with pytest.raises(ScoresError, match="shaffer expects one data set, found 2"):
        judge_results(pair, ALL_PAIRS, Declared(adjust="shaffer"))


def test_six_data_sets_are_the_sample() -> None:
    sets = many(8)
    (found,) = judge_results(sets, [("A", "B")], Declared())
    means = np.array([item.scores["A"].mean() - item.scores["B"].mean() for item in sets])
    assert found.p == wilcoxon_test(means).p == 2 / 2**8
    assert found.verdict is Verdict.BETTER
    assert found.estimand == "new data sets of this kind"
    assert found.blocks == tuple(item.dataset for item in sets)
    assert found.estimate == hodges_lehmann(means)[0]
    assert "8 data sets; new data sets of this kind" in found.sentence
    datasets, configs, table = score_table(sets)
    assert (len(datasets), configs, table.shape) == (8, ("A", "B", "C"), (8, 3))
    assert table[2, 0] == pytest.approx(sets[2].scores["A"].mean())
    with pytest.raises(ScoresError, match="over 8 data sets expected wilcoxon, found crossed"):
        judge_results(sets, [("A", "B")], Declared(method="crossed"))


def test_a_method_must_speak_of_what_is_declared() -> None:
    for declared in (
        {"estimand": "new-data", "method": "paired-t"},
        {"estimand": "this-data", "method": "corrected-t", "ratio": 3 / 7},
        {"estimand": "this-data", "method": "crossed"},
    ):
        with pytest.raises(ScoresError, match=r"allows claims about .*, but (new|this)-data was declared"):
            judged(results(), **declared)
    with pytest.raises(ScoresError, match="over 8 data sets, claims are about new data sets, found this-data"):
        judge_results(many(8), [("A", "B")], Declared(estimand="this-data"))


def test_accuracies_on_one_test_set_are_no_scores_of_random_splits() -> None:
    comparison = judged(results(scores=False), method="corrected-t", ratio=3 / 7)
    assert comparison.verdict is Verdict.REFUSED
    assert "needs one score per block, each on its own split" in comparison.sentence


def scored(**scores: list[float]) -> Results:
    num = len(next(iter(scores.values())))
    blocks = dict.fromkeys(scores, tuple(map(str, range(num))))
    arrays = {name: np.array(values) for name, values in scores.items()}
    return Results(configs=tuple(scores), blocks=blocks, scores=arrays)


def test_equal_differences_are_no_evidence_in_floats_either() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(600, 800, 5)
    bits = {
        name: [(np.arange(1200) < count + more).astype(np.uint8) for count in base]
        for name, more in (("A", 10), ("B", 0))
    }
    found = Results(configs=("A", "B"), blocks=dict.fromkeys("AB", tuple("abcde")), correct=bits)
    comparison = judge_results([found], [("A", "B")], Declared(estimand="this-data"))[0]
    assert comparison.verdict is Verdict.REFUSED
    assert "zero variance" in comparison.sentence


@pytest.mark.parametrize("method", ["wilcoxon", "sign-flip"])
def test_no_verdict_contradicts_its_interval(method: Any) -> None:
    nearly = [0.001, 0.0011, 0.0012, 0.0013, 0.0014, 0.1]
    found = scored(A=[0.5 + gap for gap in nearly], B=[0.5] * 6)
    comparison = judge_results([found], [("A", "B")], Declared(method=method))[0]
    assert comparison.p is not None
    assert comparison.p < 0.05
    assert comparison.interval is not None
    if comparison.interval.low > 0:
        assert comparison.verdict is Verdict.BETTER
    else:
        assert comparison.verdict is Verdict.INCONCLUSIVE
        assert "No verdict, because the interval includes 0." in comparison.sentence
    one_bad = scored(A=[0.501] * 19 + [0.4], B=[0.5] * 20)
    against = judge_results([one_bad], [("A", "B")], Declared(method=method))[0]
    assert against.verdict is not Verdict.WORSE


def test_ties_over_data_sets_are_no_difference() -> None:
    sets = []
    for place, gap in enumerate([0.0] * 15 + [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]):
        sets.append(dataclasses.replace(scored(A=[0.5 + gap], B=[0.5]), dataset=f"set-{place}"))
    (found,) = judge_results(sets, [("A", "B")], Declared())
    assert found.p is not None
    assert found.p < 0.05
    assert found.verdict is Verdict.INCONCLUSIVE


def diverging(num: int, *, whole: bool = True) -> list[Results]:
    """B is ahead wherever it finished, and diverged once on every data set."""
    sets = []
    rng = np.random.default_rng(2)
    for place in range(num):
        a = rng.uniform(0.79, 0.8, 10)
        b = a + rng.uniform(0.008, 0.012, 10)
        if whole:
            b[0] = np.nan
        blocks = dict.fromkeys("AB", tuple(map(str, range(10))))
        marks = {"B": frozenset("0")} if whole else {}
        sets.append(
            Results(dataset=f"set-{place}", configs=("A", "B"), blocks=blocks, scores={"A": a, "B": b}, diverged=marks)
        )
    return sets


def test_divergences_count_over_data_sets_too() -> None:
    (found,) = judge_results(diverging(7), [("A", "B")], Declared(num_classes=10))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.sensitivity_verdict is Verdict.WORSE
    assert (found.failures_a, found.failures_b) == (0, 7)
    assert "Diverged: A 0, B 7 of 7 data sets" in found.sentence
    assert judge_results(diverging(7, whole=False), [("A", "B")], Declared())[0].verdict is Verdict.WORSE


def test_data_sets_on_which_the_blocks_do_not_match_are_lost() -> None:
    sets = diverging(8, whole=False)
    other = dataclasses.replace(sets[0], blocks={"A": sets[0].blocks["A"], "B": tuple("abcdefghij")})
    bits = {"A": [np.ones(5, dtype=np.uint8)] * 10}
    mixed = dataclasses.replace(sets[1], correct=bits, scores={"B": sets[1].scores["B"]})
    (found,) = judge_results([other, mixed, *sets[2:]], [("A", "B")], Declared())
    assert (found.num_blocks, found.num_lost, found.verdict) == (6, 2, Verdict.INCONCLUSIVE)
    with pytest.raises(ScoresError, match="a name of its own, found 'set-3' more than once"):
        judge_results([*sets, sets[3]], [("A", "B")], Declared())


def test_max_t_leaves_diverged_blocks_out_of_its_sensitivity() -> None:
    b = np.random.default_rng(4).uniform(0.7, 0.72, 8)
    gaps = np.array([0.02, 0.021, 0.018, 0.022, 0.019, 0.023, 0.017, -0.001])
    found = Results(
        configs=("A", "B"),
        blocks=dict.fromkeys("AB", tuple(map(str, range(8)))),
        scores={"A": b + gaps, "B": b},
        diverged={"B": frozenset("01")},
    )
    joint = judge_results([found], [("A", "B")], Declared(estimand="this-data", adjust="max-t"))[0]
    assert joint.adjusted_p == 4 / 2**8
    assert joint.sensitivity_verdict is Verdict.INCONCLUSIVE  # 4 / 2^6 without the two that diverged
    assert joint.verdict is Verdict.INCONCLUSIVE


def test_a_posterior_alone_is_no_equivalence() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.7, 0.75, 10)
    scores = {"B": base, **{f"A{i}": base + rng.normal(0.0012, 0.0055, 10) for i in range(8)}}
    found = Results(configs=tuple(scores), blocks=dict.fromkeys(scores, tuple(map(str, range(10)))), scores=scores)
    seen = judge_results([found], [(f"A{i}", "B") for i in range(8)], Declared(estimand="this-data"))
    likely = [item for item in seen if (item.rope_probabilities or (0, 0, 0))[1] >= 0.95]
    assert likely
    for item in seen:
        assert item.adjusted_tost_p is not None
        assert (item.verdict is Verdict.EQUIVALENT) is (item.adjusted_tost_p <= 0.05)
    alone = next(item for item in likely if item.verdict is Verdict.INCONCLUSIVE)
    assert re.search(
        r"This comparison alone would be equivalent \(90 % interval -?0\.\d+ to 0\.\d+\); "
        r"Holm TOST p = \.\d+ over 8\.",
        alone.sentence,
    )


def test_how_many_repeats_a_gap_would_take() -> None:
    rng = np.random.default_rng(3)
    taste = rng.normal(0, 0.8, M)  # images that suit the one and not the other: no repeat averages these away
    bits = {}
    for name, own in (("A", taste), ("B", -taste)):
        noise = rng.normal(0, 0.7, (5, M)) + rng.normal(0, 0.05, (5, 1))
        bits[name] = list((1 + own + noise > 0).astype(np.uint8))
    found = Results(configs=("A", "B"), blocks=dict.fromkeys("AB", tuple("abcde")), correct=bits)
    wide, narrow = judged(found, rope=0.06), judged(found, rope=0.001)
    assert wide.components is not None
    assert wide.smallest_detectable is not None
    assert wide.smallest_ever is not None
    assert wide.components.images > wide.components.repeats
    assert wide.smallest_ever == pytest.approx(2.8 * (wide.components.images / M) ** 0.5, rel=0.01)
    assert wide.num_blocks_for_rope is not None
    assert (wide.num_blocks_for_rope <= 5) is (wide.smallest_detectable <= 0.06)
    assert (narrow.verdict, narrow.num_blocks_for_rope) == (Verdict.INCONCLUSIVE, None)
    assert wide.num_blocks_for_rope_upper is None or wide.num_blocks_for_rope_upper > wide.num_blocks_for_rope
    for upper, words in ((56, "56"), (None, "no number")):
        both = sentence_of(dataclasses.replace(narrow, num_blocks_for_rope=18, num_blocks_for_rope_upper=upper))
        assert f"would take 18 repeats, {words} if the variances are at their upper 80 % limits." in both
    floor = f"{100 * wide.smallest_ever:.1f}"
    words = f"No number of repeats would find a gap of 0.1 pp: below {floor} pp it takes more test images."
    assert words in narrow.sentence
