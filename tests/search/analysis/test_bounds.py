"""Files that claim or hold more than is read: refused in words before memory is taken."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from search.analysis import bounds, csv_file
from search.analysis.faults import AnalysisError
from search.analysis.sources import read_file


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        for name, content in members.items():
            stream.writestr(f"{name}.npy", content)
        for name, values in (("configs", ["a", "b"]), ("blocks", ["0"])):
            if name not in members:
                array = io.BytesIO()
                np.save(array, np.array(values))
                stream.writestr(f"{name}.npy", array.getvalue())
    return path


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"correct": header((2, 1, 10**12))}, r"correct: expected at most 2\.0 GiB unpacked, found 1,862\.6 GiB"),
        ({"correct": header((2, 1, 10**9), "<f8")}, r"correct: expected at most 2\.0 GiB unpacked, found 14\.9 GiB"),
        ({"correct": header((2, 1, 3)), "configs": header((2,), "<U400000000")}, r"configs: expected at most 2\.0 GiB"),
        (
            {"correct": header((2, 1, 10**6))},
            "correct: expected 1.9 MiB by its shape .*, found 0.0 MiB; write it again",
        ),
        ({"correct": header((2, -1, 3))}, "correct: expected a shape, found"),
        ({"correct": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535}, "it cannot be read: Header info length"),
    ],
)
def test_an_archive_that_claims_too_much(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    path = archive(tmp_path / "r.npz", **members)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(AnalysisError, match=words):
        read_file(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_packed_archive_counts_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BYTES", 2**20)
    path = tmp_path / "r.npz"
    np.savez_compressed(path, correct=np.zeros((2, 2, 2**20), dtype=np.uint8), configs=["a", "b"], blocks=[0, 1])
    assert path.stat().st_size < 2**16
    with pytest.raises(AnalysisError, match=r"correct: expected at most 1\.0 MiB unpacked, found 4\.0 MiB"):
        read_file(path)


def test_a_repetitive_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 50_000
    table = pa.table({"config": ["a"] * rows, "block": ["1"] * rows, "score": [0.5] * rows})
    parquet.write_table(table, tmp_path / "r.parquet")
    assert (tmp_path / "r.parquet").stat().st_size < 10_000
    monkeypatch.setattr(bounds, "MAX_CELLS", 100_000)
    with pytest.raises(AnalysisError, match=r"expected at most 100,000 cells .*, found 150,000"):
        read_file(tmp_path / "r.parquet")


def test_a_text_that_is_repeated_is_held_once(tmp_path: Path) -> None:
    rows = 1000
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["x" * 500_000]))
    parquet.write_table(pa.table({"config": long, "block": range(rows), "score": [0.5] * rows}), tmp_path / "r.parquet")
    tracemalloc.start()
    with pytest.raises(AnalysisError):
        read_file(tmp_path / "r.parquet")
    assert tracemalloc.get_traced_memory()[1] < 2**26  # 1,000 of them are half a gigabyte
    tracemalloc.stop()
    longer = pa.array(["x" * (bounds.MAX_LINE + 1)] * 2)
    parquet.write_table(pa.table({"config": longer, "block": range(2), "score": [0.5] * 2}), tmp_path / "r.parquet")
    with pytest.raises(AnalysisError, match="expected cells of at most 1,048,576 characters, found one of 1,048,577"):
        read_file(tmp_path / "r.parquet")


def test_text_without_an_end(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.csv.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(b"config,block,score\n" + b"0" * 2**22)
    with pytest.raises(AnalysisError, match="line 2: expected lines of at most 1,048,576 characters"):
        read_file(path)
    monkeypatch.setattr(csv_file, "MAX_BYTES", 1000)
    with gzip.open(path, "wb") as stream:
        stream.write(b"config,block,score\n" + b"a,1,0.5\n" * 1000)
    with pytest.raises(AnalysisError, match="of text, found more; use fewer results"):
        read_file(path)
    monkeypatch.setattr(bounds, "MAX_CELLS", 10)
    with pytest.raises(AnalysisError, match="expected at most 10 cells"):
        read_file(write("config,block,score", *(f"a,{at},0.5" for at in range(9))))


def test_a_pipe_or_a_device_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.csv")
    with pytest.raises(AnalysisError, match="expected a regular file, found a pipe or a device"):
        read_file(tmp_path / "r.csv")
    (tmp_path / "link.csv").symlink_to("/dev/zero")
    with pytest.raises(AnalysisError, match="expected a regular file"):
        read_file(tmp_path / "link.csv")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[" * 100_000, "line 1: expected one JSON object per line, but it cannot be read: brackets nested too deeply"),
        ("[1, 2]", "line 1: expected one JSON object per line, found a list"),
        ('{"config": ["a", 1], "block": 0, "score": 0.5}', "expected one value in 'config', found a list or an object"),
        ('{"config": "a"', "line 1: expected one JSON object per line, but it cannot be read"),
        ('{"config": "a", "block": 0, "score": Infinity}', "score: expected a number from 0 to 1, found 'inf'"),
    ],
)
def test_lines_that_are_no_rows(write: Any, line: str, words: str) -> None:
    with pytest.raises(AnalysisError, match=words):
        read_file(write(line, name="r.jsonl"))
