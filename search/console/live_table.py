"""The table of a running sweep or comparison: counts, a progress bar, the trials, and the nominee's parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.console.counts import duration
from search.journal.summary import Status, best_first, rank
from search.records import Completed, Failed, Stopped, TrialRecord
from search.text.counted import counted, num_runs
from search.text.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

NUM_ROWS = 8
"""Maximum number of trials in a table that is updated."""
NUM_LAST_ROWS = 20
"""Maximum number of trials in the last table, which stays on the terminal."""
NUM_OTHER_LINES = 10
"""Lines of a terminal that are not rows: a table that is higher than the terminal could not be updated."""
MAX_WIDTH = 140
STYLES = {
    "starting": "cyan",
    "running": "bold cyan",
    "waiting": "yellow",
    "completed": "green",
    "stopped": "blue",
    "failed": "bold red",
    "infeasible": "magenta",
}
"""State of a trial -> its style."""


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of numbers, right of the state and the name."""

    heading: str
    width: int
    cell: Callable[[TrialRecord], str]
    from_width: int = 0
    """Columns that the terminal must have."""


def _percent(record: TrialRecord) -> str:
    return "" if record.val_accuracy is None else f"{100 * record.val_accuracy:.2f} %"


def _count(name: str) -> Callable[[TrialRecord], str]:
    return lambda record: f"{record.counts[name]:,}" if name in record.counts else ""


COLUMNS = (
    _Column(heading="epochs", width=6, cell=lambda record: str(len(record.curve))),
    _Column(heading="validation", width=10, cell=_percent),
    _Column(heading="secs", width=8, cell=lambda record: f"{record.elapsed_secs:.1f}"),
    _Column(heading="parameters", width=12, cell=_count("num_parameters"), from_width=100),
    _Column(heading="node", width=28, cell=lambda record: record.node, from_width=140),
)
STATE_WIDTH = 10


def draw(
    records: Sequence[TrialRecord], status: Status, *, title: str, noun: str, width: int, height: int | None
) -> RenderableType:
    """Draw the table; the columns of a width stay where they are while the trials change.

    Args:
        records: The trials or repeats.
        status: Their summary.
        title: Title above the table.
        noun: `trials` or `repeats`.
        width: Columns of the terminal.
        height: Lines of the terminal; None for the last table, which has more rows.
    """
    from rich.align import Align
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    width = min(width, MAX_WIDTH)
    shown = [column for column in COLUMNS if column.from_width <= width]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("state", width=STATE_WIDTH)
    left = width - STATE_WIDTH - 2 - sum(column.width + 1 for column in shown)
    table.add_column(noun.removesuffix("s"), width=max(left, 8), no_wrap=True, overflow="ellipsis")
    for column in shown:
        table.add_column(column.heading, width=column.width, justify="right", no_wrap=True, overflow="ellipsis")
    rows = _rows(records, height)
    for record in rows:
        state = state_of(record)
        cells = [Text(printable(column.cell(record))) for column in shown]
        table.add_row(Text(state, style=STYLES[state]), Text(printable(record.label)), *cells)
    hidden = len(records) - len(rows)
    return Group(
        Text(printable(f"{title}: {_progress(status, noun)}"), style="bold"),
        _counts(status),
        # A bar alone does not end its line; the headings would follow on the same line.
        Align.left(ProgressBar(total=max(1, status.num_planned), completed=status.num_over, width=min(60, width))),
        table,
        *([Text(f"{'':{STATE_WIDTH + 1}}and {counted(hidden, 'other')}", style="dim")] if hidden else []),
        *([_nominee(records, status.nominee)] if noun == "trials" and status.nominee else []),
    )


def state_of(record: TrialRecord) -> str:
    """Return the state of a trial in one word; it is `starting` before its first epoch has ended."""
    if record.outcome is not None:
        return record.outcome.word
    if record.is_waiting:
        return "waiting"
    return "running" if record.curve else "starting"


def _rows(records: Sequence[TrialRecord], height: int | None) -> list[TrialRecord]:
    """Return the trials to show: those that run, the best completed ones, those that wait, and then the others."""
    running = [record for record in records if record.outcome is None and not record.is_waiting]
    paused = [record for record in records if record.is_waiting]
    paused.sort(key=lambda record: (len(record.curve), record.val_accuracy or 0.0), reverse=True)
    rows = [*running, *best_first(records), *paused]
    if height is not None:
        return rows[: max(1, min(NUM_ROWS, height - NUM_OTHER_LINES))]
    rows += sorted((record for record in records if isinstance(record.outcome, Stopped)), key=rank)
    others = [record for record in records if not isinstance(record.outcome, Completed | Stopped | None)]
    failed_last = sorted(others, key=lambda record: isinstance(record.outcome, Failed))
    return [*rows, *failed_last][:NUM_LAST_ROWS]


def _progress(status: Status, noun: str) -> str:
    parts = [f"{status.num_over}/{status.num_planned} {noun}"]
    if status.epochs_per_sec is not None:
        parts.append(f"{status.epochs_per_sec:.2f} epochs/s")
    if status.eta_secs:
        parts.append(f"ETA {duration(status.eta_secs)}")
    return ", ".join(parts)


def _counts(status: Status) -> Text:
    from rich.text import Text

    numbers = {
        "completed": status.num_completed,
        "stopped": status.num_stopped,
        "failed": status.num_failed,
        "infeasible": status.num_infeasible,
        "running": status.num_unfinished,
        "waiting": status.num_waiting,
    }
    always = {"completed", "failed"}
    parts = [
        Text(f"{number} {word}", style=STYLES[word] if number else "dim")
        for word, number in numbers.items()
        if number or word in always
    ]
    return Text(", ").join(parts)


def _nominee(records: Sequence[TrialRecord], best: TrialRecord) -> RenderableType:
    """Return the nominee's score and the parameters in which it differs from any other trial."""
    from rich.table import Table
    from rich.text import Text

    point = best.point
    varied = [name for name in point if any(other.point.get(name) != point[name] for other in records)] or list(point)
    values = ", ".join(f"{name} {_value(point[name])}" for name in varied)
    score = f"{_percent(best)} in {num_runs(len(best.blocks))}"
    line = Table.grid(padding=(0, 1))
    line.add_column(width=STATE_WIDTH)
    line.add_column(overflow="fold")
    line.add_row(Text("nominee", style="bold"), Text(printable(f"{best.label}: {score}")))
    line.add_row("", Text(printable(values)))
    return line


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
