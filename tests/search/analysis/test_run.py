"""From a file to verdicts and documents: chance, families, data sets, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.analysis.document import to_lines, write_files
from search.analysis.faults import AnalysisError
from search.analysis.options import Options
from search.analysis.run import analyze

HEAD = "dataset,config,block,score,failed"


def lines_of(
    datasets: tuple[str, ...], configs: dict[str, float], *, blocks: int = 6, skip: tuple[tuple[str, int], ...] = ()
) -> list[str]:
    rng = np.random.default_rng(7)
    return [
        f"{dataset},{config},{block},{0.5 + block / 100 + gap + rng.normal(0, 0.002):.5f},0"
        for dataset in datasets
        for config, gap in configs.items()
        for block in range(blocks)
        if (config, block) not in skip
    ]


def test_every_field_of_a_comparison_and_what_was_declared(write: Any) -> None:
    path = write(HEAD, *lines_of(("",), {"a": 0.03, "b": 0.0}), name="r.csv")
    text = path.read_text().replace("\n,", "\n").replace("dataset,", "")
    path.write_text(text)
    document = analyze(path, Options(ratio="3/7", rope=0.01, alpha=0.1)).document
    (found,) = document["comparisons"]
    assert found["verdict"] == "better"
    assert found["interval"]["level"] == pytest.approx(0.9)
    for name in ("estimate", "p", "adjusted_p", "d_z", "g_z", "p_a_gt_b", "rope_probabilities", "smallest_detectable"):
        assert found[name] is not None, name
    assert {"why", "limits", "estimand", "failures_a", "num_blocks", "family_size", "bca_interval"} <= set(found)
    assert document["declared"] == {
        "families": {"": [["a", "b"]]}, "estimand": "auto", "method": "auto", "adjust": "holm",
        "alpha": 0.1, "rope": 0.01, "ratio": 3 / 7, "num_images": None, "num_classes": None,
        "lower_is_better": False, "scale": None, "own_unit": False, "unpaired": False,
    }  # fmt: skip
    assert document["source"] == {
        "kind": "csv",
        "path": str(path),
        "rows": 12,
        "unit": "repeat",
        "read_as": "config, block, score, failed",
    }
    assert document["datasets"] == [""]
    assert document["across"] is None
    assert [(item["name"], item["num_blocks"], item["num_results"]) for item in document["configs"]] == [
        ("a", 6, 6), ("b", 6, 6),
    ]  # fmt: skip
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_every_data_set_and_family_has_its_rows(write: Any, tmp_path: Path) -> None:
    path = write(HEAD, *lines_of(("x", "y/z"), {"a": 0.05, "b": 0.0, "c": 0.0}), name="r.csv")
    family = write("first: [[a, b]]", "second: [[b, c], [c, a]]", name="f.yaml")
    analysis = analyze(path, Options(family=family))
    rows = [(c.dataset, c.family, c.a, c.b, c.family_size) for c in analysis.comparisons]
    assert rows == [
        ("x", "first", "a", "b", 2), ("y/z", "first", "a", "b", 2),
        ("x", "second", "b", "c", 4), ("x", "second", "c", "a", 4),
        ("y/z", "second", "b", "c", 4), ("y/z", "second", "c", "a", 4),
    ]  # fmt: skip
    lines = to_lines(analysis.document, analysis.comparisons)
    assert sum(line.startswith("On x: ") for line in lines) == 3
    assert any(line.split()[:4] == ["y/z", "second", "c", "a"] for line in lines)
    files = write_files(analysis.document, analysis.comparisons, tmp_path / "out" / "deep")
    assert {"analysis.json", "table.md", "forest.png", "slopes-5.png", "superiority-1.png"} <= set(files)
    assert {file.name for file in (tmp_path / "out" / "deep").iterdir()} == set(files)
    assert json.loads((tmp_path / "out" / "deep" / "analysis.json").read_text()) == analysis.document
    assert "| x | second | c | a |" in (tmp_path / "out" / "deep" / "table.md").read_text()


def test_a_name_with_a_bar_stays_in_its_cell(write: Any, tmp_path: Path) -> None:
    analysis = analyze(write("config,block,score", "a|b,0,0.5", "c,0,0.6"), Options())
    write_files(analysis.document, analysis.comparisons, tmp_path / "out")
    assert "| a&#124;b | 50.00 % | 1 |" in (tmp_path / "out" / "table.md").read_text()


def test_a_folder_that_cannot_be_written(write: Any) -> None:
    path = write("config,block,score", "a,0,0.5", "b,0,0.6")
    analysis = analyze(path, Options())
    with pytest.raises(AnalysisError, match=r"--to: .*results.csv cannot be written \(File exists\)"):
        write_files(analysis.document, analysis.comparisons, path)


def test_six_data_sets_are_ranked(write: Any) -> None:
    path = write(HEAD, *lines_of(tuple("uvwxyz"), {"a": 0.05, "b": 0.02, "c": 0.0}, blocks=2), name="r.csv")
    analysis = analyze(path, Options(control="c"))
    document = analysis.document
    assert document["across"]["average_ranks"] == [1.0, 2.0, 3.0]
    assert [item["num_blocks"] for item in document["comparisons"]] == [6, 6]
    assert (
        "Over 6 data sets the mean ranks are a 1.00, b 2.00, c 3.00 (1 is best). Friedman's chi squared 12.00"
        in to_lines(document, analysis.comparisons)[-1]
    )


def test_a_few_missing_pairs_leave_a_verdict_many_do_not(write: Any) -> None:
    few = lines_of(("x",), {"a": 0.05, "b": 0.0}, blocks=20, skip=(("b", 3),))
    (found,) = analyze(write(HEAD, *few, name="few.csv"), Options()).comparisons
    assert (found.verdict.value, found.num_blocks, found.num_mismatched) == ("better", 19, 1)
    many = lines_of(("x",), {"a": 0.05, "b": 0.0}, blocks=20, skip=tuple(("b", r) for r in range(4)))
    analysis = analyze(write(HEAD, *many, name="many.csv"), Options(estimand="this-data"))
    assert analysis.comparisons[0].verdict.value == "inconclusive"
    assert "4 of 20 pairs are missing, more than 10 %" in analysis.comparisons[0].sentence
    assert analysis.document["notes"] == [
        "x: some configurations lack blocks: b lacks blocks 0, 1, 2 and 3; each pair is compared on its common blocks"
    ]


def test_one_block_and_no_variance_are_refused_in_words(write: Any) -> None:
    one = analyze(write("config,block,score", "a,0,0.5", "b,0,0.6", name="one.csv"), Options())
    assert one.comparisons[0].sentence.startswith("One run of each: a scored 50.0 % and b 60.0 %")
    rows = [f"{config},{block},0.{score}" for config, score in (("a", 5), ("b", 6)) for block in range(5)]
    same = analyze(write("config,block,score", *rows, name="same.csv"), Options(estimand="this-data"))
    assert same.comparisons[0].verdict.value == "refused"
    assert "zero variance" in same.comparisons[0].sentence
    assert [note.rpartition(" (")[2] for note in same.document["notes"]] == ["rows 2 to 6)", "rows 7 to 11)"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(), ["without --ratio, claims are about this data set only"]),
        (Options(estimand="this-data"), []),
        (Options(method="sign-flip"), []),
        (Options(ratio="3/7"), []),
        (Options(ratio="7/3"), ["--ratio 2.33 means that more images were scored than trained on"]),
    ],
)
def test_what_the_ratio_does_is_said(write: Any, options: Options, words: list[str]) -> None:
    path = write(HEAD, *lines_of(("x",), {"a": 0.05, "b": 0.0}), name="r.csv")
    notes = analyze(path, options).document["notes"]
    assert len(notes) == len(words)
    assert all(note.startswith(word) for note, word in zip(notes, words, strict=True))


def test_divergence_without_a_result_needs_chance(write: Any) -> None:
    rows = lines_of(("",), {"a": 0.05, "b": 0.0}, blocks=6)
    rows[2] = ",a,2,,1"
    path = write(HEAD.replace("dataset,", ""), *(row[1:] for row in rows))
    with pytest.raises(AnalysisError) as caught:
        analyze(path, Options())
    assert caught.value.faults == (
        f"{path}: a: block 2 diverged without a result, which is scored as chance; give --num-classes",
    )
    (found,) = analyze(path, Options(num_classes=10)).comparisons
    assert (found.failures_a, found.failures_b, found.scores_a[2]) == (1, 0, pytest.approx(0.1))
