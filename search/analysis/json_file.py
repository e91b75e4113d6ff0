"""Read results from JSON lines, one object per row, with the same columns as a CSV file."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from search.analysis.bounds import check_bytes, check_cells
from search.analysis.csv_file import CHUNK, Choose, Lines, open_text
from search.analysis.faults import Faults, rows_in_words
from search.analysis.layout import PREVIEW
from search.analysis.shape import Sheet
from search.analysis.table import Coder

MAX_DEPTH = 4
"""Maximum nesting depth of objects that become columns."""
DOCUMENT = (
    "one JSON document; write one object per line as .jsonl (pandas: to_json(path, orient='records', lines=True))"
)


def read_jsonl(path: Path, choose: Choose) -> Sheet:
    """Read a file with one JSON object per line; missing keys are empty cells.

    Args:
        path: The file.
        choose: Decides the meaning of the columns.

    Returns:
        The sheet; row numbers are line numbers, from 1.

    Raises:
        AnalysisError: The file is not of this form; one line per fault.
    """
    faults = Faults(str(path))
    check_bytes(path.stat().st_size, faults)
    faults.check()
    coders: dict[str, Coder] = {}
    preview: list[dict[str, str]] = []
    numbers: list[int] = []
    nested: dict[str, list[int]] = {}
    try:
        with open_text(path) as stream:
            lines = Lines(stream, faults)
            while rows := list(itertools.islice(_rows(lines, numbers, nested, faults), CHUNK)):
                preview = preview or rows[:PREVIEW]
                for key in dict.fromkeys(key for row in rows for key in row):
                    if key not in coders:
                        coders[key] = Coder()
                        coders[key].add([""] * (len(numbers) - len(rows)))
                for key, coder in coders.items():
                    coder.add([row.get(key, "") for row in rows])
                check_cells(len(numbers) * len(coders), faults)
                faults.check()
    except UnicodeDecodeError:
        faults.add("expected UTF-8, found something else; save it as UTF-8")
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        faults.add(f"expected a gzip file, but it cannot be unpacked: {error}; compress it again")
    if not numbers and not faults:
        faults.add("expected one JSON object per line, found an empty file")
    if len(numbers) == 1 and path.suffix.lower() == ".json":
        faults.add(f"expected one JSON object per line, found {DOCUMENT}")
    faults.check()
    headings = list(coders)
    layout = choose(headings, [[row.get(key, "") for key in headings] for row in preview], faults)
    faults.check()
    assert layout is not None
    for at in layout.positions:
        if headings[at] in nested:
            where = rows_in_words(nested[headings[at]])
            faults.add(f"expected one value in {headings[at]!r}, found a list or an object; flatten it", where)
    faults.check()
    return Sheet(
        source=faults.source,
        about={"kind": "jsonl", "path": faults.source},
        layout=layout,
        columns={at: coders[headings[at]].column() for at in layout.positions},
        numbers=np.array(numbers, dtype=np.int32),
    )


def _rows(lines: Lines, numbers: list[int], nested: dict[str, list[int]], faults: Faults) -> Iterator[dict[str, str]]:
    """Yield the rows as text; line numbers are appended to `numbers`, keys of non-scalar values to `nested`."""
    for line in lines:
        if not line.strip():
            continue
        row = _object(line, lines.number, faults)
        faults.check()
        numbers.append(lines.number)
        row = dict(_flat(row))
        for key, value in row.items():
            if isinstance(value, dict | list):
                nested.setdefault(key, []).append(lines.number)
        yield {key: _text(value) for key, value in row.items()}


def _flat(row: dict[str, object], before: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield the values of an object by path, as trackers name them: {"config": {"lr": 0.1}} gives config/lr."""
    for key, value in row.items():
        if isinstance(value, dict) and value and depth < MAX_DEPTH:
            yield from _flat(value, f"{before}{key}/", depth + 1)
        else:
            yield before + key, value


def _object(line: str, number: int, faults: Faults) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        if number == 1 and faults.source.lower().endswith(".json"):
            faults.add(f"expected one JSON object per line, found {DOCUMENT}")
            return {}
        what = "brackets nested too deeply" if isinstance(error, RecursionError) else str(error).split(":")[0]
        faults.add(
            f"expected one JSON object per line, but it cannot be read: {what}; write one row per line",
            f"line {number}",
        )
        return {}
    if not isinstance(value, dict):
        if number == 1 and faults.source.lower().endswith(".json"):
            faults.add(f"expected one JSON object per line, found {DOCUMENT}")
            return {}
        kind = type(value).__name__
        faults.add(f"expected one JSON object per line, found a {kind}; write one row per line", f"line {number}")
        return {}
    return value


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
