"""A table of results, each column stored as codes of its distinct cells, so that millions of rows fit in memory.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search.analysis.faults import rows_in_words, some


class Places(Protocol):
    """Names rows in the terms of their source, for messages."""

    def words(self, rows: NDArray[Any]) -> str:
        """Return the names of some rows.

        Args:
            rows: Row positions, from 0; at least one.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """Rows of a file, numbered like a spreadsheet's: the header is row 1."""

    numbers: NDArray[np.int32]
    """Row number of each record, shape (N,); empty lines are skipped but counted."""

    def words(self, rows: NDArray[Any]) -> str:
        """Return the row numbers as text."""
        return rows_in_words(self.numbers[rows])


@dataclass(frozen=True, kw_only=True)
class NamedRows:
    """Rows with names, such as runs of an experiment."""

    names: tuple[str, ...]
    one: str = "run "
    several: str = "runs "

    def words(self, rows: NDArray[Any]) -> str:
        """Return the row names as text."""
        found = [self.names[row] for row in np.asarray(rows).tolist()]
        return f"{self.one if len(found) == 1 else self.several}{some(found)}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its distinct cells in order of first appearance, and the cell of each row."""

    codes: NDArray[np.int32]
    """Index into `values`, shape (N,)."""
    values: tuple[str, ...]
    """Distinct texts, stripped of spaces; the empty text for an empty cell."""

    def rows_with(self, marks: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the rows whose value is marked, in order.

        Args:
            marks: One mark per distinct value.
        """
        return np.flatnonzero(marks[self.codes])


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a source that have a meaning."""

    source: str
    """Prefix of messages about the source."""
    about: Mapping[str, object]
    """Origin of the table, for the record."""
    columns: Mapping[str, Column]
    places: Places
    num_rows: int
    notes: tuple[str, ...] = ()


class Coder:
    """Encodes a column piece by piece."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._parts: list[NDArray[np.int32]] = []

    def add(self, cells: Sequence[str]) -> None:
        """Append the cells of more rows."""
        known = self._known
        self._parts.append(np.array([known.setdefault(cell, len(known)) for cell in cells], dtype=np.int32))

    def add_coded(self, codes: NDArray[Any], cells: Sequence[str]) -> None:
        """Append more rows that are already encoded.

        Args:
            codes: Indices into `cells`, shape (rows,).
            cells: Distinct cells.
        """
        known = self._known
        place = np.array([known.setdefault(cell, len(known)) for cell in cells], dtype=np.int32)
        self._parts.append(place[codes])

    def column(self) -> Column:
        """Return the column of all appended rows, and reset the coder."""
        codes = np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.int32)
        self._parts.clear()
        known: dict[str, int] = {}
        place = [known.setdefault(cell.strip(), len(known)) for cell in self._known]
        if len(known) < len(place):
            codes = np.array(place, dtype=np.int32)[codes]
        return Column(codes=codes, values=tuple(known))
