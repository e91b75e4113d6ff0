"""Wrap long lines of a result for a terminal."""

from __future__ import annotations

import re
import textwrap

KEY_COLUMNS = 12
"""Columns of the names in `status`, `plan` and `compare`: `nominee     ...`."""
_KEYED = re.compile(rf"(?=.{{{KEY_COLUMNS}}}\S)(\S+( \S+)*)? {{2,}}")


def wrapped(line: str, width: int | None) -> list[str]:
    """Wrap a line between words; what follows a name in the first columns stays to the right of it.

    A line with a command is not wrapped, so that it can be copied from the terminal.

    >>> wrapped("verdict     no difference was found", 26)
    ['verdict     no difference', '            was found']

    Args:
        line: One line.
        width: Columns of the terminal; None for no limit.

    Returns:
        At least one line.
    """
    is_keyed = _KEYED.match(line)
    text = line[KEY_COLUMNS:] if is_keyed else line.lstrip()
    if width is None or len(line) <= width or text.startswith("hybrid-search "):
        return [line]
    indent = KEY_COLUMNS if is_keyed else 2
    first = line[: len(line) - len(line.lstrip())]
    lines = textwrap.wrap(
        line,
        max(width, 2 * KEY_COLUMNS),
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return lines or [line]


def terminal_width() -> int | None:
    """Return the columns of the terminal on standard output, or COLUMNS; None if the output is a file or a pipe."""
    import os
    import shutil
    import sys

    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None
