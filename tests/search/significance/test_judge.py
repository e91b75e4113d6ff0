"""The whole way from bits and scores to verdicts and sentences."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from search.significance import Comparison, Declared, Results, ScoresError, Verdict, judge_results
from search.significance.judge import _combine
from search.significance.pairing import bits_of, pair_up

Rows = Sequence[NDArray[np.uint8] | None] | NDArray[np.uint8]
BLOCKS = [f"compare-{r}" for r in range(10)]


def simulated(seed: int, *, shift: float = 0.0, repeats: int = 10, images: int = 2000) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    latent = np.random.default_rng(0).normal(0.8, 1.5, images) + rng.normal(shift, 0.04, (repeats, 1))
    return (latent + rng.normal(0, 0.7, (repeats, images)) > 0).astype(np.uint8)


CNN, GOOD, SAME, BAD = simulated(1), simulated(2, shift=0.4), simulated(3), simulated(4, shift=-0.4)


def judge(
    names: Sequence[str],
    correct: Mapping[str, Rows],
    scores: Mapping[str, NDArray[np.float64]],
    family: Sequence[tuple[str, str]],
    *,
    blocks: Mapping[str, Sequence[str]],
    failed: Mapping[str, Sequence[str]] | None = None,
    **declared: Any,
) -> tuple[Comparison, ...]:
    """Judge one data set."""
    results = Results(
        configs=tuple(names),
        blocks={name: tuple(found) for name, found in blocks.items()},
        correct={name: list(rows) for name, rows in correct.items()},
        scores=scores,
        diverged={name: frozenset(lost) for name, lost in (failed or {}).items()},
    )
    return judge_results([results], family, Declared(**declared))


def one(
    a: Rows,
    b: Rows,
    *,
    blocks: dict[str, list[str]] | None = None,
    rope: float = 0.005,
    num_classes: int | None = None,
    failed: dict[str, list[str]] | None = None,
) -> Comparison:
    named = blocks or {"A": BLOCKS[: len(a)], "B": BLOCKS[: len(b)]}
    correct = {"A": a, "B": b}
    return judge("AB", correct, {}, [("A", "B")], blocks=named, rope=rope, num_classes=num_classes, failed=failed)[0]


def test_better_worse_and_inconclusive_in_words() -> None:
    correct = {"ECRNN": GOOD, "CNN": CNN, "LSTM": SAME, "Yin": BAD}
    blocks = dict.fromkeys(correct, BLOCKS)
    family = [("ECRNN", "CNN"), ("Yin", "CNN"), ("LSTM", "CNN")]
    better, worse, open_ = judge(list(correct), correct, {}, family, blocks=blocks)
    assert better.verdict is Verdict.BETTER
    assert re.fullmatch(
        r"ECRNN beats CNN by \d\.\d percentage points \(95 % interval \d\.\d to \d\.\d; Holm p < \.001 over 3; "
        r"10 paired repeats; new data of this kind\)\. P\(difference > 0\.5 pp\) > \.99\. "
        r"Smallest detectable gap \d\.\d pp\. No failures\.",
        better.sentence,
    )
    assert worse.verdict is Verdict.WORSE
    assert re.match(r"Yin loses to CNN by \d\.\d percentage points \(95 % interval \d\.\d to \d+\.\d;", worse.sentence)
    assert "P(deficit > 0.5 pp) > .99." in worse.sentence
    assert open_.verdict is Verdict.INCONCLUSIVE
    assert open_.sentence.startswith("Inconclusive: LSTM minus CNN is ")
    assert better.test == "crossed repeats x images"
    assert better.simultaneous_interval is not None
    assert better.interval is not None
    assert better.simultaneous_interval.level == pytest.approx(1 - 0.05 / 3)
    assert better.simultaneous_interval.low < better.interval.low


def test_practically_equivalent_even_when_significant() -> None:
    rng = np.random.default_rng(0)
    nearly = CNN | (rng.random(CNN.shape) < 0.02).astype(np.uint8)
    comparison = one(nearly, CNN, rope=0.02)
    assert comparison.adjusted_p is not None
    assert comparison.adjusted_p < 0.05
    assert comparison.verdict is Verdict.EQUIVALENT
    assert re.search(r"Significant \(p [<=] \.\d+\), but too small to matter\.", comparison.sentence)
    assert "(90 % interval " in comparison.sentence
    assert "; TOST p < .001; 10 paired repeats;" in comparison.sentence
    assert one(nearly, CNN, rope=0.0).verdict is Verdict.BETTER


def test_an_interval_without_zero_is_explained_when_holm_disagrees() -> None:
    correct = {f"m{i}": simulated(10 + i) for i in range(9)} | {"A": simulated(2, shift=0.04)}
    family = [("A", "m0"), *combinations([f"m{i}" for i in range(9)], 2)]
    comparison = judge(list(correct), correct, {}, family, blocks=dict.fromkeys(correct, BLOCKS))[0]
    assert comparison.p is not None
    assert comparison.p < 0.05
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "adjusted over 37 comparisons, the difference is not significant" in comparison.sentence


@pytest.mark.parametrize(
    ("num", "words"),
    [
        (1, "One run of each: A scored "),
        (2, "Description only, two paired repeats: A scored "),
        (3, "Provisional, few repeats: "),
        (4, "Provisional, few repeats: "),
    ],
)
def test_few_repeats(num: int, words: str) -> None:
    comparison = one(GOOD[:num], CNN[:num])
    assert comparison.sentence.startswith(words)
    assert comparison.provisional is (num >= 3)
    assert (comparison.verdict is Verdict.REFUSED) is (num < 3)
    assert (comparison.p is None) is (num < 3)


def test_refusals_name_their_reason_and_keep_their_place_in_the_family() -> None:
    correct = {"A": GOOD, "B": CNN, "C": CNN, "D": CNN[:, :100], "E": GOOD}
    blocks = {"A": BLOCKS, "B": BLOCKS, "C": BLOCKS, "D": BLOCKS, "E": [f"other-{r}" for r in range(10)]}
    family = [("A", "B"), ("B", "C"), ("A", "D"), ("A", "E"), ("A", "F")]
    found = judge([*"ABCDEF"], correct, {}, family, blocks=blocks)
    reasons = [
        "",
        "zero variance",
        "their test sets differ in size (2000 and 100",
        "they share no block: train both on the same seeds and splits",
        "no results",
    ]
    for comparison, reason in zip(found[1:], reasons[1:], strict=True):
        assert comparison.verdict is Verdict.REFUSED
        assert reason in comparison.sentence
        assert comparison.p is None
        assert comparison.adjusted_p is None
    assert found[0].family_size == 5
    assert found[0].p is not None
    assert found[0].adjusted_p == pytest.approx(5 * found[0].p)


def test_seeds_that_change_nothing_are_no_evidence() -> None:
    comparison = one(np.tile(GOOD[0], (10, 1)), np.tile(CNN[0], (10, 1)))
    assert comparison.verdict is Verdict.REFUSED
    assert "the seeds may not have reached the training" in comparison.sentence
    scores = {"A": np.full(10, 0.9), "B": np.full(10, 0.8)}
    blocks = dict.fromkeys("AB", BLOCKS)
    assert judge("AB", {}, scores, [("A", "B")], blocks=blocks, ratio=1)[0].verdict is Verdict.REFUSED


def test_missing_pairs_are_counted_and_too_many_forbid_a_verdict() -> None:
    one_lost = one([None, *GOOD[1:]], CNN)
    assert (one_lost.num_blocks, one_lost.num_lost, one_lost.verdict) == (9, 1, Verdict.BETTER)
    assert one_lost.sentence.endswith("No training diverged. 1 of 10 pairs missing.")
    two_lost = one([None, None, *GOOD[2:]], CNN)
    assert two_lost.verdict is Verdict.INCONCLUSIVE
    assert "No verdict, because 2 of 10 pairs are missing, more than 10 %." in two_lost.sentence
    assert two_lost.sentence.endswith("No training diverged.")
    shifted = one(GOOD, CNN, blocks={"A": BLOCKS, "B": ["new-0", "new-1", *BLOCKS[2:]]})
    assert shifted.verdict is Verdict.INCONCLUSIVE
    assert "4 of 12 pairs are missing, more than 10 %" in shifted.sentence


def test_a_repeat_without_a_result_and_one_that_is_absent_are_one_fact() -> None:
    empty, absent = (
        one([None, *GOOD[1:8]], CNN[:8]),
        one(GOOD[1:8], CNN[:8], blocks={"A": BLOCKS[1:8], "B": BLOCKS[:8]}),
    )
    assert (empty.num_lost, empty.num_mismatched, absent.num_lost, absent.num_mismatched) == (1, 0, 0, 1)
    assert empty.verdict is absent.verdict is Verdict.INCONCLUSIVE
    assert empty.sentence == absent.sentence
    assert "because 1 of 8 pairs is missing, more than 10 %." in empty.sentence


def test_a_diverged_repeat_is_scored_as_chance_and_checked_without() -> None:
    comparison = one(GOOD, [None, *CNN[1:]], num_classes=10, failed={"B": [BLOCKS[0]]})
    assert comparison.scores_b[0] == pytest.approx(0.1)
    assert comparison.num_blocks == 10
    assert (comparison.failures_a, comparison.failures_b, comparison.failures_p) == (0, 1, 1.0)
    without = one(GOOD[1:], CNN[1:])
    assert comparison.sensitivity is not None
    assert comparison.sensitivity.t == pytest.approx(without.t)
    assert comparison.sensitivity.num_blocks == 9
    assert (comparison.verdict, comparison.sensitivity_verdict) == (Verdict.BETTER, Verdict.BETTER)
    assert comparison.sentence.endswith("Diverged: A 0, B 1 of 10 (exact McNemar p = 1).")


def test_a_verdict_that_only_the_finished_repeats_support_is_inconclusive() -> None:
    comparison = one([None, *GOOD[1:]], CNN, num_classes=10, failed={"A": [BLOCKS[0]]})
    assert comparison.sensitivity_verdict is Verdict.BETTER
    assert comparison.verdict is Verdict.INCONCLUSIVE
    words = "it depends on the diverged repeats: with them it is inconclusive, without them better."
    assert f"No verdict, because {words}" in comparison.sentence
    assert "repeats would find" not in comparison.sentence
    assert "would take" not in comparison.sentence


def test_a_fallback_checkpoint_is_used_as_it_is() -> None:
    comparison = one(GOOD, CNN, failed={"B": BLOCKS[:1]})
    assert comparison.verdict is Verdict.BETTER
    assert comparison.sensitivity_verdict is Verdict.BETTER
    assert comparison.mean_b == pytest.approx(CNN.mean())


def test_divergence_everywhere_leaves_nothing_to_confirm() -> None:
    comparison = one([None] * 10, CNN, num_classes=10, failed={"A": BLOCKS})
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "too few are left" in comparison.sentence
    assert comparison.failures_p == pytest.approx(2 * 0.5**10)
    assert "neither has a result" in one([None] * 10, [None] * 10, num_classes=10).sentence


def test_analyses_that_disagree_are_inconclusive() -> None:
    pair = pair_up(bits_of("A", BLOCKS, list(GOOD), ()), bits_of("B", BLOCKS, list(CNN), ()), num_classes=None)
    assert _combine(Verdict.BETTER, Verdict.BETTER, pair) == (Verdict.BETTER, None)
    assert _combine(Verdict.BETTER, Verdict.WORSE, pair)[0] is Verdict.INCONCLUSIVE
    assert _combine(Verdict.EQUIVALENT, Verdict.REFUSED, pair)[0] is Verdict.INCONCLUSIVE
    assert _combine(Verdict.REFUSED, None, pair)[0] is Verdict.REFUSED


def test_validation_scores_decide_only_without_bits() -> None:
    scores = {"A": GOOD.mean(axis=1), "B": CNN.mean(axis=1)}
    blocks = dict.fromkeys("AB", BLOCKS)
    both = judge("AB", {"A": GOOD, "B": CNN}, scores, [("A", "B")], blocks=blocks, ratio=3 / 7)[0]
    assert both.test == "crossed repeats x images"
    assert both.secondary is not None
    assert both.secondary.name == "corrected resampled t"
    alone = judge("AB", {}, scores, [("A", "B")], blocks=blocks, ratio=3 / 7)[0]
    assert (alone.test, alone.p, alone.num_images) == ("corrected resampled t", both.secondary.p, None)
    assert "one score each; new data of this kind" in alone.sentence
    few = judge(
        "AB", {}, {n: s[:4] for n, s in scores.items()}, [("A", "B")], blocks=dict.fromkeys("AB", BLOCKS[:4]), ratio=1
    )
    assert "needs at least 5 paired repeats, got 4" in few[0].sentence
    holed = {"A": scores["A"], "B": np.where(np.arange(10) < 1, np.nan, scores["B"])}
    assert judge("AB", {}, holed, [("A", "B")], blocks=blocks, ratio=1)[0].num_lost == 1
    chance = judge("AB", {}, holed, [("A", "B")], blocks=blocks, ratio=1, num_classes=4, failed={"B": BLOCKS[:1]})[0]
    assert chance.scores_b[0] == 0.25


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": [("A", "A")]}, "must name two configurations"),
        ({"family": [("A", "Z")]}, "unknown configuration 'Z'; known: A, B"),
        ({"family": [("A", "B"), ("B", "A")]}, "declared once"),
        ({"ratio": 0.0}, "ratio must be"),
        ({"scores": {"A": np.full(10, 50.0)}, "ratio": 1}, "fractions from 0 to 1"),
        ({"alpha": 0.0}, "alpha must be in"),
        ({"blocks": {"A": BLOCKS}}, "got none for B"),
        ({"blocks": {"A": BLOCKS, "B": BLOCKS[:3]}}, "one result per block"),
        ({"blocks": {"A": BLOCKS, "B": BLOCKS[:1] * 10}}, "named once each"),
        ({"failed": {"A": ["nowhere"]}}, r"got \['nowhere'\]"),
        ({"correct": {"A": GOOD, "B": 2 * CNN}}, "0 or 1"),
        ({"correct": {"A": GOOD, "B": CNN * 0.5}}, "0 or 1"),
        ({"correct": {"A": GOOD, "B": [CNN[0], CNN[1][:9], *CNN[2:]]}}, "rows must all be"),
        ({"correct": {"A": GOOD, "B": [None, *CNN[1:]]}, "failed": {"B": BLOCKS[:1]}}, "num_classes must be given"),
    ],
)
def test_malformed_input_is_named(change: dict[str, Any], words: str) -> None:
    given = {
        "names": ["A", "B"],
        "correct": {"A": GOOD, "B": CNN},
        "scores": {},
        "family": [("A", "B")],
        "blocks": dict.fromkeys("AB", BLOCKS),
    }
    with pytest.raises(ScoresError, match=words):
        judge(**(given | change))


def test_records_become_json() -> None:
    comparison = one(GOOD, CNN)
    data = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert data["verdict"] == "better"
    assert data["interval"]["level"] == 0.95
    assert data["scores_a"] == list(comparison.scores_a)
    assert data["secondary"] is None
    json.dumps(one(CNN, CNN).to_dict(), allow_nan=False)


def test_forty_five_pairs_of_thirty_blocks_take_seconds() -> None:
    rng = np.random.default_rng(0)
    correct = {f"m{i}": (rng.random((30, 50_000)) < 0.7).astype(np.uint8) for i in range(10)}
    blocks = {name: [f"compare-{r}" for r in range(30)] for name in correct}
    start = time.perf_counter()
    found = judge(list(correct), correct, {}, list(combinations(correct, 2)), blocks=blocks)
    assert time.perf_counter() - start < 20  # 0.4 s on an idle core
    assert len(found) == 45


def test_at_a_declared_interim_analysis_p_and_interval_hold_at_all_of_them() -> None:
    blocks = dict.fromkeys(("good", "cnn"), BLOCKS)
    shared = {"blocks": blocks, "estimand": "this-data"}
    (plain,) = judge(("good", "cnn"), {"good": GOOD, "cnn": CNN}, {}, [("good", "cnn")], **shared)
    early, late = (
        judge(("good", "cnn"), {"good": GOOD, "cnn": CNN}, {}, [("good", "cnn")], **shared, interim=(look, 2))[0]
        for look in (1, 2)
    )
    assert plain.interim is None
    assert "Analysis" not in plain.sentence
    for found in (early, late):
        assert (found.verdict, found.estimate, found.t) == (Verdict.BETTER, plain.estimate, plain.t)
        assert found.p == found.adjusted_p >= plain.p
        assert found.interval.level == 0.95
        assert found.interval.low < plain.interval.low < plain.interval.high < found.interval.high
        assert found.smallest_detectable > plain.smallest_detectable
    assert early.p > 1e-6 > late.p
    assert early.interval.low < late.interval.low
    assert "Analysis 1 of 2 as declared (O'Brien-Fleming): 0.0052 of alpha 0.05 is spent." in early.sentence
    assert "Analysis 2 of 2 as declared (O'Brien-Fleming): 0.05 of alpha 0.05 is spent." in late.sentence
    assert json.loads(json.dumps(early.to_dict()))["interim"] == [1, 2]


def test_equivalence_is_for_the_last_analysis() -> None:
    blocks = dict.fromkeys(("same", "cnn"), BLOCKS)
    verdicts = [
        judge(
            ("same", "cnn"),
            {"same": SAME, "cnn": CNN},
            {},
            [("same", "cnn")],
            blocks=blocks,
            estimand="this-data",
            rope=0.1,
            interim=interim,
        )[0].verdict
        for interim in (None, (2, 2), (1, 2))
    ]
    assert verdicts == [Verdict.EQUIVALENT, Verdict.EQUIVALENT, Verdict.INCONCLUSIVE]


@pytest.mark.parametrize(
    "change", [{"estimand": "new-data"}, {"adjust": "hommel"}, {"adjust": "bh"}, {"method": "sign-flip"}]
)
def test_interim_analyses_are_of_the_paired_t_on_this_data(change: dict[str, Any]) -> None:
    with pytest.raises(ScoresError, match=r"^interim: expected estimand this-data, method paired-t, adjust holm or"):
        judge(
            ("good", "cnn"),
            {"good": GOOD, "cnn": CNN},
            {},
            [("good", "cnn")],
            blocks=dict.fromkeys(("good", "cnn"), BLOCKS),
            **{"estimand": "this-data", "interim": (1, 2), **change},
        )
