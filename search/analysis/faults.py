"""Collect the faults of a source of results and report them together, one line each, with their rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError

NUM_SHOWN = 3
"""Number of rows, runs or values that a line lists before it only counts them."""


MAX_WORDS = 2000
"""Maximum characters of a line, since names can have any length."""


class AnalysisError(InputError):
    """Results cannot be read, or the requested analysis does not apply to them."""


class Faults:
    """Collects the faults of one source.

    Args:
        source: Prefix of every line: the file or the experiment.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, what: str, where: str = "") -> None:
        """Add a fault.

        Args:
            what: What was expected, what was found, and how to fix it.
            where: Rows, runs or the position in an array; empty for the whole source.
        """
        what = what if len(what) <= MAX_WORDS else f"{what[:MAX_WORDS]}..."
        self._lines.append(f"{self.source}, {where}: {what}" if where else f"{self.source}: {what}")

    def check(self) -> None:
        """Raise if there are faults.

        Raises:
            AnalysisError: All faults, one line each.
        """
        if self._lines:
            raise AnalysisError(*self._lines)


def rows_in_words(rows: NDArray[Any] | Sequence[int]) -> str:
    """Return row numbers as text.

    >>> rows_in_words([2, 3, 4, 20])
    'rows 2 to 4 and 20'

    Args:
        rows: Spreadsheet row numbers, at least one.
    """
    numbers = np.unique(np.asarray(rows, dtype=np.int64))
    if numbers.size == 1:
        return f"row {numbers[0]}"
    stretches = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    words: list[str] = []
    for stretch in stretches[:NUM_SHOWN]:
        if stretch.size > 2:
            words.append(f"{stretch[0]} to {stretch[-1]}")
        else:
            words += map(str, stretch.tolist())
    return f"rows {_joined(words, sum(stretch.size for stretch in stretches[NUM_SHOWN:]))}"


def some(names: Iterable[str], num_shown: int = NUM_SHOWN) -> str:
    """Return the first few names and the number of the others.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    every = list(names)
    left_out = max(len(every) - num_shown, 0)
    return _joined(every[: len(every) - left_out], left_out)


def _joined(words: Sequence[str], num_more: int) -> str:
    if num_more:
        return f"{', '.join(words)} and {num_more} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def near(name: str, known: Sequence[str], what: str) -> str:
    """Return a hint for an unknown name: the closest known name, or all known names."""
    meant = closest(name, known)
    return f"did you mean {meant!r}?" if meant else f"{what}: {some(map(repr, known), 12)}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the closest known name, if any; of `a.b` the last part is sufficient."""
    lowered = {item.lower(): item for item in known}
    for item in lowered:
        if item.rpartition(".")[2] == name.lower():
            return lowered[item]
    return next((lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=1)), None)
