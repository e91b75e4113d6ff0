"""`status --watch`: show the state of a study again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from search.errors import StoreAwayError

PAUSE_SECS = 2.0
"""Shortest pause between two looks."""
MAX_SHARE = 0.05
"""Largest fraction of the time that is spent on looking, however long the journal is."""


def watch(look: Callable[[], list[str]], show: Callable[[list[str]], None]) -> None:
    """Show lines whenever they change, until Ctrl-C. An object store that cannot be reached is retried.

    Args:
        look: Returns the lines.
        show: Prints lines.
    """
    known: list[str] = []
    shown: list[str] = []
    try:
        while True:
            began = time.monotonic()
            try:
                lines = known = look()
            except StoreAwayError as error:
                lines = [*known, f"note        {error.faults[0]}"]
            if lines != shown:
                show(lines)
                shown = lines
            time.sleep(max(PAUSE_SECS, (time.monotonic() - began) / MAX_SHARE))
    except KeyboardInterrupt:
        return
