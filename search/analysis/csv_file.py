"""Read results from a delimited text file, record by record; faults have the row numbers of a spreadsheet."""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from search.analysis.bounds import MAX_BYTES, MAX_LINE, check_bytes, check_cells, size
from search.analysis.faults import Faults, rows_in_words
from search.analysis.layout import PREVIEW, Layout
from search.analysis.shape import Sheet
from search.analysis.table import Coder
from search.text.counted import counted

CHUNK = 200_000
"""Maximum number of records held as text at a time."""
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs"}

Choose = Callable[[Sequence[str], Sequence[Sequence[str]], Faults], Layout | None]
"""Maps headings and the first rows to the meaning of the columns."""


def read_csv(path: Path, choose: Choose) -> Sheet:
    """Read a UTF-8 text file with one heading line and columns separated by commas, semicolons or tabs.

    A first line `sep=;` sets the separator. Lines that start with # above the headings are skipped. Gzip files are
    unpacked while reading.

    Args:
        path: The file.
        choose: Decides the meaning of the columns.

    Returns:
        The sheet; empty lines are skipped but counted in the row numbers.

    Raises:
        AnalysisError: The file is not of this form; one line per fault.
    """
    faults = Faults(str(path))
    check_bytes(path.stat().st_size, faults)
    faults.check()
    try:
        with open_text(path) as stream:
            return _read(Lines(stream, faults), choose, faults)
    except UnicodeDecodeError:
        faults.add(*_encoding(path))
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        faults.add(f"expected a gzip file, but it cannot be unpacked: {error}; compress it again")
    faults.check()
    raise AssertionError(path)


def open_text(path: Path) -> IO[str]:
    """Open a text file, unpacking it if its name ends with .gz."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


class Lines:
    """Lines of a text, with limits on each line and on the total.

    Args:
        stream: Opened with newline="".
        faults: Receives the fault, and raises it, if a limit is exceeded.
    """

    def __init__(self, stream: IO[str], faults: Faults) -> None:
        self.stream = stream
        self.faults = faults
        self.number = 0
        self._again: list[str] = []
        self._left = MAX_BYTES

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            self.number += 1
            return self._again.pop()
        line = self.stream.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self._left -= len(line)
        if len(line) == MAX_LINE:
            self.faults.add(
                f"expected lines of at most {MAX_LINE:,} characters; save it as text", f"line {self.number}"
            )
        elif self._left < 0:
            self.faults.add(f"expected at most {size(MAX_BYTES)} of text, found more; use fewer results")
        self.faults.check()
        return line

    def put_back(self, line: str) -> None:
        """Return the last line again on the next read."""
        self._again.append(line)
        self.number -= 1


def _read(lines: Lines, choose: Choose, faults: Faults) -> Sheet:
    mark, about = _preamble(lines)
    skipped = lines.number
    reader = csv.reader(lines, strict=True, skipinitialspace=True, delimiter=mark)
    ragged: dict[int, list[int]] = {}
    numbers: list[NDArray[np.int32]] = []
    try:
        header = next(reader, [])
        if not header:
            faults.add("expected a line of headings with results below it, found an empty file")
            faults.check()
        first = skipped + 2
        preview = list(itertools.islice(reader, PREVIEW))
        layout = choose(header, preview, faults)
        faults.check()
        assert layout is not None
        coders = {at: Coder() for at in layout.positions}
        for records in itertools.chain([preview] if preview else [], _chunks(reader)):
            kept = _keep(records, len(header), layout.positions[0], first, ragged)
            chosen = records if kept.size == len(records) else [records[at] for at in (kept - first).tolist()]
            for at, coder in coders.items():
                coder.add([cells[at] for cells in chosen])
            numbers.append(kept)
            first += len(records)
            check_cells(first * len(coders), faults)
            faults.check()
    except csv.Error as error:
        faults.add(f"not CSV: {error}; fix or remove this line", f"line {lines.number}")
        faults.check()
    for num_cells, rows in ragged.items():
        found = f"expected {len(header)} cells as in the header, found {num_cells}"
        faults.add(
            f"{found}; put text that contains a {'comma' if mark == ',' else repr(mark)} in quotes", rows_in_words(rows)
        )
    if not sum(part.size for part in numbers) and not faults:
        faults.add("expected results below the headings, found none")
    faults.check()
    assert layout is not None
    return Sheet(
        source=faults.source,
        about={"kind": "csv", "path": faults.source},
        layout=layout,
        columns={at: coder.column() for at, coder in coders.items()},
        numbers=np.concatenate(numbers),
        notes=about,
    )


def _preamble(lines: Lines) -> tuple[str, tuple[str, ...]]:
    """Skip the lines above the headings and detect the separator."""
    mark, comments = "", 0
    for line in lines:
        text = line.strip()
        if text.lower().startswith("sep=") and lines.number == 1 and text[4:5]:
            mark = line.rstrip("\r\n")[4:5]
        elif text.startswith("#") and not comments > MAX_LINE:
            comments += 1
        elif text:
            lines.put_back(line)
            counts = {each: line.count(each) for each in _MARKS}
            mark = mark or (max(counts, key=counts.__getitem__) if any(counts.values()) else ",")
            break
    notes = (f"{counted(comments, 'comment line')} above the headings ignored",)
    return mark or ",", notes if comments else ()


def _chunks(reader: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while records := list(itertools.islice(reader, CHUNK)):
        yield records


def _keep(
    records: list[list[str]], width: int, sure: int, first: int, ragged: dict[int, list[int]]
) -> NDArray[np.int32]:
    """Return the row numbers of non-empty records; records of a wrong width are recorded and left out."""
    left_out = []
    for position, cells in enumerate(records):
        if len(cells) == width and cells[sure].strip():
            continue
        if not any(cell.strip() for cell in cells):
            left_out.append(position)
        elif len(cells) != width:
            left_out.append(position)
            if not cells[0].lstrip().startswith("#"):
                ragged.setdefault(len(cells), []).append(first + position)
    numbers = np.arange(first, first + len(records), dtype=np.int32)
    return np.delete(numbers, left_out) if left_out else numbers


def _encoding(path: Path) -> tuple[str, str]:
    """Return what is wrong with the bytes of a file that is not UTF-8, and the location."""
    mend = "save it as `CSV UTF-8`"
    if path.suffix.lower() == ".gz":
        return f"expected UTF-8, found something else; {mend}", ""
    with path.open("rb") as stream:
        begin = stream.read(4)
        for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"PK", "a spreadsheet or an archive")):
            if begin.startswith(mark):
                return f"expected UTF-8, found {name}; {mend}", ""
        if begin == b"PAR1":
            return "expected CSV, found Parquet; name it .parquet", ""
        stream.seek(0)
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"expected UTF-8, found the byte 0x{line[error.start]:02x}; {mend}", f"line {number}"
    raise AssertionError(path)
