"""Select the reader of a file of results by its file extension: the only dispatch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.analysis.faults import AnalysisError
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.reading import Reading

if TYPE_CHECKING:
    from search.analysis.csv_file import Choose
    from search.analysis.faults import Faults
    from search.analysis.frame import Frame
    from search.analysis.layout import Layout
    from search.analysis.shape import Sheet

KINDS = {
    ".csv": "table",
    ".tsv": "table",
    ".txt": "table",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".npz": "arrays",
}
"""Kind of file by extension; text formats may be followed by .gz."""
_OTHERS = {
    (".xlsx", ".xls", ".ods", ".numbers"): "a spreadsheet; save the sheet as CSV UTF-8 and give that file",
    (".pkl", ".pickle", ".pt", ".pth", ".joblib"): "a pickle, which may execute code when it is read; save it as .csv",
    (".npy",): "a single array; write it with np.savez as .npz, with the names of configurations and blocks",
    (".zip", ".tar", ".tgz", ".7z", ".xz", ".bz2", ".zst"): "an archive; unpack it and give the file in it",
    (".db", ".sqlite", ".sqlite3"): "a database; for MLflow: --mlflow EXPERIMENT --tracking-uri sqlite:///PATH",
}
"""Extensions that are not supported, and what to do instead."""


def read_file(path: Path, asked: ReadOptions = DETECTED, *, tell: Callable[[str], None] = lambda _: None) -> Reading:
    """Read a file of results, selecting the reader by the extension.

    Args:
        path: A file of one of KINDS; `docs/analysis.md` describes them.
        asked: Stated meaning of the columns.
        tell: Receives one line on how the columns are read, before any cell is checked.

    Returns:
        The results with notes for the reader.

    Raises:
        AnalysisError: The file cannot be read; one line per fault.
    """
    from search.analysis.bounds import check_regular

    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise AnalysisError(f"{path}: expected a file on this machine, found an address; download it and give the file")
    check_regular(path)
    kind = KINDS[_ending(path)]
    try:
        return _read(path, kind, asked, tell)
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise AnalysisError(f"{path}: does not fit into the memory of this machine; use fewer results") from None


def _ending(path: Path) -> str:
    """Return the extension that selects the reader."""
    endings = [suffix.lower() for suffix in path.suffixes]
    ending = endings[-1] if endings else ""
    if ending == ".gz" and len(endings) > 1 and KINDS.get(endings[-2]) in {"table", "lines"}:
        return endings[-2]
    if ending in KINDS:
        return ending
    for known, words in _OTHERS.items():
        if ending in known:
            raise AnalysisError(f"{path}: expected results as .csv, .jsonl, .parquet or .npz, found {words}")
    found = path.suffix or "no extension"
    raise AnalysisError(f"{path}: expected a name that ends with {', '.join(KINDS)}, found {found}; rename it")


def read_table(frame: Frame, asked: ReadOptions = DETECTED, *, tell: Callable[[str], None] = lambda _: None) -> Reading:
    """Read results from a data frame, as `read_file` reads a CSV file with the same columns.

    Raises:
        AnalysisError: The columns or cells are invalid; one line per fault.
    """
    from search.analysis.frame import read_frame

    return _to_reading(read_frame(frame, _choosing(asked, tell)), asked)


def _read(path: Path, kind: str, asked: ReadOptions, tell: Callable[[str], None]) -> Reading:
    from search.analysis.csv_file import read_csv
    from search.analysis.json_file import read_jsonl
    from search.analysis.npz_file import read_npz
    from search.analysis.parquet_file import read_parquet

    if kind == "arrays":
        return read_npz(path, asked, tell=tell)
    readers = {"table": read_csv, "lines": read_jsonl, "parquet": read_parquet}
    return _to_reading(readers[kind](path, _choosing(asked, tell)), asked)


def _choosing(asked: ReadOptions, tell: Callable[[str], None]) -> Choose:
    from search.analysis.choose_layout import choose_layout

    def choose(headings: Sequence[str], rows: Sequence[Sequence[str]], faults: Faults) -> Layout | None:
        layout = choose_layout(headings, rows, asked, faults)
        if layout is not None:
            tell(f"read: {layout.words}")
        return layout

    return choose


def _to_reading(sheet: Sheet, asked: ReadOptions) -> Reading:
    from search.analysis.faults import Faults
    from search.analysis.long_format import to_reading
    from search.analysis.shape import to_table

    return to_reading(to_table(sheet, asked, Faults(sheet.source)), asked)
