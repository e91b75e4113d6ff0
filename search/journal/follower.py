"""Read a growing journal incrementally and derive what its copies show: states, progress and changed records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.journal.events import parse_line
from search.journal.reading import FILE_NAME, draw_of, fold, id_of
from search.journal.summary import nominee
from search.records import Completed, Draw, Failed, Infeasible, Stopped, TrialRecord

PARENTS = {"trial": "sweep", "repeat": "compare"}
"""Kind of record -> command that made it, which is also the key of its parent run."""
UNFINISHED, RUNNING, WAITING = "unfinished", "running", "waiting"
"""States of a record without an outcome: the driver has exited, is training it, or lets it wait for its promotion."""


class Follower:
    """State of a study's journal, updated by `read`, with the keys that changed since the reader last cleared them.

    Not thread-safe. Callers own `changed`, `changed_draws` and `changed_parents`: they remove what they have processed.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._offset = self._num_lines = 0
        self.journal_id = ""
        """Digest of the first line; distinguishes studies of the same name in one experiment."""
        self.records: dict[str, TrialRecord] = {}
        self.draws: dict[int, Draw] = {}
        """Rejected draws, twins and sampler attributes by number."""
        self.left: dict[str, TrialRecord] = {}
        """The records at the latest start of a driver."""
        self.ended: dict[str, dict[str, None]] = {kind: {} for kind in PARENTS}
        """Kind -> keys, in the order in which the trainings ended."""
        self.epoch_ms: dict[str, dict[int, int]] = {}
        self.sessions: dict[str, Mapping[str, Any]] = {}
        """Command -> its latest `session` event."""
        self.data: Mapping[str, Any] | None = None
        self.classes: tuple[str, ...] = ()
        self.comparisons: list[Mapping[str, Any]] = []
        """`comparison` events in order, each with the `session` event of its command."""
        self.report: Mapping[str, Any] | None = None
        """The latest `report` event: the HTML page of the study."""
        self.first_ms = self.last_ms = 0
        """Times of the first and the latest event."""
        self.command_ms: dict[str, int] = {}
        """Command -> time of its latest event."""
        self.changed: dict[str, None] = {}
        """Keys of changed records; the reader removes each one that it has processed."""
        self.changed_draws: dict[int, None] = {}
        """Numbers of changed draws, likewise."""
        self.changed_parents: set[str] = set()
        """Commands whose parent run changed, likewise."""
        self._live: str | None = None
        self._active: set[str] = set()
        self._waiting: dict[str, dict[str, None]] = {kind: {} for kind in PARENTS}
        """Kind -> keys of records without an outcome."""
        self._progress = {kind: _Progress() for kind in PARENTS}

    def read(self) -> None:
        """Read all complete new lines. A line that is still being written is read by a later call.

        Raises:
            InputError: The journal is damaged.
        """
        if not self._path.is_file():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read()
        for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
            if not self.journal_id:
                self.journal_id = id_of(line)
            self._num_lines += 1
            where = f"{self._path}:{self._num_lines}"
            event = parse_line(line, where)
            if event is not None:
                self._take(event, where)
            self._offset += len(line)

    def _take(self, event: dict[str, Any], where: str) -> None:
        fold(self.records, event, where)
        kind = event["event"]
        self.first_ms = self.first_ms or to_ms(event["at"])
        self.last_ms = max(self.last_ms, to_ms(event["at"]))
        if self._live and kind != "session":
            self.command_ms[self._live] = to_ms(event["at"])
        if kind in {"session", "stop"}:
            self.leave()
        if kind == "session":
            command = "compare" if event["verb"] == "compare" else "sweep"
            self._live = command
            self.command_ms[command] = to_ms(event["at"])
            self.left = dict(self.records)
            self.sessions[command] = event
            self.data = event.get("data") or self.data
            self.classes = tuple(event.get("classes") or self.classes)
            self.changed_parents.add(command)
        elif kind == "comparison":
            self.comparisons.append({**event, "session": self.sessions.get("compare", {})})
        elif kind == "report":
            self.report = event
        elif kind == "draw":
            draw = draw_of(event)
            self.draws[draw.number] = draw
            self.changed_draws[draw.number] = None
        elif kind in {"begin", "resume", "pause", "epoch", "end"}:
            key = event["key"]
            record = self.records[key]
            self._touch(record)
            self._active.add(key)
            if kind == "epoch":
                self.epoch_ms.setdefault(key, {})[event["metrics"]["epoch"]] = to_ms(event["at"])
            elif record.outcome is not None:
                self._waiting[record.kind].pop(key, None)
                self._progress[record.kind].take(record, is_new=key not in self.ended[record.kind])
                self.ended[record.kind][key] = None
            else:
                self._waiting[record.kind][key] = None

    def _touch(self, record: TrialRecord) -> None:
        self.changed[record.key] = None
        self.changed_parents.add(PARENTS[record.kind])

    def leave(self) -> None:
        """Record that the driver has exited: unfinished records are no longer running."""
        if self._live:
            self.changed_parents.add(self._live)
        self._live = None
        self._active.clear()
        for key in (key for keys in self._waiting.values() for key in keys):
            self._touch(self.records[key])

    def of_kind(self, kind: str) -> list[TrialRecord]:
        """Return all records of a kind, `trial` or `repeat`, in the order in which they started."""
        return [record for record in self.records.values() if record.kind == kind]

    def state_of(self, record: TrialRecord) -> tuple[str, str]:
        """Return MLflow's status of a record's run and this project's word for its state.

        A trial that the scheduler stopped is FINISHED, not FAILED; its word is `stopped`.
        """
        if record.outcome is not None:
            return "FAILED" if isinstance(record.outcome, Failed) else "FINISHED", record.outcome.word
        if record.key not in self._active:
            return "KILLED", UNFINISHED
        return "RUNNING", WAITING if record.is_waiting else RUNNING

    def parent_status(self, command: str) -> str:
        """Return MLflow's status of a command's parent run: RUNNING, KILLED or FINISHED.

        Args:
            command: `sweep` or `compare`.
        """
        waiting = next(self._waiting[kind] for kind, parent in PARENTS.items() if parent == command)
        if self._live == command or any(key in self._active for key in waiting):
            return "RUNNING"
        return "KILLED" if waiting else "FINISHED"

    @property
    def nominee(self) -> TrialRecord | None:
        """The trial that the sweep nominates so far, by the rule of `summary.nominee`; None if there is none."""
        return self._progress["trial"].nominee

    def progress(self, kind: str) -> list[tuple[int, dict[str, float]]]:
        """Return counts of outcomes and the nominee's validation accuracy after each training that ended.

        Args:
            kind: `trial` or `repeat`.

        Returns:
            (milliseconds since 1970, values), in the order in which the trainings ended.
        """
        return self._progress[kind].steps


class _Progress:
    """Running counts of outcomes and the nominee, updated once per training that ends."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.nominee: TrialRecord | None = None
        self._best = -math.inf
        outcomes = (Completed, Stopped, Failed, Infeasible)
        self._counts: dict[str, float] = {f"num_{outcome.word}": 0 for outcome in outcomes}
        self._ends: dict[str, str] = {}

    def take(self, record: TrialRecord, *, is_new: bool) -> None:
        """Count a training that ended. One that was retried corrects the counts and adds no step."""
        assert record.outcome is not None
        if record.key in self._ends:
            self._counts[f"num_{self._ends[record.key]}"] -= 1
        self._ends[record.key] = record.outcome.word
        self._counts[f"num_{record.outcome.word}"] += 1
        # Incremental, because a nominated trial is never retried.
        self.nominee = nominee([record] if self.nominee is None else [self.nominee, record])
        is_candidate = record.kind == "trial" and isinstance(record.outcome, Completed)
        if is_candidate and record.val_accuracy is not None and record.val_accuracy > self._best:
            self._best = record.val_accuracy
        if is_new:
            nominated = {"nominated_val_accuracy": self._best} if self._best > -math.inf else {}
            values = {**self._counts, **nominated, "num_finished": float(len(self.steps) + 1)}
            self.steps.append((to_ms(record.finished_at or 0.0), values))


def to_ms(at: float) -> int:
    """Return milliseconds since 1970, MLflow's unit, from seconds.

    >>> to_ms(1.5)
    1500
    """
    return round(at * 1000)
