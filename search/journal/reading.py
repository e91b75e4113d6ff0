"""Read a study's journal: its events, and the records, draws and id that they add up to."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search.errors import InputError
from search.journal.events import MAX_LINE_BYTES, is_cut, lines_of, parse_line, plain_line
from search.records import (
    Draw,
    EpochMetrics,
    Failed,
    TrialRecord,
    changed,
    outcome_from_dict,
)
from search.storage.disk import is_storage_fault
from search.storage.working_copy import JOURNAL

FILE_NAME = JOURNAL


OF_TRIALS = {"begin", "resume", "pause", "epoch", "end"}


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal in order. A last line that a crash cut off is skipped.

    Raises:
        InputError: A line is no valid event: the file is damaged, not just cut off.
    """
    return (event for _, event in read_lines(path))


def replay(path: Path, records: dict[str, TrialRecord]) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal in order, each after it has been applied to the records.

    Args:
        path: The journal.
        records: Records by key; updated in place.

    Raises:
        InputError: A line is no valid event, or does not fit the lines before it.
    """
    for where, event in read_lines(path):
        fold(records, event, where)
        yield event


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event with its place, `file:line`."""
    if not path.is_file():
        return
    for number, line in enumerate(lines_of(path), start=1):
        if not line.endswith(b"\n") and is_cut(line):  # a crash cuts only the last line; the next start marks it
            continue
        where = f"{path}:{number}"
        event = parse_line(line, where)
        if event is not None:
            yield where, event


def fold(records: dict[str, TrialRecord], event: Mapping[str, Any], where: str = FILE_NAME) -> None:
    """Apply one event to the records.

    Args:
        records: Records by key; updated in place.
        event: The event, as `parse_line` returned it or as it was written.
        where: File and line, for error messages.

    Raises:
        InputError: The event's trial was never started, or lines are missing: the journal is damaged.
    """
    try:
        _fold(records, event)
    except (KeyError, TypeError, ValueError) as error:
        why = f"trial {error.args[0]!r} was never started" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{where}: {event['event']}: {why}; the journal was damaged, restore it from a copy") from None


def _fold(records: dict[str, TrialRecord], event: Mapping[str, Any]) -> None:
    kind = event["event"]
    if kind == "begin":
        records.setdefault(
            event["key"],
            TrialRecord(
                key=event["key"],
                number=event["number"],
                label=event["label"],
                kind=event["kind"],
                point=event["point"],
                blocks=tuple(event["blocks"]),
                curve=(),
                outcome=None,
                started_at=event["at"],
                finished_at=None,
                node="",
                counts=event.get("counts", {}),
                keep=event.get("keep", "last"),
            ),
        )
    elif kind == "epoch":
        record = records[event["key"]]
        metrics = EpochMetrics.from_dict(event["metrics"])
        # After a crash between checkpoint and journal an epoch is recorded again; the later record replaces it.
        known = record.curve
        if known and known[-1].epoch >= metrics.epoch:
            known = tuple(item for item in known if item.epoch < metrics.epoch)
        if metrics.epoch != len(known) + 1:
            msg = f"epoch {metrics.epoch} of trial {record.key} follows epoch {len(known)}; lines are missing"
            raise ValueError(msg)
        curve = (*known, metrics)
        machine = event.get("machine") or record.machine
        records[record.key] = changed(record, {"curve": curve, "node": event["node"], "machine": machine})
    elif kind == "resume":
        record = records[event["key"]]
        if record.is_waiting:  # its promotion
            records[record.key] = changed(record, {"is_waiting": False})
        else:
            records[record.key] = changed(record, {"resumed": record.resumed + 1, "outcome": None, "finished_at": None})
    elif kind == "pause":
        record = records[event["key"]]
        records[record.key] = changed(record, {"is_waiting": True})
    elif kind == "end":
        record = records[event["key"]]
        outcome = outcome_from_dict(event["outcome"])
        if isinstance(outcome, Failed) and not outcome.diverged and is_storage_fault(outcome.reason):
            return  # earlier versions recorded a fault of the machine as the trial's failure: resume it
        end = {"outcome": outcome, "finished_at": event["at"], "test_accuracy": event.get("test_accuracy")}
        end["is_waiting"] = False
        records[record.key] = changed(record, end | {"artifacts": event.get("artifacts", {})})


@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """Content of a journal at the time it was read."""

    records: Mapping[str, TrialRecord]
    """Trials and repeats by key, in the order in which they started."""
    marks: tuple[Mapping[str, Any], ...]
    """Events that belong to no trial: starts and stops of commands, comparisons, reports, draws."""


def read_history(folder: Path) -> History:
    """Read a study's journal. The result is cached until the file changes."""
    path = folder / FILE_NAME
    if not path.is_file():
        return History(records={}, marks=())
    found = path.stat()
    return _read_history(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=1)
def _read_history(path: Path, _: tuple[int, ...]) -> History:
    records: dict[str, TrialRecord] = {}
    marks = tuple(event for event in replay(path, records) if event["event"] not in OF_TRIALS)
    return History(records=records, marks=marks)


def draw_of(event: Mapping[str, Any]) -> Draw:
    """Return the `Draw` of a `draw` event."""
    names = [item.name for item in dataclasses.fields(Draw)]
    return Draw(**{name: event[name] for name in names if name in event})


def read_draws(folder: Path) -> dict[int, Draw]:
    """Read a study's draws by number: rejected draws, twins, and attributes that the sampler stores with a trial."""
    events = read_events(folder / FILE_NAME)
    return {draw.number: draw for draw in (draw_of(event) for event in events if event["event"] == "draw")}


def read_records(folder: Path) -> dict[str, TrialRecord]:
    """Read all trials and repeats of a study, by key, in the order in which they started."""
    return dict(read_history(folder).records)


def id_of(first_line: bytes) -> str:
    """Return the id of a journal, a digest of its first line; empty if that line is incomplete.

    The id does not depend on the journal's path.
    """
    if not first_line.endswith(b"\n"):
        return ""
    return hashlib.sha256(plain_line(first_line) + b"\n").hexdigest()[:16]


def read_id(folder: Path) -> str:
    """Read the id of a study's journal; empty before its first line is complete."""
    path = folder / FILE_NAME
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return id_of(stream.readline(MAX_LINE_BYTES))
