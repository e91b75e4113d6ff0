"""Display of a running study on standard error: a live table on a terminal, which stays, and plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from search.console.counts import one_line
from search.console.live_table import draw
from search.console.messages import print_line
from search.journal.summary import Status, summarise
from search.records import TrialRecord

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_SECS = 10.0
"""Longest interval between plain lines."""
MIN_LINE_SECS = 1.0
"""Shortest interval between plain lines for finished trials, as there may be thousands of short trials."""
MAX_SHARE = 0.01
"""Largest fraction of the time spent on updating the display, whatever the number of records."""
NUM_WORTH_TELLING = 5000
"""Number of items from which the end of the work is reported."""


class Display:
    """Displays the records of a sweep or comparison while they change. Use as a context manager.

    Args:
        title: Title of the display.
        noun: `trials` or `repeats`.
        num_planned: Returns the planned number of them, which may grow.
        records: Returns the current records.
    """

    def __init__(
        self, *, title: str, noun: str, num_planned: Callable[[], int], records: Callable[[], list[TrialRecord]]
    ) -> None:
        self._title = title
        self._noun = noun
        self._num_planned = num_planned
        self._records = records
        self._since = time.time()
        self._live: Any = None
        self._console: Any = None
        self._is_over = False
        self._last_line = 0.0
        self._last_over = -1
        self._look_again = 0.0
        """Monotonic time of the next update; until then the last state is shown."""
        self._table: RenderableType = ""

    def __enter__(self) -> Display:
        """Start the live display if standard error is a terminal that can move its cursor."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._console = Console(stderr=True, highlight=False)
            if not self._console.is_dumb_terminal:
                self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the final state; the last table of a live display stays."""
        if self._live is not None:
            self._is_over, self._look_again = True, 0.0
            self._live.stop()
            self._console.print()
            return
        status = self._status()
        if status.num_over != self._last_over:
            self._print_line(status)

    def update(self) -> None:
        """Print a line if a trial has ended or the last line is old enough."""
        now = time.monotonic()
        if self._live is not None or now < self._look_again:
            return
        status = self._status()
        pause_secs = 0.0
        if status.num_over != self._last_over or now - self._last_line >= LINE_EVERY_SECS:
            self._last_over = status.num_over
            self._last_line = now
            pause_secs = MIN_LINE_SECS
            self._print_line(status)
        self._rest(now, pause_secs)

    def _rest(self, since: float, pause_secs: float = 0.0) -> None:
        """Schedule the next update in proportion to the duration of the last one."""
        now = time.monotonic()
        self._look_again = now + max(pause_secs, (now - since) / MAX_SHARE)

    def _status(self) -> Status:
        return summarise(self._records(), self._num_planned(), since=self._since)

    def _print_line(self, status: Status) -> None:
        print_line(f"{self._title}: {one_line(status, self._noun)}")

    def _render(self) -> RenderableType:
        now = time.monotonic()
        if now >= self._look_again:
            self._table = self._draw()
            self._rest(now)
        return self._table

    def _draw(self) -> RenderableType:
        return draw(
            self._records(),
            self._status(),
            title=self._title,
            noun=self._noun,
            width=self._console.width,
            height=None if self._is_over else self._console.height,
        )


def counter(title: str) -> Callable[[int, int], None]:
    """Return a function of (done, total) that prints the progress of long work every few seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 2 or (done == total and total > NUM_WORTH_TELLING):
            last = now
            print(f"{title}: {done:,}/{total:,}", file=sys.stderr, flush=True)  # noqa: T201

    return tell
