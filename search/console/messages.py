"""Messages for the user on standard error: escaped and without passwords."""

from __future__ import annotations

import sys

from search.text.printable import printable
from search.uris import redacted


def print_line(line: str) -> None:
    """Print a line to standard error; standard output is reserved for results."""
    print(printable(redacted(line)), file=sys.stderr, flush=True)  # noqa: T201


def print_step(words: str) -> None:
    """Print on a terminal what the command does now, before the first trial can show anything."""
    if sys.stderr.isatty():
        print_line(f"{words} ...")


_warned: set[str] = set()
"""Warnings printed by this process, as one command may check a study twice."""


def warn(line: str) -> None:
    """Print a warning once per process."""
    if line not in _warned:
        _warned.add(line)
        print_line(f"warning: {line}")
