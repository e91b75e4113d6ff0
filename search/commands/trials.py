"""The `trials` command: every trial of a sweep with its state, scores, counts and parameters."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.commands.where import Cell, check_name, parse_where, select
from search.console.tables import Rows, print_tables
from search.errors import StudyError
from search.journal.measures import MEASURES, Measure, value_of
from search.journal.reading import read_history
from search.records import Stopped, TrialRecord
from search.storage.disk import raising_storage_faults, write_bytes
from search.study.bind import DataFacts, bind, facts_in
from search.study.config import StudyConfig
from search.study.goals import count
from search.study.own_model import is_built_in
from search.text.counted import counted
from search.training.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table of trials."""

    name: str
    """Name in the table, in CSV and JSON, in `--where` and `--sort`."""
    value: Callable[[TrialRecord, TrialSpec | None], Cell]
    """From a trial's record, and its specification if that can be made."""
    shown: Callable[[Any], str] = str
    """Format of a value in the table; CSV and JSON have the value itself."""
    highest_first: bool = False
    """Order of `--sort`."""


def _measured(measure: Measure) -> Column:
    """Return the column of a measure; the counts of trials that did not record them are those of their settings."""

    def value(record: TrialRecord, spec: TrialSpec | None) -> Cell:
        known = value_of(record, measure.name)
        return count(spec.model).get(measure.name) if known is None and spec is not None else known

    shown = {"score": "{:.4f}", "count": "{:,}", "cost": "{:.4g}"}[measure.kind]
    return Column(name=measure.name, value=value, shown=shown.format, highest_first=measure.direction == "max")


def state_of(record: TrialRecord) -> str:
    """Return the state of a trial in one word, or as `stopped by hand` or `stopped by budget`.

    A waiting trial waits for its promotion.
    """
    if record.outcome is None:
        return "waiting" if record.is_waiting else "unfinished"
    match record.outcome:
        case Stopped(by_hand=True):
            return "stopped by hand"
        case Stopped(reason=str(reason)) if reason:
            return "stopped by budget"
    return record.outcome.word


COLUMNS = (
    Column(name="number", value=lambda record, _: record.number),
    Column(name="state", value=lambda record, _: state_of(record)),
    Column(name="epochs", value=lambda record, _: len(record.curve)),
    *map(_measured, MEASURES.values()),
    Column(name="secs", value=lambda record, _: record.elapsed_secs, shown=lambda value: f"{value:.1f}"),
)
"""The columns that every study has; those of its parameters follow. A new measure is one more row of `MEASURES`."""
ALWAYS = {"number", "state", "epochs", "val_accuracy", "num_parameters", "sequential_steps", "secs"}
"""Columns that are there also if no trial has a value; the printed table has, beside them, the study's goals."""


@dataclass(frozen=True, kw_only=True)
class TrialTable:
    """The trials of a study as rows."""

    study: str
    num_trials: int
    """Number of trials before `--where`."""
    columns: tuple[Column, ...]
    """Columns with a value in any trial of the study."""
    goals: frozenset[str]
    """Names of the objectives and limits of the study."""
    varied: frozenset[str]
    """Names of the parameters that vary; the others are left out of the printed table."""
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...]
    """Remarks on the filter, and on counts that are not known."""


def make_table(study: StudyConfig, *, where: str | None = None, sort: str | None = None) -> TrialTable:
    """Return the trials of a study as rows.

    Args:
        study: The study.
        where: Filter, as `parse_where` reads it; None for all trials.
        sort: Name of the column to sort by, with a leading `-` for the reverse order; None: by number. Measures of
            which higher values are better are sorted highest first, everything else lowest first.

    Raises:
        InputError: The filter or the column is wrong.
    """
    tests = parse_where(where) if where is not None else ()
    history = read_history(study.folder)
    trials = [record for record in history.records.values() if record.kind == "trial"]
    columns = (*COLUMNS, *map(_parameter, _parameter_names(study, trials)))
    names = [column.name for column in columns]
    if sort is not None:
        check_name("--sort", sort.removeprefix("-"), names)
    facts = facts_in(history)
    specs = _specs(study, [record for record in trials if not record.counts], facts)
    rows: list[Mapping[str, Cell]] = [
        {column.name: column.value(record, specs.get(record.key)) for column in columns} for record in trials
    ]
    num_trials = len(rows)
    empty = {name for name in names if name in MEASURES and all(row[name] is None for row in rows)} - ALWAYS
    are_unknown = facts is None and any(row["num_parameters"] is None for row in rows)
    rows, notes = select(rows, tests, names)
    if are_unknown and not study.is_own:
        notes.append("num_parameters, sequential_steps: not known, as the journal does not have the size of the images")
    rows.sort(key=lambda row: row["number"])  # type: ignore[arg-type, return-value]
    if sort is not None:
        rows = _sorted(rows, next(column for column in columns if column.name == sort.removeprefix("-")), sort)
    return TrialTable(
        study=study.name,
        num_trials=num_trials,
        columns=tuple(column for column in columns if column.name not in empty),
        goals=frozenset((*study.search.objectives, *study.search.limits)),
        varied=frozenset(study.build_space().free),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _parameter_names(study: StudyConfig, trials: Sequence[TrialRecord]) -> list[str]:
    declared = [parameter.name for parameter in study.build_space().parameters]
    return list(dict.fromkeys([*declared, *(name for record in trials for name in record.point)]))


def _parameter(name: str) -> Column:
    return Column(
        name=name,
        value=lambda record, _: record.point.get(name),
        shown=lambda value: str(value).lower() if isinstance(value, bool) else _short(value),
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _specs(study: StudyConfig, trials: Sequence[TrialRecord], facts: DataFacts | None) -> dict[str, TrialSpec]:
    specs: dict[str, TrialSpec] = {}
    if facts is None:
        return specs
    for record in trials:
        if not is_built_in(study, record.point):
            continue  # counting its model would run the user's code
        try:
            specs[record.key] = bind(study, record.point, facts, ())
        except StudyError:  # a point of an earlier version; its other columns are shown
            continue
    return specs


def _sorted(rows: list[Mapping[str, Cell]], column: Column, sort: str) -> list[Mapping[str, Cell]]:
    """Sort rows by a column; those without a value come last."""
    have = [row for row in rows if row[column.name] is not None]
    lack = [row for row in rows if row[column.name] is None]

    def key(row: Mapping[str, Cell]) -> tuple[bool, Any]:
        value = row[column.name]
        return isinstance(value, str), value

    return [*sorted(have, key=key, reverse=column.highest_first != sort.startswith("-")), *lack]


def repeat_rows(study: StudyConfig) -> tuple[list[str], list[dict[str, Cell]]]:
    """Return the columns and rows of a study's repeats, in the order in which they started.

    Args:
        study: The study.

    Returns:
        Names of the columns, and one mapping per repeat with the point's parameters; those it lacks are missing.
    """
    records = [record for record in read_history(study.folder).records.values() if record.kind == "repeat"]
    rows: list[dict[str, Cell]] = []
    for record in records:
        block = record.blocks[0] if record.blocks else ""
        rows.append(
            {
                "configuration": record.label.removesuffix(f", {block}"),
                "block": block,
                "state": state_of(record),
                "test_accuracy": record.test_accuracy,
                "val_accuracy": record.val_accuracy,
                "epochs": len(record.curve),
                "secs": record.elapsed_secs,
                "num_parameters": record.counts.get("num_parameters"),
                **record.point,
            }
        )
    first = ["configuration", "block", "state", "test_accuracy", "val_accuracy", "epochs", "secs", "num_parameters"]
    return list(dict.fromkeys([*first, *(name for row in rows for name in row)])), rows


def write_csv(table: TrialTable, path: Path) -> None:
    """Write the rows to a CSV file with all columns; a cell without a value is empty.

    A link stays, and the file that it points to is written. A device or pipe, such as /dev/stdout, is written as it is.

    Raises:
        StorageFaultError: The file cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_plain(row[column.name]) for column in table.columns] for row in table.rows)
    content = stream.getvalue().encode()
    if path.exists() and not path.is_file():
        with raising_storage_faults(path):
            path.write_bytes(content)
        return
    write_bytes(path.resolve(), content)


def _plain(value: Cell) -> Cell:
    return str(value).lower() if isinstance(value, bool) else value


def to_dict(table: TrialTable) -> dict[str, Any]:
    """Return the table as plain data for `--json`."""
    rows = [{column.name: row[column.name] for column in table.columns} for row in table.rows]
    return {"study": table.study, "num_trials": table.num_trials, "trials": rows}


def to_lines(table: TrialTable) -> list[str]:
    """Return the table as lines of text, with the parameters that vary."""
    kept = ALWAYS | table.goals | table.varied
    shown = [column for column in table.columns if column.name in kept]
    rows: Rows = [tuple(column.name for column in shown)]
    rows += [tuple(_cell(column, row[column.name]) for column in shown) for row in table.rows]
    found = counted(len(table.rows), "trial")
    last = found if len(table.rows) == table.num_trials else f"{found} of {table.num_trials:,}"
    remarks = [*(f"note: {note}" for note in table.notes), last]
    if not table.rows:
        return remarks
    droppable = [column.name for column in reversed(shown) if column.name in table.varied | (table.goals - ALWAYS)]
    return print_tables([rows], remarks, least_first=[*droppable, "secs", "sequential_steps"]).splitlines()


def _cell(column: Column, value: Cell) -> str:
    return "-" if value is None else column.shown(value)
