"""Options as they are typed: what may be meant, and one line for each that may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.analysis.experiment import Question
from search.analysis.faults import AnalysisError
from search.analysis.options import Options, choose_source, declare
from search.significance.declared import Declared


def test_unset_options_leave_the_defaults_where_they_are() -> None:
    assert declare(Options()) == Declared()


@pytest.mark.parametrize(("text", "ratio"), [("3/7", 3 / 7), ("0.4286", 0.4286), (" 1 / 4 ", 0.25), ("1", 1.0)])
def test_ratio(text: str, ratio: float) -> None:
    assert declare(Options(ratio=text)).ratio == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["3:7", "x", "0", "-1", "3/0", "inf", "nan", "1/2/3", ""])
def test_a_ratio_that_is_none(text: str) -> None:
    with pytest.raises(
        AnalysisError, match="--ratio: expected images scored over images trained on, such as 3/7, found"
    ):
        declare(Options(ratio=text))


def test_all_wrong_options_at_once() -> None:
    with pytest.raises(AnalysisError) as caught:
        declare(Options(method="croosed", adjust="none", estimand="x", alpha=5, rope=-1, num_classes=1, ratio="x"))
    faults = caught.value.faults
    assert [fault.partition(":")[0] for fault in faults] == [
        "--estimand", "--method", "--adjust", "--ratio", "--alpha", "--rope", "--num-classes",
    ]  # fmt: skip
    assert "found 'croosed'; did you mean 'crossed'?" in faults[1]


def choose(file: Path | None, experiment: str | None, **more: Any) -> Path | Question:
    return choose_source(file, experiment, **{"metric": None, "group_by": None, "block": None, "uri": None, **more})


def test_a_file_or_an_experiment() -> None:
    assert choose(Path("a.csv"), None) == Path("a.csv")
    assert choose(None, "mine", metric="acc", group_by="rnn, nodes,", block="seed", uri="http://x") == Question(
        experiment="mine", metric="acc", group_by=("rnn", "nodes"), block="seed", uri="http://x"
    )


@pytest.mark.parametrize(
    ("file", "experiment", "more", "words"),
    [
        (None, None, {}, "expected a file of results or --mlflow EXPERIMENT, found neither"),
        (Path("a.csv"), "mine", {}, "found both a.csv and 'mine'"),
        (Path("a.csv"), None, {"uri": "x"}, "--tracking-uri: only for --mlflow, not for a file; remove it"),
        (
            Path("a.csv"),
            None,
            {"block": "x"},
            "--block: only for --mlflow, not for a file; for a file it is --block-column",
        ),
        (None, "mine", {"metric": "acc", "group_by": " , "}, "add --group-by, --block"),
    ],
)
def test_neither_or_both(file: Path | None, experiment: str | None, more: dict[str, str], words: str) -> None:
    with pytest.raises(AnalysisError, match=words):
        choose(file, experiment, **more)
