"""Lines for people at a terminal: escaped, without passwords, on standard error."""

from __future__ import annotations

import sys

from search.text.printable import printable
from search.uris import redacted


def say(line: str) -> None:
    """Tell the person at the terminal; standard output belongs to results."""
    print(printable(redacted(line)), file=sys.stderr, flush=True)  # noqa: T201


_warned: set[str] = set()
"""What this process has warned of: one command may check a study twice."""


def warn(line: str) -> None:
    """Print a warning, each once per process."""
    if line not in _warned:
        _warned.add(line)
        say(f"warning: {line}")
