"""What looks like results and is none: copies, crashes, images in another order, runs without common blocks, losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from search.analysis.document import to_lines, write_files
from search.analysis.faults import AnalysisError
from search.analysis.options import Options
from search.analysis.read_options import ReadOptions
from search.analysis.run import analyze
from search.significance import judge_results
from search.significance.declared import Declared
from search.significance.results import Results
from search.significance.units import in_unit, negated
from search.significance.unpaired import judge_unpaired, welch_t

LOWER = ReadOptions(direction="lower")


def save(path: Path, correct: Any, **arrays: Any) -> Path:
    blocks = [f"b{at}" for at in range(correct.shape[1])]
    np.savez(path, correct=correct, configs=[f"m{at}" for at in range(len(correct))], blocks=blocks, **arrays)
    return path


def bits(num_configs: int = 2, num_blocks: int = 5, num_images: int = 300, seed: int = 0) -> NDArray[np.uint8]:
    """Correctness of configurations that find the same images hard."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(1, 1.5, num_images) + np.arange(num_configs)[:, None, None] / 4
    return np.asarray(ease + rng.normal(0, 1, (num_configs, num_blocks, num_images)) > 0, dtype=np.uint8)


def test_a_copied_repeat_counts_once(tmp_path: Path) -> None:
    correct = bits()
    correct[0, 3] = correct[0, 1]
    analysis = analyze(save(tmp_path / "r.npz", correct), Options())
    assert analysis.comparisons[0].blocks == ("b0", "b1", "b2", "b4")
    note = "copies count as one repeat: m0, block b1 is repeated as block b3; 4 of 5 blocks are compared"
    assert note in analysis.document["notes"]
    alone = np.delete(correct, 3, axis=1)
    assert analysis.comparisons[0].p == analyze(save(tmp_path / "s.npz", alone), Options()).comparisons[0].p


def test_if_one_repeat_remains_there_is_no_verdict(tmp_path: Path) -> None:
    correct = bits()
    correct[1] = correct[1, :1]
    analysis = analyze(save(tmp_path / "r.npz", correct), Options())
    assert analysis.comparisons[0].verdict.value == "refused"
    assert ("m1, block b0 is repeated as blocks b1, b2, b3 and b4; 1 of 5 blocks is compared") in analysis.document[
        "notes"
    ][-1]
    perfect = bits()
    perfect[1] = 1  # right everywhere in every repeat: no sign of a copy
    assert len(analyze(save(tmp_path / "p.npz", perfect), Options()).comparisons[0].blocks) == 5


def table(write: Any, a: list[float], b: list[float], metric: str = "score") -> Path:
    rows = [f"{name},{at},{score}" for name, scores in (("a", a), ("b", b)) for at, score in enumerate(scores)]
    return write(f"config,block,{metric}", *rows)


def test_scores_under_several_names_of_blocks(write: Any) -> None:
    a, b = [0.71, 0.74, 0.72, 0.75, 0.73], [0.7, 0.72, 0.715, 0.73, 0.74]
    once = analyze(table(write, a, b), Options())
    thrice = analyze(table(write, a * 3, b * 3), Options())
    assert thrice.comparisons[0].p == once.comparisons[0].p
    assert "5 of 15 blocks are compared" in thrice.document["notes"][0]
    chance = analyze(table(write, [*a, 0.71], [*b, 0.7]), Options())  # one pair may be equal by chance
    assert chance.comparisons[0].num_blocks == 6
    assert "all configurations have the same scores on blocks 0 and 5" in chance.document["notes"][0]


def test_remote_copy_of_scores_count_once_though_not_all_come_equally_often(write: Any) -> None:
    a = [0.7101, 0.7412, 0.7223, 0.7534, 0.7345, 0.7316]
    b = [0.7007, 0.7218, 0.7159, 0.7302, 0.7413, 0.7111]
    found = analyze(table(write, (a * 3)[:-1], (b * 3)[:-1]), Options())
    assert found.comparisons[0].p == analyze(table(write, a, b), Options()).comparisons[0].p
    assert "6 of 17 blocks are compared" in found.document["notes"][0]


def test_equal_scores_of_few_images_are_no_copies(write: Any) -> None:
    a, b = [0.9, 0.9, 0.95, 0.95, 0.85, 0.85], [0.8, 0.8, 0.75, 0.75, 0.8, 0.8]
    assert analyze(table(write, a, b), Options()).comparisons[0].num_blocks == 6


def test_few_errors_in_common_are_no_copies(tmp_path: Path) -> None:
    correct = np.ones((2, 5, 60), dtype=np.uint8)
    correct[:, :, 7] = 0
    correct[1, 2, 9] = correct[1, 4, 11] = correct[0, 1, 3] = 0
    assert analyze(save(tmp_path / "r.npz", correct), Options()).comparisons[0].num_blocks == 5


def test_others_are_judged_beside_a_configuration_without_randomness(tmp_path: Path) -> None:
    correct = bits(3)
    correct[2] = correct[2, :1]
    found = analyze(save(tmp_path / "r.npz", correct), Options(all_pairs=True))
    assert [item.num_blocks for item in found.comparisons] == [5, 1, 1]
    assert [item.verdict.value == "refused" for item in found.comparisons] == [False, True, True]
    assert any("copies count as one repeat: m2 in all blocks" in note for note in found.document["notes"])


def test_a_wide_rope_is_said_in_points(write: Any) -> None:
    path = table(write, [0.71, 0.74, 0.72, 0.75, 0.73], [0.7, 0.72, 0.715, 0.73, 0.74])
    notes = analyze(path, Options(rope=0.3)).document["notes"]
    assert "--rope 0.3 is 30 percentage points; half a point is 0.005" in notes
    assert not any("--rope" in note for note in analyze(path, Options()).document["notes"])


def test_a_training_at_chance_of_100_classes_is_one_percent(write: Any) -> None:
    path = table(write, [70.1, 1.0, 70.3, 70.2, 70.4, 70.6], [72.1, 72.3, 72.2, 72.5, 72.4, 72.6])
    with pytest.raises(AnalysisError, match="add --scale 100 if all of them are percent"):
        analyze(path, Options())
    found = analyze(path, Options(), ReadOptions(scale=100))
    assert found.comparisons[0].scores_a[1] == pytest.approx(0.01)
    assert any("block 1: the score 0.01 is far from the others" in note for note in found.document["notes"])


def test_less_time_is_better_by_its_name(write: Any) -> None:
    path = table(write, [9.1, 9.2, 9.4, 9.3, 9.5], [8.1, 8.2, 8.5, 8.3, 8.4], metric="latency_ms")
    with pytest.raises(AnalysisError, match="suggests that lower values are better"):
        analyze(path, Options(), ReadOptions(score="latency_ms", scale=1))


def test_a_lone_crash_is_noted(write: Any) -> None:
    a, b = [0.71, 0.74, 0.72, 0.1, 0.73], [0.7, 0.72, 0.715, 0.73, 0.74]
    notes = analyze(table(write, a, b), Options()).document["notes"]
    assert any(note.startswith("a, block 3: the score 0.1 is far from the others (0.71 to 0.74)") for note in notes)
    calm = analyze(table(write, [*a[:3], 0.70, 0.73], b), Options()).document["notes"]
    assert not any("is far" in note for note in calm)


def test_images_in_another_order_are_refused(tmp_path: Path) -> None:
    correct = bits(3, 4, 500)
    right = analyze(save(tmp_path / "r.npz", correct), Options(all_pairs=True))
    assert len(right.comparisons) == 3
    correct[1] = correct[1][:, np.random.default_rng(1).permutation(500)]
    with pytest.raises(AnalysisError, match="the images of m1 seem to be in another order than those of m0 and m2"):
        analyze(save(tmp_path / "s.npz", correct), Options(all_pairs=True))
    rng = np.random.default_rng(2)
    noise = (rng.random((2, 4, 500)) < 0.8).astype(np.uint8)  # agrees with nothing, itself included
    assert analyze(save(tmp_path / "n.npz", noise), Options()).comparisons


def test_without_common_blocks(write: Any) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.8, 0.01, 8).round(4), rng.normal(0.7, 0.02, 6).round(4)
    rows = [*(f"a,{at},{x}" for at, x in enumerate(a)), *(f"b,x{at},{x}" for at, x in enumerate(b))]
    path = write("config,block,score", *rows)
    refused = analyze(path, Options()).comparisons[0]
    assert refused.verdict.value == "refused"
    assert (
        "they share no block: train both on the same seeds and splits, or compare them as independent"
        in refused.sentence
    )
    found = analyze(path, Options(), ReadOptions(unpaired=True)).comparisons[0]
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert (found.t, found.p, found.df) == pytest.approx((theirs.statistic, theirs.pvalue, theirs.df), rel=1e-10)
    assert (found.verdict.value, found.num_unpaired, found.p_a_gt_b) == ("better", (8, 6), 1.0)
    assert "8 and 6 unpaired runs, Welch's t; A12 > .99; this data set" in found.sentence
    few = write("config,score", "a,.5", "a,.6", "b,.7", "b,.8", name="few.csv")
    refused = analyze(few, Options(), ReadOptions(unpaired=True)).comparisons[0]
    assert "Welch's t needs at least 5 runs of each, got 2 and 2" in refused.sentence


def test_welch_on_the_sleep_data() -> None:
    """R: t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p-value = 0.07939."""
    a = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    b = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    test = welch_t(a, b)
    assert (test.t, test.df, test.p) == pytest.approx((-1.8608, 17.776, 0.07939), rel=1e-4)
    assert (test.interval.low, test.interval.high) == pytest.approx((-3.3654832, 0.2054832), rel=1e-6)


def test_diverged_runs_decide_nothing_alone(write: Any) -> None:
    rows = [f"a,{at},{0.8 + at / 1000},0" for at in range(6)] + [f"b,x{at},{0.79 + at / 1000},0" for at in range(6)]
    rows[-1] = "b,x5,0.1,1"
    path = write("config,block,score,failed", *rows)
    found = analyze(path, Options(), ReadOptions(unpaired=True)).comparisons[0]
    assert found.verdict.value == "inconclusive"
    assert "it depends on the diverged runs: with them it is inconclusive, without them better" in found.sentence
    assert "Diverged: a 0 of 6, b 1 of 6." in found.sentence


def test_the_lower_loss_wins(write: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(1.3, 0.02, 8).tolist(), rng.normal(1.5, 0.02, 8).tolist()
    path = table(write, a, b, "val_loss")
    with pytest.raises(AnalysisError, match="the name 'val_loss' suggests that lower values are better"):
        analyze(path, Options())
    analysis = analyze(path, Options(), LOWER)
    (found,) = analysis.comparisons
    assert found.verdict.value == "better"
    assert found.estimate == pytest.approx(np.mean(a) - np.mean(b))
    assert found.interval is not None
    assert found.interval.low < found.estimate < found.interval.high < 0
    assert found.scores_a == pytest.approx(a)
    assert found.p_a_gt_b == 1.0
    assert found.sentence.startswith("a beats b by 0.")
    assert "lower is better" in found.sentence
    lines = "\n".join(to_lines(analysis.document, analysis.comparisons))
    assert "percentage" not in lines
    assert " %" not in lines.replace("95 %", "")
    files = write_files(analysis.document, analysis.comparisons, tmp_path / "out")
    assert files == ["analysis.json", "table.md", "table.tex", "methods.tex"]  # no picture: those are in points
    assert "Lower is better" in (tmp_path / "out" / "table.tex").read_text()
    six = [f"d{at},{name},1,{x}" for at in range(6) for name, x in (("a", at + 1), ("b", at + 2), ("c", at + 3))]
    ranked = analyze(write("dataset,config,block,loss", *six), Options(control="a"), LOWER).document
    assert ranked["across"]["average_ranks"] == [1.0, 2.0, 3.0]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=5, max_size=9), st.sampled_from([0.0, 0.02])
)
def test_an_error_is_judged_as_its_accuracy_is(pairs: list[tuple[int, int]], rope: float) -> None:
    errors = {"a": np.array([a for a, _ in pairs]) / 100, "b": np.array([b for _, b in pairs]) / 100}
    blocks = dict.fromkeys("ab", tuple(str(at) for at in range(len(pairs))))
    accuracies = {name: 1 - values for name, values in errors.items()}
    declared = Declared(rope=rope)
    (of_accuracy,) = judge_results(
        [Results(configs=("a", "b"), blocks=blocks, scores=accuracies)], [("a", "b")], declared
    )
    turned = negated([Results(configs=("a", "b"), blocks=blocks, scores=errors, bounded=False)])
    (of_error,) = judge_results(turned, [("a", "b")], declared)
    of_error = in_unit(of_error, lower_is_better=True, own_unit=True)
    assert of_error.verdict == of_accuracy.verdict
    assert of_error.p_a_gt_b == of_accuracy.p_a_gt_b
    for name in ("p", "tost_p"):
        assert getattr(of_error, name) == pytest.approx(getattr(of_accuracy, name), abs=1e-9)
    assert of_error.estimate == pytest.approx(-(of_accuracy.estimate or 0), abs=1e-12)
    if of_error.interval and of_accuracy.interval:
        assert (of_error.interval.low, of_error.interval.high) == pytest.approx(
            (-of_accuracy.interval.high, -of_accuracy.interval.low), abs=1e-9, nan_ok=True
        )


def test_unpaired_runs_mirror() -> None:
    rng = np.random.default_rng(5)
    scores = {"a": rng.random(6), "b": rng.random(9)}
    blocks = {"a": tuple("abcdef"), "b": tuple("ghijklmno")}
    results = [Results(configs=("a", "b"), blocks=blocks, scores=scores)]
    (first,) = judge_unpaired(results, [("a", "b")], Declared())
    (second,) = judge_unpaired(results, [("b", "a")], Declared())
    assert (first.p, first.estimate) == pytest.approx((second.p, -(second.estimate or 0)))
    assert (first.p_a_gt_b or 0) + (second.p_a_gt_b or 0) == pytest.approx(1)


def test_diverged_without_a_result_has_no_loss(write: Any) -> None:
    path = write("config,block,loss,failed", "a,0,,1", "a,1,2,0", "b,0,3,0", "b,1,3.5,0")
    with pytest.raises(
        AnalysisError, match=("the chance level is known only for accuracies; give a score, or remove the row")
    ):
        analyze(path, Options(num_classes=10), LOWER)
