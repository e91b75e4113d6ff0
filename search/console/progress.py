"""How a running study is shown: a live table on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from search.console.messages import say
from search.journal.summary import Status, best_first, summarise
from search.records import TrialRecord
from search.text.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_SECS = 10.0
"""Plain lines come this often at most, besides those for finished trials."""
MIN_LINE_SECS = 1.0
"""Lines for finished trials come this often at most: thousands of short ones are not told one by one."""
MAX_SHARE = 0.01
"""Of the time at most this much is spent on looking, however many records there are."""
NUM_ROWS = 8
NUM_WORTH_TELLING = 5000
"""Work on fewer things is over before anybody wonders."""


class Display:
    """Shows the records of a sweep or comparison while they change.

    Args:
        title: What is running.
        noun: `trials` or `repeats`.
        num_planned: How many there will be.
        records: Gives the present records.
    """

    def __init__(self, *, title: str, noun: str, num_planned: int, records: Callable[[], list[TrialRecord]]) -> None:
        self._title = title
        self._noun = noun
        self._num_planned = num_planned
        self._records = records
        self._since = time.time()
        self._live: Any = None
        self._last_line = 0.0
        self._last_over = -1
        self._look_again = 0.0
        """Monotonic time before which what was seen last stays."""
        self._table: RenderableType = ""

    def __enter__(self) -> Display:
        """Take over the terminal, if there is one."""
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
        """Give the terminal back and print where things stand."""
        if self._live is not None:
            self._live.stop()
        status = self._status()
        if status.num_over != self._last_over:
            self._print_line(status)

    def update(self) -> None:
        """Take note that something changed."""
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
        """Look again only after a while, in proportion to what the look since then has cost."""
        now = time.monotonic()
        self._look_again = now + max(pause_secs, (now - since) / MAX_SHARE)

    def _status(self) -> Status:
        return summarise(self._records(), self._num_planned, since=self._since)

    def _print_line(self, status: Status) -> None:
        say(f"{self._title}: {one_line(status, self._noun)}")

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
        running = [record for record in records if record.outcome is None]
        for record in (*running, *best_first(records))[:NUM_ROWS]:
            state = "running" if record.outcome is None else record.outcome.word
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
            # A bar alone does not end its line, and the headings would follow on it.
            Align.left(ProgressBar(total=max(1, status.num_planned), completed=status.num_over, width=60)),
            table,
        )


def one_line(status: Status, noun: str) -> str:
    """A study's state in one line."""
    parts = [
        f"{status.num_over}/{status.num_planned} {noun}",
        f"{status.num_completed} completed, {status.num_stopped} stopped, {status.num_failed} failed, "
        f"{status.num_unfinished} running",
    ]
    nominee = status.nominee
    if nominee is not None and nominee.val_accuracy is not None and noun == "trials":
        parts.append(f"nominated {nominee.val_accuracy:.4f} (one run, {nominee.label})")
    if status.epochs_per_sec is not None:
        parts.append(f"{status.epochs_per_sec:.2f} epochs/s")
    if status.eta_secs:
        parts.append(f"ETA {duration(status.eta_secs)}")
    return "; ".join(parts)


def duration(secs: float) -> str:
    """Seconds for people: `45 s`, `12 min`, `3.5 h`."""
    if secs < 90:
        return f"{secs:.0f} s"
    return f"{secs / 60:.0f} min" if secs < 5400 else f"{secs / 3600:.1f} h"


def counter(title: str) -> Callable[[int, int], None]:
    """Make a function (done, total) that tells of long work on standard error, a line every few seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 2 or (done == total and total > NUM_WORTH_TELLING):
            last = now
            print(f"{title}: {done:,}/{total:,}", file=sys.stderr, flush=True)  # noqa: T201

    return tell
