"""Display of a running study on standard error: a live table on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from search.console.messages import print_line
from search.journal.summary import Status, best_first, summarise
from search.records import TrialRecord
from search.text.counted import num_runs
from search.text.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_SECS = 10.0
"""Longest interval between plain lines."""
MIN_LINE_SECS = 1.0
"""Shortest interval between plain lines for finished trials, as there may be thousands of short trials."""
MAX_SHARE = 0.01
"""Largest fraction of the time spent on updating the display, whatever the number of records."""
NUM_ROWS = 8
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
        self._last_line = 0.0
        self._last_over = -1
        self._look_again = 0.0
        """Monotonic time of the next update; until then the last state is shown."""
        self._table: RenderableType = ""

    def __enter__(self) -> Display:
        """Start the live display if standard error is a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._render, console=Console(stderr=True), refresh_per_second=4, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the live display and print the final state."""
        if self._live is not None:
            self._live.stop()
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
        from rich.align import Align
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        status = self._status()
        records = self._records()
        table = Table(box=None, padding=(0, 1), header_style="bold")
        for heading in ("", "state", "epochs", "validation", "secs"):
            table.add_column(heading, justify="left" if heading in {"", "state"} else "right")
        running = [record for record in records if record.outcome is None and not record.is_waiting]
        paused = [record for record in records if record.is_waiting]
        paused.sort(key=lambda record: (len(record.curve), record.val_accuracy or 0.0), reverse=True)
        for record in (*running, *best_first(records), *paused)[:NUM_ROWS]:
            unfinished = "waiting" if record.is_waiting else "running"
            state = unfinished if record.outcome is None else record.outcome.word
            accuracy = record.val_accuracy
            table.add_row(
                Text(printable(record.label)),
                state,
                str(len(record.curve)),
                "" if accuracy is None else f"{accuracy:.4f}",
                f"{record.elapsed_secs:.1f}",
            )
        return Group(
            Text(printable(f"{self._title}: {one_line(status, self._noun)}")),
            # A bar alone does not end its line; the headings would follow on the same line.
            Align.left(ProgressBar(total=max(1, status.num_planned), completed=status.num_over, width=60)),
            table,
        )


def waiting(status: Status) -> str:
    """Return the number of waiting trials for a list of counts; empty if there are none."""
    return f", {status.num_waiting} waiting" if status.num_waiting else ""


def infeasible(status: Status) -> str:
    """Return the number of infeasible trials for a list of counts; empty if there are none."""
    return f"{status.num_infeasible} infeasible, " if status.num_infeasible else ""


def one_line(status: Status, noun: str) -> str:
    """Format the state of a study in one line."""
    parts = [
        f"{status.num_over}/{status.num_planned} {noun}",
        f"{status.num_completed} completed, {status.num_stopped} stopped, {status.num_failed} failed, "
        f"{infeasible(status)}{status.num_unfinished} running{waiting(status)}",
    ]
    nominee = status.nominee
    if nominee is not None and nominee.val_accuracy is not None and noun == "trials":
        parts.append(f"nominated {nominee.val_accuracy:.4f} ({num_runs(len(nominee.blocks))}, {nominee.label})")
    if status.epochs_per_sec is not None:
        parts.append(f"{status.epochs_per_sec:.2f} epochs/s")
    if status.eta_secs:
        parts.append(f"ETA {duration(status.eta_secs)}")
    return "; ".join(parts)


def duration(secs: float) -> str:
    """Format a duration.

    >>> duration(45), duration(720), duration(12600)
    ('45 s', '12 min', '3.5 h')
    """
    if secs < 90:
        return f"{secs:.0f} s"
    return f"{secs / 60:.0f} min" if secs < 5400 else f"{secs / 3600:.1f} h"


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
