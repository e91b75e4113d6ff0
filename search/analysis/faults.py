"""What is wrong with somebody's results: one line per fault, all of them at once, each naming its rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError

NUM_SHOWN = 3
"""Rows, runs or values that a line names before it counts the rest."""


MAX_WORDS = 2000
"""Characters of a line, as a name may be of any length."""


class AnalysisError(InputError):
    """Results that cannot be read, or a question that cannot be asked of them."""


class Faults:
    """Gathers the faults of one source.

    Args:
        source: What every line begins with: the file or the experiment.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, what: str, where: str = "") -> None:
        """Note a fault.

        Args:
            what: What was expected, what was found, how to mend it.
            where: Rows, runs or the place in an array; empty for the source as a whole.
        """
        what = what if len(what) <= MAX_WORDS else f"{what[:MAX_WORDS]}..."
        self._lines.append(f"{self.source}, {where}: {what}" if where else f"{self.source}: {what}")

    def check(self) -> None:
        """Stop if there are any.

        Raises:
            AnalysisError: With all that was noted.
        """
        if self._lines:
            raise AnalysisError(*self._lines)


def rows_in_words(rows: NDArray[Any] | Sequence[int]) -> str:
    """Name rows as a spreadsheet numbers them: `row 7`, `rows 2 to 11, 20 and 35 more`.

    Args:
        rows: Row numbers, at least one.
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
    """The first few names, and how many more there are."""
    every = list(names)
    left_out = max(len(every) - num_shown, 0)
    return _joined(every[: len(every) - left_out], left_out)


def _joined(words: Sequence[str], num_more: int) -> str:
    if num_more:
        return f"{', '.join(words)} and {num_more} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def near(name: str, known: Sequence[str], what: str) -> str:
    """How to mend a name that is not known: the one that was probably meant, or all."""
    meant = closest(name, known)
    return f"did you mean {meant!r}?" if meant else f"{what}: {some(map(repr, known), 12)}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant, if any; of `a.b` the last part is enough."""
    lowered = {item.lower(): item for item in known}
    for item in lowered:
        if item.rpartition(".")[2] == name.lower():
            return lowered[item]
    return next((lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=1)), None)
