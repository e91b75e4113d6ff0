"""Wrap long lines of a result for a terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap

MIN_COLUMNS = 30
"""Columns that must remain for the last column of a line."""
_NAMES = re.compile(r".* {2,}")


def wrapped(line: str, width: int | None) -> list[str]:
    """Wrap a line between words; what stands right of names and numbers stays right of them.

    A line with a command is not wrapped, so that it can be copied from the terminal, nor is a line whose last column
    has no room.

    >>> wrapped("verdict     no difference was found in five repeats", 44)
    ['verdict     no difference was found in five', '            repeats']

    Args:
        line: One line.
        width: Columns of the terminal; None for no limit.

    Returns:
        At least one line.
    """
    names = _NAMES.match(line)
    indent = names.end() if names else 0
    if width is None or len(line) <= width or line.startswith("hybrid-search ", indent):
        return [line]
    if width - indent < MIN_COLUMNS:  # a row of a table, or a very narrow terminal
        return [line]
    words = textwrap.wrap(
        line[indent:],
        max(width - (indent or 2), MIN_COLUMNS),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line[:indent] + words[0], *(" " * (indent or 2) + part for part in words[1:])] if words else [line]


def terminal_width() -> int | None:
    """Return the columns of the terminal on standard output, or COLUMNS; None if the output is a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None
