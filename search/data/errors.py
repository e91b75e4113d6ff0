"""What can be wrong with a data set: one class per cause, one line per kind of fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search.errors import InputError
from search.text.printable import printable

MAX_EXAMPLES = 3
"""Of one kind of fault that are named."""


class DataError(InputError):
    """The data set cannot be used as asked."""


class LayoutError(DataError):
    """The files are not where or how they should be."""


class ImageError(DataError):
    """Images cannot be decoded, or do not have the size asked for."""


class UnreadableError(ImageError):
    """One image file cannot be decoded.

    Args:
        path: The file.
        reason: In words, without the path.
        fix: What to do about one such file, and about several.
    """

    def __init__(self, path: str, reason: str, fix: tuple[str, str]) -> None:
        super().__init__(f"{printable(path)}: not a readable image ({reason}); {fix[0]}")
        self.path, self.reason, self.fix = path, reason, fix

    def __reduce__(self) -> tuple[type[UnreadableError], tuple[str, str, tuple[str, str]]]:  # type: ignore[override]
        """Travel between processes with the fields intact."""
        return type(self), (self.path, self.reason, self.fix)


class ClassMissingError(DataError):
    """A class has images on one side of a split only."""


class FetchError(DataError):
    """A data set could not be downloaded."""


class CacheError(DataError):
    """The cache of decoded images cannot be written."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 image`, `2,000 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def some(names: Sequence[str], most: int = MAX_EXAMPLES) -> str:
    """The first of some names, escaped, and how many more there are: `cat, dog, eel and 7 more`."""
    shown = ", ".join(printable(name) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def unreadable_lines(errors: Iterable[UnreadableError]) -> list[str]:
    """One line per file, or one per kind where several files have a fault that is fixed alike."""
    by_fix: dict[tuple[str, str], list[UnreadableError]] = {}
    for error in sorted(errors, key=lambda item: item.path):
        by_fix.setdefault(error.fix, []).append(error)
    lines: list[str] = []
    for fix, alike in by_fix.items():
        if len(alike) == 1:
            lines += alike[0].faults
            continue
        # One example of each reason first.
        by_reason = {error.reason: error for error in reversed(alike)}
        firsts = [*reversed(by_reason.values()), *(item for item in alike if by_reason[item.reason] is not item)]
        examples = [f"{error.path} ({error.reason})" for error in firsts]
        lines.append(f"{len(alike):,} images are not readable: {some(examples)}; {fix[1]}")
    return lines
