"""Archives of correctness: read in every numeric type, refused with the place."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.analysis.sources import read_file

BITS = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [1, 1, 1]]])
NAMES = {"configs": ["a", "b"], "blocks": ["s0", "s1"]}


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"correct": BITS, **NAMES, **arrays})
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64, np.bool_, np.float16, np.float32, np.float64])
def test_every_numeric_type(tmp_path: Path, kind: Any) -> None:
    found = read_file(save(tmp_path / "r.npz", correct=BITS.astype(kind), images=["x", "y", "z"], dataset=" digits"))
    (results,) = found.results
    assert (results.dataset, results.configs) == ("digits", ("a", "b"))
    assert results.blocks == {"a": ("s0", "s1"), "b": ("s0", "s1")}
    assert [row.tolist() for name in "ab" for row in results.correct[name]] == BITS.reshape(4, 3).tolist()
    assert all(row.dtype == np.uint8 for row in results.correct["a"])
    assert found.notes == ()


@pytest.mark.parametrize("mark", [np.nan, -1])
def test_a_repeat_without_a_result(tmp_path: Path, mark: float) -> None:
    bits = BITS.astype(np.float32)
    bits[0, 1] = mark
    bits[1, 0] = mark
    found = read_file(save(tmp_path / "r.npz", correct=bits, failed=[[0, 0], [1, 0]], seed=3))
    (results,) = found.results
    assert results.correct["a"][1] is None
    assert results.correct["b"][0] is None
    assert results.diverged == {"a": frozenset(), "b": frozenset({"s0"})}
    assert found.notes == ("arrays that were not used: seed", "a has no result on block s1")


def test_bytes_and_numbers_are_names_too(tmp_path: Path) -> None:
    (results,) = read_file(save(tmp_path / "r.npz", configs=np.array([b"a", b"b"]), blocks=np.arange(2))).results
    assert results.blocks == {"a": ("0", "1"), "b": ("0", "1")}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "flat": (
        {"correct": BITS[0]},
        "correct: expected (configs, blocks, images), none of them empty, found the shape (2, 3)",
    ),
    "text": ({"correct": BITS.astype(str)}, "correct: expected 0 and 1, found <U21; convert it to uint8"),
    "names": (
        {"configs": ["a", "b", "c"]},
        "configs: expected the shape (2,) to go with correct (2, 2, 3), found (3,)",
    ),
    "images": ({"images": ["x"]}, "images: expected the shape (3,)"),
    "data sets": ({"dataset": ["x", "y"]}, "dataset: expected the shape ()"),
    "failed shape": ({"failed": [0, 1]}, "failed: expected the shape (2, 2)"),
    "failed": ({"failed": [[0, 2], [0, 0]]}, "failed: expected 0 or 1, found something else"),
    "same name": (
        {"blocks": ["s", "s"]},
        "blocks: expected every name once, found 's' at positions 0 and 1; rename one",
    ),
    "no name": ({"configs": ["a", ""]}, "configs: expected printable names, found '' at 1; rename it"),
    "per cent": (
        {"correct": BITS * 50.0},
        "correct[0, 0], config 'a', block 's0': expected 0 or 1, found 50 at image 0 and 1 more",
    ),
    "minus two": ({"correct": BITS.astype(np.int8) - 2}, "found -2 at image 1; fix it"),
    "partly missing": (
        {"correct": np.where(BITS[..., :1] * [1, 0, 0], np.nan, BITS)},
        "correct[0, 0], config 'a', block 's0': expected the correctness of all images or of none, found 1 missing",
    ),
    "one configuration": (
        {"correct": BITS[:1], "configs": ["a"]},
        "configs: expected at least two configurations, found 'a' only",
    ),
    "objects": (
        {"configs": np.array(["a", None], dtype=object)},
        "configs: expected text or numbers, found Python objects",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_is_named(tmp_path: Path, faults_of: Any, case: str) -> None:
    arrays, words = FAULTS[case]
    faults = faults_of(save(tmp_path / "r.npz", **arrays))
    assert any(words in fault for fault in faults), faults


def test_missing_arrays(tmp_path: Path, faults_of: Any) -> None:
    np.savez(tmp_path / "r.npz", correc=BITS, configs=["a"])
    assert faults_of(tmp_path / "r.npz") == [
        "expected an array correct (or scores, one per repeat), found correc and configs; if you mean correc, "
        "rename it",
        "expected an array blocks, found correc and configs; add it with np.savez",
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"\x93NUMPY"])
def test_what_is_no_archive(tmp_path: Path, faults_of: Any, content: bytes) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(content)
    (fault,) = faults_of(path)
    assert "expected a NumPy archive, but it cannot be read" in fault


def test_a_single_array(tmp_path: Path, faults_of: Any) -> None:
    with (tmp_path / "r.npz").open("wb") as stream:
        np.save(stream, BITS)
    assert faults_of(tmp_path / "r.npz") == [
        "expected an archive of named arrays, found a single one; write it with np.savez"
    ]


def test_a_damaged_archive(tmp_path: Path, faults_of: Any) -> None:
    path = save(tmp_path / "r.npz")
    content = bytearray(path.read_bytes())
    content[200:260] = b"\0" * 60
    path.write_bytes(bytes(content))
    assert faults_of(path)


@pytest.mark.slow
def test_fifteen_million_outcomes_in_seconds(tmp_path: Path) -> None:
    bits = (np.random.default_rng(0).random((10, 30, 50_000)) < 0.8).astype(np.uint8)
    path = save(tmp_path / "r.npz", correct=bits, configs=np.arange(10), blocks=np.arange(30))
    tracemalloc.start()
    start = time.process_time()
    (results,) = read_file(path).results
    assert time.process_time() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 2**30
    tracemalloc.stop()
    assert np.array_equal(results.correct["7"][29], bits[7, 29])
