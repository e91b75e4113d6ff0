"""Errors of spaces, points and preset names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 8
"""Maximum number of names that a message lists."""


class SpaceError(ValueError):
    """A space, or a point of one, is invalid.

    Attributes:
        faults: One line per fault: where, what was expected, what was found.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults: tuple[str, ...] = faults

    def __reduce__(self) -> tuple[type[SpaceError], tuple[str, ...]]:
        """Support pickling with all faults."""
        return type(self), self.faults


class UnknownPreset(ValueError):
    """There is no preset or space of this name."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...]) -> None:
        near = near_matches(name, known)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        rest = (
            f"known: {', '.join(known)}"
            if len(known) <= MAX_LISTED
            else f"`hybrid-search models` lists all {len(known)}"
        )
        super().__init__(f"no {kind} is called {name!r}; {hint}{rest}")
        self.kind, self.name, self.known, self.near = kind, name, known, near

    def __reduce__(self) -> tuple[type[UnknownPreset], tuple[str, str, tuple[str, ...]]]:
        """Support pickling with all fields."""
        return type(self), (self.kind, self.name, self.known)


def near_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three known names similar to a misspelt one, the most similar first.

    >>> near_matches("lsmt", ["lstm", "gru"])
    ('lstm',)
    """
    return tuple(difflib.get_close_matches(name, tuple(known), n=3, cutoff=0.6))
