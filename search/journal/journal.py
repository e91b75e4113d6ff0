"""Append-only journal of a study: one JSON line per event, written before any other store is updated.

The driver's whole state can be rebuilt from this file: proposals, epochs and outcomes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from search.errors import InputError, JournalError, StudyLockedError
from search.journal.commands import Answer, Command, answers_in, read_command, waiting_files, waiting_in
from search.journal.events import CUT, is_cut
from search.journal.reading import FILE_NAME, OF_TRIALS, draw_of, fold, id_of, read_id, replay
from search.records import (
    Draw,
    EpochMetrics,
    Outcome,
    TrialRecord,
    canonical,
    outcome_to_dict,
)
from search.storage.disk import MENDS, raising_storage_faults
from search.storage.locks import try_lock
from search.storage.remote_copy import Copy, NoCopy
from search.storage.working_copy import COMMANDS, LOCK

MAX_ANSWER = 500
"""Maximum number of characters of an answer to a command, which may name each of many settings."""


class Journal:
    """The journal of one study, open for writing by one process. Use as a context manager, from one thread at a time.

    The file is read once, on opening. Each method writes its event to the file before it updates the attributes below,
    from which the process that has the journal open answers every question about it.

    Args:
        folder: The study's folder.
        copy: Keeps a copy of the study on a remote store; None for no copy.

    Attributes:
        records: Every trial and repeat by key, in the order in which they started.
        draws: Rejected draws, twins and sampler attributes by number.
        marks: Events that belong to no trial or draw, in order: starts and stops of commands, comparisons, reports,
            and commands from other processes with their answers.
        id: Id of this journal in Optuna's study and in MLflow; empty before the first event.
        waited: Ids of the commands that waited when the journal was opened.

    Raises:
        StudyLockedError: Another process holds the journal; the message names that process.
        InputError: The journal is damaged.
        StoreError: The remote store refuses access, or holds another journal.
        StoreAwayError: The remote store cannot be reached.
    """

    def __init__(self, folder: Path, copy: Copy | None = None) -> None:
        self.path = folder / FILE_NAME
        self.copy = copy or NoCopy()
        self._lock = _lock(folder / LOCK)
        self.records: dict[str, TrialRecord] = {}
        self.draws: dict[int, Draw] = {}
        self.marks: list[Mapping[str, Any]] = []
        self.id = ""
        self._steps: list[tuple[str, str, int]] = []
        self._by_kind: dict[str, dict[str, TrialRecord]] = {}
        self._ended: dict[str, None] = {}
        """Keys of the records with an outcome, in the order in which they ended."""
        try:
            self.copy.open()
            self._read()
            self._open()
            self.waited = frozenset(command.id for command in waiting_in(folder))
        except BaseException:
            self.copy.close()
            self._lock.close()
            raise

    def _read(self) -> None:
        for event in replay(self.path, self.records):
            self._note_end(event)
            if event["event"] == "draw":
                draw = draw_of(event)
                self.draws[draw.number] = draw
            elif event["event"] not in OF_TRIALS:
                self.marks.append(event)
            elif event["event"] != "begin":
                epoch = event["metrics"]["epoch"] if event["event"] == "epoch" else 0
                self._steps.append((event["event"], self.records[event["key"]].key, epoch))
        for record in self.records.values():
            self._by_kind.setdefault(record.kind, {})[record.key] = record

    def _note_end(self, event: Mapping[str, Any]) -> None:
        if event["event"] in {"end", "resume"}:
            self._ended.pop(event["key"], None)
            if self.records[event["key"]].outcome is not None:
                self._ended[event["key"]] = None

    def _open(self) -> None:
        try:
            _end_cut_line(self.path)
            self.id = read_id(self.path.parent)
            self._stream = self.path.open("ab", buffering=0)
            self._file = os.fstat(self._stream.fileno())
        except OSError as error:
            raise self._unwritable(error) from None
        self._size = self._file.st_size

    def check(self) -> None:
        """Check that this process is still the study's driver and that the open file is the one at its path.

        Raises:
            JournalError: The study's folder was moved, removed or replaced.
            StudyLockedError: Another machine has taken over the study.
        """
        self.copy.check()
        try:
            there = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            there = None
        except OSError as error:
            raise self._unwritable(error) from None
        if there is None or not os.path.samestat(there, self._file):
            raise JournalError(
                f"{self.path}: it was moved, removed or replaced while this command wrote it; recorded results are "
                "kept: move the study's folder back, or run the command on its new place"
            )

    def of_kind(self, kind: str) -> list[TrialRecord]:
        """Return all records of a kind, `trial` or `repeat`, in the order in which they started."""
        return list(self._by_kind.get(kind, {}).values())

    def ended_of_kind(self, kind: str) -> list[TrialRecord]:
        """Return the records of a kind that have an outcome, in the order in which they ended."""
        return [record for key in self._ended if (record := self.records[key]).kind == kind]

    def num_of_kind(self, kind: str) -> int:
        """Return the number of records of a kind."""
        return len(self._by_kind.get(kind, ()))

    def take_steps(self) -> list[tuple[str, str, int]]:
        """Return and clear the steps of trainings found on opening, in recorded order.

        Returns:
            (event, key, epoch) of each `epoch`, `pause`, `resume` and `end`; the epoch is 0 except for `epoch`.
        """
        steps, self._steps = self._steps, []
        return steps

    def begin(self, record: TrialRecord) -> None:
        """Record a trial that is about to be trained for the first time."""
        self._write(
            {
                "event": "begin",
                "at": record.started_at,
                "key": record.key,
                "number": record.number,
                "label": record.label,
                "kind": record.kind,
                "point": dict(record.point),
                "blocks": list(record.blocks),
                **({"counts": dict(record.counts)} if record.counts else {}),
                **({"keep": record.keep} if record.keep != "last" else {}),
            }
        )

    def draw(self, draw: Draw) -> None:
        """Record a rejected draw, a twin, or the attributes that the sampler stores with a trial about to start.

        A later draw of the same number replaces it.
        """
        fields = {name: value for name, value in dataclasses.asdict(draw).items() if value}
        self._write({**fields, "event": "draw", "at": time.time(), "number": draw.number})
        self.draws[draw.number] = draw

    def pause(self, key: str) -> None:
        """Record that the scheduler pauses a trial, which then waits for its promotion."""
        self._write({"event": "pause", "at": time.time(), "key": key})

    def resume(self, key: str) -> None:
        """Record that an unfinished trial is resumed or promoted, or that one lost to a machine fault is retried."""
        self._write({"event": "resume", "at": time.time(), "key": key})

    def epoch(self, key: str, metrics: EpochMetrics, node: str, machine: Mapping[str, Any] | None = None) -> None:
        """Record one finished epoch, and the machine it was computed on if that changed.

        Args:
            key: Key of the training.
            metrics: Metrics of the epoch.
            node: Name of the node that computed it.
            machine: Hardware and software of the node; None if unknown.
        """
        event = {"event": "epoch", "at": time.time(), "key": key, "node": node, "metrics": dataclasses.asdict(metrics)}
        if machine and machine != self.records[key].machine:
            event["machine"] = dict(machine)
        self._write(event)

    def end(
        self,
        key: str,
        outcome: Outcome,
        *,
        test_accuracy: float | None = None,
        artifacts: Mapping[str, str] | None = None,
    ) -> None:
        """Record how a trial ended. When this returns, the event survives a power failure.

        Args:
            key: Key of the training.
            outcome: How it ended.
            test_accuracy: Test accuracy, from 0 to 1; None if it was not tested.
            artifacts: Name -> path of each file that the training wrote, relative to the study's folder.
        """
        event: dict[str, Any] = {"event": "end", "at": time.time(), "key": key, "outcome": outcome_to_dict(outcome)}
        if test_accuracy is not None:
            event["test_accuracy"] = test_accuracy
        if artifacts:
            event["artifacts"] = dict(artifacts)
        self._write(event)
        self._sync()

    def note(self, event: str, **fields: object) -> None:
        """Record an event that belongs to no trial, such as a start of a command. It survives a power failure."""
        mark = {"event": event, "at": time.time(), **fields}
        self._write(mark)
        self.marks.append(mark)
        self._sync()

    def waiting_commands(self, on_fault: Callable[[str], None]) -> list[Command]:
        """Return the commands that other processes sent and that have no answer yet, the oldest first.

        Args:
            on_fault: Receives one line per file that is no command; the file is deleted.
        """
        found = []
        for path in waiting_files(self.path.parent / COMMANDS):
            try:
                command = read_command(path)
            except InputError as error:
                on_fault(error.faults[0])
                self._forget_command(path.name)
                continue
            if any(event["id"] == command.id for event in answers_in(self.marks)):
                self._forget_command(path.name)  # the driver was killed after it had answered
            else:
                found.append(command)
        return found

    def answer(self, command: Command, answer: Answer) -> None:
        """Record a command with its answer, cut off after `MAX_ANSWER` characters, then delete its file."""
        given = {name: getattr(command, name) for name in ("trial", "trials", "point")}
        fields = {**{name: value for name, value in given.items() if value is not None}, **answer.fields}
        words = answer.words[:MAX_ANSWER]
        self.note("command", id=command.id, verb=command.verb, by=command.by, done=answer.done, answer=words, **fields)
        self._forget_command(command.file_name)

    def _forget_command(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.path.parent / COMMANDS / name).unlink(missing_ok=True)
        self.copy.drop(f"{COMMANDS}/{name}")

    def close(self) -> None:
        """Close the file and release the lock."""
        self._stream.close()
        try:
            self.copy.close()
        finally:
            self._lock.close()

    def __enter__(self) -> Journal:
        """Return the journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal."""
        self.close()

    def _write(self, event: dict[str, Any]) -> None:
        self.check()
        line = canonical(event).encode() + b"\n"
        try:
            written = self._stream.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._stream.fileno(), self._size)  # leave no partial line for the next writer
            raise self._unwritable(error) from None
        self._size += len(line)
        self.id = self.id or id_of(line)
        fold(self.records, event)
        self._note_end(event)
        record = self.records.get(event.get("key", ""))
        if record is not None:
            self._by_kind.setdefault(record.kind, {})[record.key] = record

    def _sync(self) -> None:
        try:
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> JournalError:
        mend = MENDS.get(error.errno or 0, "fix this")
        return JournalError(
            f"{self.path}: cannot be written ({error.strerror}); {mend}, then run the same command again"
        )


def _lock(path: Path) -> IO[str]:
    with raising_storage_faults(path):
        stream = path.open("a+", encoding="utf-8")
        try:
            is_ours = try_lock(stream)
        except OSError:
            stream.close()
            raise
    if not is_ours:
        stream.seek(0)
        owner = stream.read().strip() or "an unknown process"
        stream.close()
        raise StudyLockedError(f"{path.parent}: {owner} is working on this study; wait for it, or stop it first")
    with contextlib.suppress(OSError):  # on a full disk the lock still holds, without an owner's name
        os.ftruncate(stream.fileno(), 0)
        os.write(stream.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
    return stream


def _end_cut_line(path: Path) -> None:
    """Add a missing last line end; if a crash cut the line off, mark it so that readers skip it."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb+") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            stream.seek(0)
            tail = stream.read().rsplit(b"\n", 1)[-1]
            if is_cut(tail):
                stream.write(CUT)
            stream.write(b"\n")
