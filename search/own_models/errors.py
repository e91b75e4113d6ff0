"""Faults of a user's own code, each as one line with the place in the user's file."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from search.errors import DivergedError, HybridSearchError, OutOfMemoryError
from search.text.printable import printable

SHOWN = "<study>/"
"""Start of the file names of own modules in tracebacks; such a file does not exist, as the source is held in memory."""
MAX_REASON = 300
"""Largest length of an exception's message."""


class OwnCodeError(Exception):
    """A user's own code raised, or returned something else than a model.

    Args:
        line: Place, what was expected and what was found.
    """

    def __init__(self, line: str) -> None:
        self.line = line
        super().__init__(line)

    def __reduce__(self) -> tuple[type[OwnCodeError], tuple[str]]:
        """Pickle the error with its line."""
        return type(self), (self.line,)


def place_in(error: BaseException) -> str | None:
    """Return the innermost line of the user's own code that an exception passed, as `my_models.py:12`; None if none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(SHOWN)]
    return f"{own[-1].filename.removeprefix(SHOWN)}:{own[-1].lineno}" if own else None


def in_words(error: BaseException, otherwise: str) -> str:
    """Return an exception as one line.

    Args:
        error: The exception.
        otherwise: The place, if the exception passed no line of the user's own code.
    """
    if isinstance(error, OwnCodeError):
        return error.line
    message = " ".join(str(error).split())
    short = message if len(message) <= MAX_REASON else f"{message[:MAX_REASON]}..."
    return printable(f"{place_in(error) or otherwise}: {type(error).__name__}{f': {short}' if short else ''}")


@contextlib.contextmanager
def naming_place(otherwise: str) -> Iterator[None]:
    """Raise an exception from the user's own code as an OwnCodeError with its place.

    Errors of this program, such as a divergence, and a lack of memory are raised unchanged.
    """
    try:
        yield
    except (HybridSearchError, DivergedError, OutOfMemoryError, OwnCodeError, MemoryError, OSError):
        raise
    except Exception as error:
        if place_in(error) is None:
            raise
        raise OwnCodeError(in_words(error, otherwise)) from error
