"""What can be wrong with a space, a point of it, or a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 8
"""A message lists so many names at most."""


class SpaceError(ValueError):
    """A space, or a point of one, does not hold together.

    Attributes:
        faults: One line each: where, what was expected, what was found.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults: tuple[str, ...] = faults

    def __reduce__(self) -> tuple[type[SpaceError], tuple[str, ...]]:
        """Survive pickling with all faults."""
        return type(self), self.faults


class UnknownPreset(ValueError):
    """No preset or space has this name."""

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
        """Survive pickling with all fields."""
        return type(self), (self.kind, self.name, self.known)


def near_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """List up to three known names that look like a misspelt one, nearest first."""
    return tuple(difflib.get_close_matches(name, tuple(known), n=3, cutoff=0.6))
