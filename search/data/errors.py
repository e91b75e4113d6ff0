"""Errors of data sets: one class per cause, one line per kind of fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search.errors import InputError
from search.text.printable import printable

MAX_EXAMPLES = 3
"""Number of examples named per kind of fault."""


class DataError(InputError):
    """The data set cannot be used with the given settings."""


class LayoutError(DataError):
    """Files are missing or have an unknown layout."""


class ImageError(DataError):
    """Images cannot be decoded or have the wrong size."""


class UnreadableError(ImageError):
    """An image file cannot be decoded.

    Args:
        path: The file.
        reason: Description without the path.
        fix: How to fix one such file, and how to fix several.
    """

    def __init__(self, path: str, reason: str, fix: tuple[str, str]) -> None:
        super().__init__(f"{printable(path)}: not a readable image ({reason}); {fix[0]}")
        self.path, self.reason, self.fix = path, reason, fix

    def __reduce__(self) -> tuple[type[UnreadableError], tuple[str, str, tuple[str, str]]]:  # type: ignore[override]
        """Pickle the error with its fields."""
        return type(self), (self.path, self.reason, self.fix)


class ClassMissingError(DataError):
    """A class has images in only one part of a split."""


class FetchError(DataError):
    """A data set could not be downloaded."""


class CacheError(DataError):
    """The cache of decoded images cannot be written."""


def some(names: Sequence[str], most: int = MAX_EXAMPLES) -> str:
    """Join the first names, escaped, and count the rest.

    >>> some(["cat", "dog", "eel", "fox"])
    'cat, dog, eel and 1 more'
    """
    shown = ", ".join(printable(name) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def unreadable_lines(errors: Iterable[UnreadableError]) -> list[str]:
    """Return one line per file, or one line for all files that have the same fix."""
    by_fix: dict[tuple[str, str], list[UnreadableError]] = {}
    for error in sorted(errors, key=lambda item: item.path):
        by_fix.setdefault(error.fix, []).append(error)
    lines: list[str] = []
    for fix, alike in by_fix.items():
        if len(alike) == 1:
            lines += alike[0].faults
            continue
        # Each reason is shown once before any is repeated.
        by_reason = {error.reason: error for error in reversed(alike)}
        firsts = [*reversed(by_reason.values()), *(item for item in alike if by_reason[item.reason] is not item)]
        examples = [f"{error.path} ({error.reason})" for error in firsts]
        lines.append(f"{len(alike):,} images are not readable: {some(examples)}; {fix[1]}")
    return lines
