"""The text that `status` prints: a few lines, or with `--verbose` everything with its statistics."""

from __future__ import annotations

from collections.abc import Iterator

from search.console.counts import duration, infeasible, waiting
from search.console.measures import show_measure
from search.console.next_steps import next_lines
from search.console.scores import expected_line, percent, score_rows
from search.journal.fronts import Front
from search.journal.measures import value_of
from search.journal.selection import ConfirmedScore, Selection
from search.report.overview import Overview
from search.text.counted import counted, num_runs

NUM_FAILURES = 3
"""Number of reasons of failures in the short form."""


def to_lines(overview: Overview, study: str | None = None, *, is_verbose: bool = False) -> list[str]:
    """Return the state of a study as lines of text.

    Args:
        overview: The state.
        study: The study file or folder as the user gave it, for the commands to run next; None for its folder.
        is_verbose: Whether to add the scores, the first trials, the race, the verdicts and what earlier studies gave.
    """
    return [
        *_counts(overview, is_verbose=is_verbose),
        *(_scores(overview) if is_verbose else _nominee(overview)),
        *(_front_lines(overview.front) if overview.front else ()),
        *(_repeats(overview)),
        *(f"race        {sentence}" for sentence in overview.race if is_verbose),
        *(f"verdict     {sentence}" for sentence in overview.verdicts if is_verbose),
        *([f"decision    {overview.decision}"] if overview.decision else []),
        *(f"command     {line}" for line in overview.commands),
        *_next(overview, study),
    ]


def _counts(overview: Overview, *, is_verbose: bool) -> Iterator[str]:
    status = overview.status
    yield f"study       {overview.study} ({overview.folder})"
    yield (
        f"trials      {status.num_over}/{status.num_planned}: {status.num_completed} completed, "
        f"{status.num_stopped} stopped, {status.num_failed} failed, "
        f"{infeasible(status)}{status.num_unfinished} unfinished{waiting(status)}"
    )
    if is_verbose:
        yield f"epochs      {status.num_epochs} in {duration(overview.training_secs)} of training"
    if overview.ended:
        yield f"ended       no new trial begins: {overview.ended}"
    if is_verbose:
        yield from (f"{'' if place else 'earlier':12}{line}" for place, line in enumerate(overview.earlier))
    if status.eta_secs:
        yield f"ETA         {duration(status.eta_secs)}"
    shown = status.failures if is_verbose else status.failures[:NUM_FAILURES]
    yield from (f"failure     {count} x {reason}" for reason, count in shown)
    if left := len(status.failures) - len(shown):
        yield f"            {counted(left, 'further reason')}; --verbose lists all"


def _nominee(overview: Overview) -> Iterator[str]:
    """Yield the nominee with its scores, and the configuration that is exported if that is another."""
    selection, choice = overview.selection, overview.choice
    if selection:
        yield f"nominee     {selection.name}: {selection.state}"
        yield from (f"            {score}" for score in _short_scores(selection))
    if choice and not (selection and (choice.name, choice.state) == (selection.name, selection.state)):
        yield f"export      {choice.name}: {choice.state}"
    if choice:
        yield from (f"note        {note}" for note in choice.notes)


def _short_scores(selection: Selection) -> Iterator[str]:
    if selection.selection_score is not None:
        yield f"validation {percent(selection.selection_score)} ({num_runs(selection.num_blocks)}, selected for it)"
    if selection.confirmed_score:
        yield f"test {_mean(selection.confirmed_score)}"


def _mean(score: ConfirmedScore) -> str:
    if score.interval is None:
        return f"{percent(score.mean)} ({'one run' if score.num_repeats == 1 else f'{score.num_repeats} repeats'})"
    low, high = 100 * score.interval.low, 100 * score.interval.high
    return f"{percent(score.mean)} ({low:.2f} to {high:.2f}, {score.num_repeats} fresh repeats)"


def _scores(overview: Overview) -> Iterator[str]:
    selection, choice = overview.selection, overview.choice
    if selection:
        yield f"nominee     {selection.name}: {selection.state}"
        yield from (f"            {name:22}{score:>8}  {words}" for name, score, words in score_rows(selection))
        if selection.expected_highest:
            yield f"            {expected_line(selection.expected_highest)}"
    if choice:
        yield f"export      {choice.name}: {choice.state}"
        yield from (f"note        {note}" for note in choice.notes)
    rows = [
        f"            {100 * record.val_accuracy:6.2f} %  {record.label}, {counted(len(record.curve), 'epoch')}"
        for record in overview.nominated
        if record.val_accuracy is not None
    ]
    if rows:
        yield f"nominated   by validation accuracy of {num_runs(len(overview.nominated[0].blocks))} each"
        yield from rows


def _front_lines(front: Front) -> Iterator[str]:
    """Yield the front as a table whose rows fit 80 columns unless labels are long."""
    aims = ", ".join(f"{name} {direction}" for name, direction in front.objectives.items())
    yield f"front       {counted(len(front.trials), 'trial')} on the Pareto front of {aims}"
    rows = [[show_measure(name, value_of(record, name)) for name in front.objectives] for record in front.trials]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for record, cells in zip(front.trials, rows, strict=True):
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"            {numbers}  {record.label}{' (knee)' * (record is front.knee and len(front.trials) > 2)}"
    if front.hypervolumes and front.hypervolumes[-1][1] > 0:
        yield f"            hypervolume {front.hypervolumes[-1][1]:.3f}"


def _repeats(overview: Overview) -> Iterator[str]:
    if any(overview.repeats.values()):
        yield f"repeats     {', '.join(f'{count} {word}' for word, count in overview.repeats.items())}"


def _next(overview: Overview, study: str | None) -> list[str]:
    """Return the commands to run next; `sweep` needs the study file."""
    steps = [step for step in overview.next_steps if step != "sweep" or (study or "").endswith((".yaml", ".yml"))]
    return next_lines(steps, study or overview.folder)
