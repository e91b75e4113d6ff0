"""A table of results as it was read: every column coded by its distinct cells, so that millions of rows fit.

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
    """Says where something stands in the words of whoever made the source."""

    def words(self, rows: NDArray[Any]) -> str:
        """Name some rows.

        Args:
            rows: Their positions, from 0; at least one.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """Rows of a file, numbered as a spreadsheet does: the header is row 1."""

    numbers: NDArray[np.int32]
    """Row number of each record, shape (N,); empty lines are passed over and keep their number."""

    def words(self, rows: NDArray[Any]) -> str:
        """Name some rows by number."""
        return rows_in_words(self.numbers[rows])


@dataclass(frozen=True, kw_only=True)
class NamedRows:
    """Rows that have names, such as runs of an experiment."""

    names: tuple[str, ...]
    one: str = "run "
    several: str = "runs "

    def words(self, rows: NDArray[Any]) -> str:
        """Name some rows by name."""
        found = [self.names[row] for row in np.asarray(rows).tolist()]
        return f"{self.one if len(found) == 1 else self.several}{some(found)}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its distinct cells in the order in which they first appear, and which of them each row holds."""

    codes: NDArray[np.int32]
    """Position in `values`, shape (N,)."""
    values: tuple[str, ...]
    """Text without spaces around it; empty where a cell is."""

    def rows_with(self, marks: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Rows whose value is marked, in order.

        Args:
            marks: One mark per distinct value.
        """
        return np.flatnonzero(marks[self.codes])


@dataclass(frozen=True, kw_only=True)
class Table:
    """What was read; only the columns that mean something."""

    source: str
    """What lines about it begin with."""
    about: Mapping[str, object]
    """Where it comes from, for the record."""
    columns: Mapping[str, Column]
    places: Places
    num_rows: int
    notes: tuple[str, ...] = ()


class Coder:
    """Codes a column piece by piece."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._parts: list[NDArray[np.int32]] = []

    def add(self, cells: Sequence[str]) -> None:
        """Take the cells of some more rows."""
        known = self._known
        self._parts.append(np.array([known.setdefault(cell, len(known)) for cell in cells], dtype=np.int32))

    def add_coded(self, codes: NDArray[Any], cells: Sequence[str]) -> None:
        """Take some more rows that are coded already.

        Args:
            codes: Positions in `cells`, shape (rows,).
            cells: Distinct cells.
        """
        known = self._known
        place = np.array([known.setdefault(cell, len(known)) for cell in cells], dtype=np.int32)
        self._parts.append(place[codes])

    def column(self) -> Column:
        """All rows that were taken; the coder is empty afterwards."""
        codes = np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.int32)
        self._parts.clear()
        known: dict[str, int] = {}
        place = [known.setdefault(cell.strip(), len(known)) for cell in self._known]
        if len(known) < len(place):
            codes = np.array(place, dtype=np.int32)[codes]
        return Column(codes=codes, values=tuple(known))
