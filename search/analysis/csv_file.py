"""Results in a CSV file, read record by record so that every fault has the row number that a spreadsheet shows."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from search.analysis.columns import CONFIG, choose_columns, unused, wanted
from search.analysis.faults import Faults, rows_in_words
from search.analysis.table import Coder, FileRows, Table

CHUNK = 200_000
"""Records in memory as text at one time."""


def read_csv(path: Path) -> Table:
    """Read a CSV file: UTF-8, commas, one line of headings.

    Args:
        path: The file.

    Returns:
        The table; lines in which nothing stands are passed over.

    Raises:
        AnalysisError: It is no such file; one line per fault.
    """
    faults = Faults(str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = _read(stream, faults)
    except UnicodeDecodeError:
        faults.add(*_encoding(path))
    faults.check()
    return table


def _read(stream: TextIO, faults: Faults) -> Table:
    reader = csv.reader(stream, strict=True, skipinitialspace=True)
    ragged: dict[int, list[int]] = {}
    numbers: list[NDArray[np.int32]] = []
    header: list[str] = []
    try:
        header = next(reader, header)
        if reader.line_num == 0:
            faults.add("expected a line of headings and results below it, found an empty file")
            faults.check()
        places = choose_columns(header, faults)
        faults.check()
        coders = {name: Coder() for name in wanted(places)}
        first = 2
        for records in _chunks(reader):
            kept = _keep(records, len(header), places[CONFIG], first, ragged)
            chosen = records if kept.size == len(records) else [records[at] for at in (kept - first).tolist()]
            for name, coder in coders.items():
                position = places[name]
                coder.add([cells[position] for cells in chosen])
            numbers.append(kept)
            first += len(records)
    except csv.Error as error:
        faults.add(f"not CSV: {error}; mend or remove what stands there", f"line {reader.line_num}")
        faults.check()
    for num_cells, rows in ragged.items():
        found = f"expected {len(header)} cells as in the header, found {num_cells}"
        faults.add(f"{found}; put text that holds a comma in quotes", rows_in_words(rows))
    num_rows = sum(part.size for part in numbers)
    if not num_rows and not faults:
        faults.add("expected results below the headings, found none")
    faults.check()
    return Table(
        source=faults.source,
        about={"kind": "csv", "path": faults.source},
        columns={name: coder.column() for name, coder in coders.items()},
        places=FileRows(numbers=np.concatenate(numbers)),
        num_rows=num_rows,
        notes=unused(header, places),
    )


def _chunks(reader: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while records := list(itertools.islice(reader, CHUNK)):
        yield records


def _keep(
    records: list[list[str]], width: int, config: int, first: int, ragged: dict[int, list[int]]
) -> NDArray[np.int32]:
    """Row numbers of the records that hold something; those of a wrong width are noted and left out."""
    left_out = []
    for position, cells in enumerate(records):
        if len(cells) == width and cells[config].strip():
            continue
        if not any(cell.strip() for cell in cells):
            left_out.append(position)
        elif len(cells) != width:
            left_out.append(position)
            ragged.setdefault(len(cells), []).append(first + position)
    numbers = np.arange(first, first + len(records), dtype=np.int32)
    return np.delete(numbers, left_out) if left_out else numbers


def _encoding(path: Path) -> tuple[str, str]:
    """What is wrong with the bytes of a file that is not UTF-8, and where."""
    mend = "save it as `CSV UTF-8`"
    with path.open("rb") as stream:
        begin = stream.read(4)
        for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"PK", "a spreadsheet or an archive")):
            if begin.startswith(mark):
                return f"expected UTF-8, found {name}; {mend}", ""
        if begin == b"PAR1":
            return "expected CSV, found Parquet; name it .parquet", ""
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"expected UTF-8, found the byte 0x{line[error.start]:02x}; {mend}", f"line {number}"
    raise AssertionError(path)
