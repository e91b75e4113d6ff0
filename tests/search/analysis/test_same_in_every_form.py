"""The same results in CSV, Parquet and npz come to the same analysis, to the last digit."""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyarrow import parquet

from search.analysis import parquet_file
from search.analysis.faults import AnalysisError
from search.analysis.options import Options
from search.analysis.run import analyze
from search.analysis.sources import read_file
from search.significance.results import Results

NAMES = st.text("ab0 .,-é\"'=", min_size=1, max_size=6).map(str.strip).filter(bool)


@st.composite
def outcomes(draw: st.DrawFn) -> dict[str, Any]:
    configs = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    blocks = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    correct = (rng.random((len(configs), len(blocks), draw(st.integers(2, 9)))) < 0.6).astype(np.float32)
    correct[rng.random(correct.shape[:2]) < draw(st.sampled_from([0, 0.1]))] = np.nan
    return {"configs": configs, "blocks": blocks, "correct": correct}


def rows_of(data: dict[str, Any]) -> list[tuple[str, str, str, float]]:
    return [
        (config, block, f"img {m}", bit)
        for config, of_config in zip(data["configs"], data["correct"], strict=True)
        for block, bits in zip(data["blocks"], of_config, strict=True)
        for m, bit in enumerate(bits.tolist())
    ]


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def in_three_forms(folder: Path, data: dict[str, Any]) -> tuple[Path, Path, Path]:
    columns = dict(
        zip(("config", "block", "image", "correct"), map(list, zip(*rows_of(data), strict=True)), strict=True)
    )
    as_text = {**columns, "correct": ["" if np.isnan(bit) else int(bit) for bit in columns["correct"]]}
    np.savez(folder / "r.npz", **data)
    return write_csv(folder / "r.csv", as_text), write_parquet(folder / "r.parquet", columns), folder / "r.npz"


def plain(results: Results) -> dict[str, Any]:
    """The results as values that can be compared."""
    correct = {
        name: [None if row is None else row.tolist() for row in results.correct[name]] for name in results.configs
    }
    return {**dataclasses.asdict(dataclasses.replace(results, correct={})), "correct": correct}


@settings(max_examples=50, deadline=None)
@given(outcomes())
def test_csv_parquet_and_npz_are_the_same_results(data: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        readings = [read_file(path) for path in in_three_forms(Path(name), data)]
    of_csv, of_parquet, of_npz = ([plain(item) for item in reading.results] for reading in readings)
    assert of_csv == of_parquet == of_npz
    assert [reading.source["rows"] for reading in readings] == [data["correct"].size] * 3
    without_rows = {tuple(note.partition(" (row")[0] for note in reading.notes) for reading in readings}
    assert len(without_rows) == 1


def test_csv_parquet_and_npz_come_to_the_same_verdicts(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    ease = rng.normal(1, 1.5, 60) + rng.normal(0, 0.05, (3, 6, 1)) + np.array([0, 0.1, 1.5])[:, None, None]
    correct = (ease + rng.normal(0, 0.5, ease.shape) > 0).astype(np.float32)
    data = {"configs": list("abc"), "blocks": [f"s{r}" for r in range(6)], "correct": correct}
    documents = [analyze(path, Options(control="a")).document for path in in_three_forms(tmp_path, data)]
    for document in documents:
        document.pop("source")
    assert documents[0] == documents[1] == documents[2]
    assert [item["verdict"] for item in documents[0]["comparisons"]] == ["inconclusive", "better"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_scores_keep_every_digit(scores: list[tuple[float, float]]) -> None:
    columns: dict[str, list[Any]] = {
        "config": ["a", "b"] * len(scores),
        "block": [block for block in range(len(scores)) for _ in "ab"],
        "score": [score for pair in scores for score in pair],
    }
    with tempfile.TemporaryDirectory() as name:
        for path in (write_csv(Path(name, "r.csv"), columns), write_parquet(Path(name, "r.parquet"), columns)):
            (results,) = read_file(path).results
            assert results.blocks["a"] == tuple(map(str, range(len(scores))))
            assert list(zip(results.scores["a"], results.scores["b"], strict=True)) == scores


def arrays() -> dict[str, NDArray[Any]]:
    return {
        "config": np.repeat(["a", "b"], 6),
        "block": np.tile(np.repeat([0, 1], 3), 2),
        "image": np.tile(np.arange(3), 4),
        "correct": np.arange(12) % 5 % 2,
    }


@pytest.mark.parametrize("batch", [1, 5, 500_000])
@pytest.mark.parametrize("kind", ["int8", "bool", "double", "dictionary", "binary"])
def test_every_type_of_parquet_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, batch: int) -> None:
    monkeypatch.setattr(parquet_file, "BATCH", batch)
    columns: dict[str, Any] = {name: pa.array(array) for name, array in arrays().items()}
    plain = read_file(write_parquet(tmp_path / "r.parquet", columns)).results[0]
    if kind == "dictionary":
        columns = {name: array.dictionary_encode() for name, array in columns.items()}
    elif kind == "binary":
        columns["config"] = columns["config"].cast(pa.binary())
    else:
        columns["correct"] = columns["correct"].cast(
            getattr(pa, kind, pa.bool_)() if kind != "double" else pa.float64()
        )
    again = read_file(write_parquet(tmp_path / "r.parquet", columns)).results[0]
    assert again.blocks == plain.blocks == {"a": ("0", "1"), "b": ("0", "1")}
    for name in "ab":
        assert [row.tolist() for row in again.correct[name]] == [row.tolist() for row in plain.correct[name]]


def test_rows_of_a_parquet_file_are_numbered_as_in_a_spreadsheet(
    tmp_path: Path, faults_of: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(parquet_file, "BATCH", 2)
    columns: dict[str, list[Any]] = {
        "config": ["a", "a", "b", None, "b"], "block": [0, 1, 0, 1, 1], "score": [0.5, None, 1.5, 0.2, 0.3],
    }  # fmt: skip
    assert faults_of(write_parquet(tmp_path / "r.parquet", columns)) == [
        "row 5: config: expected a printable name, found ''; give it a name",
        "row 4: score: expected a number from 0 to 1, found '1.5'; give accuracies as fractions of 1, or add --scale 1 "
        "to accept any number (--lower-is-better for a loss)",
    ]


def test_what_is_no_parquet(tmp_path: Path, faults_of: Any, write: Any) -> None:
    (fault,) = faults_of(write("config,block,score", name="r.parquet"))
    assert fault.startswith("expected a Parquet file, but it cannot be read: ")
    columns: dict[str, Any] = {"config": [["a"]], "block": [0], "score": [0.5]}
    assert faults_of(write_parquet(tmp_path / "r.pq", columns)) == [
        "expected one value per row in the column config, found list<element: string>; flatten it"
    ]
    empty: dict[str, Any] = {name: pa.array([], pa.string()) for name in ("config", "block", "score")}
    assert faults_of(write_parquet(tmp_path / "e.pq", empty)) == ["expected results, found no rows"]


def test_without_pyarrow_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "r.parquet").touch()
    with pytest.raises(AnalysisError, match="Parquet files need pyarrow, which is not installed; pip install pyarrow"):
        read_file(tmp_path / "r.parquet")
