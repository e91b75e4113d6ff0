"""Dispatcher: hands trainings to a runner and records their progress and outcomes, in the journal first."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from search.console.messages import warn
from search.errors import DivergedError, InputError, InterruptedStudyError
from search.journal.commands import Answer, Command
from search.journal.journal import Journal
from search.records import Completed, Failed, Infeasible, Outcome, Progress, Stopped, TrialRecord, TrialResult
from search.runners.assignment import Assignment
from search.storage.disk import raising_storage_faults
from search.storage.working_copy import ARRAYS
from search.study.goals import count
from search.training.files import CHECKPOINTS
from search.training.spec import TrialSpec
from search.uris import redacted

if TYPE_CHECKING:
    pass

TRIALS = "trials"
"""Name of the folder, inside the study's, that contains one folder per trial and repeat."""
LOOK_SECS = 0.5
"""Shortest interval between two looks for commands from other processes."""


class Dispatcher(ABC):
    """Hands assignments to a runner and records their results. Subclasses decide what is proposed and stopped.

    A runner calls `next` until it returns None, and again after each training that ends or pauses. For each assignment
    it calls `report` after each epoch and `tick` within epochs, and closes the training once one of them returns False.
    A training that raises goes to `diverge` or `fail`, but any HybridSearchError other than DivergedError ends the run.
    It calls `obey` before `next` and at least every few seconds. Not thread-safe: one thread at a time, except
    `interrupt`, which a signal handler may call at any time.

    Args:
        journal: The open journal of the study; the caller closes it.
        folder: The study's folder.
        kind: Kind of the records that this dispatcher owns: `trial` or `repeat`.
        deadline: Value of `time.monotonic()` after which no training starts and running ones are closed, to be resumed.
        on_change: Called after each change, for display.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        folder: Path,
        kind: str,
        deadline: float | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._folder = folder
        self._kind = kind
        self._deadline = deadline
        self._on_change = on_change
        self.interrupted: str | None = None
        """Name of the signal or key that requested an early end; None if there was none."""
        self.specs: dict[str, TrialSpec] = {}
        self._closed: list[str] = []
        """Keys of trainings that were stopped by hand and that the runner has closed, whose files are still there."""
        self._look_again = 0.0
        with raising_storage_faults(folder):
            (folder / TRIALS).mkdir(exist_ok=True)
        self._unfinished = [record for record in self.records if record.outcome is None and not record.is_waiting]
        for record in self.records:
            self._tidy(record)

    def _tidy(self, record: TrialRecord) -> None:
        """Delete the files that a training with a final outcome no longer needs."""
        folder = self.folder_of(record.key)
        if folder.is_symlink():
            raise InputError(
                f"{folder}: expected a folder, found a link; remove it, as only files inside the study are deleted"
            )
        if record.outcome is None or self.is_tried_again(record):
            return
        if isinstance(record.outcome, Completed) or record.artifacts:
            for name in CHECKPOINTS:
                (folder / name).unlink(missing_ok=True)
                self._journal.copy.drop(f"{TRIALS}/{record.key}/{name}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
            self._journal.copy.drop(f"{TRIALS}/{record.key}/")

    @property
    def records(self) -> list[TrialRecord]:
        """All records of this kind, in the order in which they started."""
        return self._journal.of_kind(self._kind)

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is used up."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def stopping(self) -> bool:
        """Whether no training may start and running ones are closed; each can be resumed later."""
        return self.interrupted is not None or self.out_of_time

    def interrupt(self, why: str) -> None:
        """Request an early end. May be called from a signal handler.

        Args:
            why: Name of the signal or key, for the message to the user: `SIGTERM`.
        """
        self.interrupted = why

    def check_interrupted(self) -> None:
        """Raise if the dispatcher was interrupted. Runners call this after all trainings are closed.

        Raises:
            InterruptedStudyError: The dispatcher was interrupted.
        """
        if self.interrupted is not None:
            raise InterruptedStudyError(
                f"interrupted by {self.interrupted}; everything is saved, run the same command again to continue"
            )

    def obey(self) -> bool:
        """Carry out the commands that other processes have sent, and answer each in the journal.

        Returns:
            Whether one was carried out, so that `next` may return trainings again.
        """
        now = time.monotonic()
        if now < self._look_again:
            return False
        self._look_again = now + LOOK_SECS
        is_done = False
        for command in self._journal.waiting_commands(warn):
            answer = self.carry_out(command)
            if answer is not None:
                self._journal.answer(command, answer)
                self.on_answer(command, answer)
                is_done |= answer.done
        if is_done:
            self._on_change()
        return is_done

    def carry_out(self, command: Command) -> Answer | None:
        """Carry out a command from another process.

        Returns:
            The answer; None if the command is for another dispatcher, and waits for it.
        """
        if command.verb != "pause":
            return None
        if command.id in self._journal.waited:  # its time is not compared, as the sender's clock may be wrong
            return Answer(done=False, words="sent before this start, which ended the pause; send it again")
        self.interrupt("`hybrid-search pause`")
        return Answer(done=True, words="saving the running trials; run the same command again to continue")

    def on_answer(self, command: Command, answer: Answer) -> None:  # noqa: B027  optional
        """Process a command that has just been answered in the journal."""

    def is_over(self, key: str) -> bool:
        """Return whether a training has an outcome."""
        return self._journal.records[key].outcome is not None

    @abstractmethod
    def rebuild(self, record: TrialRecord) -> TrialSpec:
        """Return the spec of an unfinished training, identical to the one that it started with."""

    @abstractmethod
    def propose(self) -> tuple[TrialSpec, TrialRecord] | None:
        """Return the spec and record of the next new training; None if there is none."""

    def may_continue(self, record: TrialRecord) -> bool:  # noqa: ARG002
        """Return whether a training may continue after its latest epoch; if not, it pauses or is stopped."""
        return True

    def pause_after(self, record: TrialRecord) -> int | None:  # noqa: ARG002
        """Return the epoch at which a training pauses next, if it reaches it; None if it does not pause."""
        return None

    def promote(self, *, is_last: bool = False) -> TrialRecord | None:  # noqa: ARG002
        """Return a training that pauses and is to be resumed now; None if there is none.

        Args:
            is_last: Whether no new training can begin.
        """
        return None

    def over_budget(self, record: TrialRecord) -> str:  # noqa: ARG002
        """Return which budget lets a training have no further epoch, in words; empty if none does."""
        return ""

    def exceeds_limit(self, record: TrialRecord) -> Infeasible | None:  # noqa: ARG002
        """Return the outcome of a training if its latest epoch exceeds a limit of the study, else None."""
        return None

    def is_tried_again(self, record: TrialRecord) -> bool:  # noqa: ARG002
        """Return whether the next start retries a finished training, so that its folder is kept."""
        return False

    def on_end(self, record: TrialRecord) -> None:  # noqa: B027  optional
        """Process a training that has just ended."""

    def next(self) -> Assignment | None:
        """Return the next training, unfinished ones first; None if nothing is left to start.

        Raises:
            InputError: An unfinished training cannot be rebuilt because the data or the program changed.
            JournalError: The study's folder was moved or removed.
        """
        for key in self._closed:
            self._tidy(self._journal.records[key])
        self._closed.clear()
        if self.stopping:
            return None
        self._journal.check()
        record = self._unfinished.pop(0) if self._unfinished else self.promote()
        if record is None and (proposed := self.propose()) is not None:
            spec, record = proposed
            self._journal.begin(record)
            self._on_change()
            return self._assign(spec)
        record = record or self.promote(is_last=True)
        if record is None:
            return None
        spec = self.rebuild(record)
        if spec.key != record.key:
            raise InputError(
                f"{self._folder}: trial {record.number} was started as {record.key} and would now be {spec.key}: "
                "the data or the program has changed; restore them, or give the study another name"
            )
        self._journal.resume(spec.key)
        return self._assign(spec)

    def _assign(self, spec: TrialSpec) -> Assignment:
        self.specs[spec.key] = spec
        record = self._journal.records[spec.key]
        return Assignment(
            spec=spec,
            folder=str(self.folder_of(spec.key)),
            remote=self._journal.copy.uri_of(f"{TRIALS}/{spec.key}"),
            num_known_epochs=len(record.curve),
            pause_after=self.pause_after(record),
        )

    def wait_for_files(self) -> None:
        """Wait until the files that the trainings wrote can be read on this machine.

        Raises:
            StoreAwayError: The remote store cannot be reached now.
        """
        self._journal.copy.wait_for_files()

    def folder_of(self, key: str) -> Path:
        """Return the absolute path of the folder of a trial or repeat."""
        return (self._folder / TRIALS / key).absolute()

    def report(self, key: str, progress: Progress, node: str) -> bool:
        """Record one epoch, and the outcome if the training ends with it.

        Args:
            key: Key of the training.
            progress: Metrics of the epoch, with the result if it is the last one.
            node: Name of the node that trains it.

        Returns:
            Whether the training continues.
        """
        if self._is_stopped_by_hand(key):
            return False
        go_on, is_paused, infeasible, over, before = True, False, None, "", self._journal.records[key]
        if progress.metrics.epoch > len(before.curve):
            self._journal.epoch(key, progress.metrics, node, progress.machine)
            infeasible = self.exceeds_limit(self._journal.records[key])
            go_on = infeasible is None and self.may_continue(self._journal.records[key])
            is_paused = not go_on and infeasible is None and progress.metrics.epoch == self.pause_after(before)
            over = self.over_budget(self._journal.records[key]) if go_on or is_paused else ""
        # else: a restarted worker repeats epochs after its checkpoint that are already recorded.
        if progress.result is not None:
            # Weights of an infeasible trial are deleted with its folder.
            self._end(key, infeasible or Completed(), progress.result if infeasible is None else None)
            return False
        if is_paused and not over:
            self._journal.pause(key)
            del self.specs[key]
            self._on_change()
            return False
        if not go_on or over:
            self._end(key, infeasible or Stopped(epoch=progress.metrics.epoch, reason=over))
            return False
        self._on_change()
        return not self.stopping

    def tick(self, key: str) -> bool:
        """Check in the middle of an epoch whether a training continues.

        Returns:
            Whether the training continues; if not, the runner closes it, and it saves a checkpoint.

        Raises:
            JournalError: The study's folder was moved or removed.
        """
        self._journal.check()
        return not self._is_stopped_by_hand(key) and not self.stopping

    def stop_by_hand(self, record: TrialRecord) -> None:
        """End a training without an outcome where it is. The runner closes it at its next report or tick."""
        self._journal.end(record.key, Stopped(epoch=len(record.curve), by_hand=True))
        record = self._journal.records[record.key]
        if record.key not in self.specs:
            self._unfinished = [item for item in self._unfinished if item.key != record.key]
            self._tidy(record)
        self.on_end(record)

    def _is_stopped_by_hand(self, key: str) -> bool:
        if not self.is_over(key):
            return False
        # Its worker may still write a checkpoint, so its files are deleted later.
        self._closed.append(key)
        return True

    def fail(self, key: str, reason: str) -> None:
        """Record a training that raised or whose worker was lost."""
        line = redacted(" ".join(reason.split()))[:500]
        self._end(key, Failed(reason=line or "no reason given"))

    def diverge(self, key: str, error: DivergedError) -> None:
        """Record a training that diverged, with the files that it wrote."""
        self._end(key, Failed(reason=str(error), diverged=True, epoch=error.epoch), error.result)

    def _end(self, key: str, outcome: Outcome, result: TrialResult | None = None) -> None:
        if self._journal.records[key].outcome is not None:
            return
        left = result or TrialResult(test_accuracy=None)
        artifacts = {name: f"{TRIALS}/{key}/{file}" for name, file in left.artifacts.items()}
        self._journal.copy.bring(name for name in artifacts.values() if name.endswith(ARRAYS))
        self._journal.end(key, outcome, test_accuracy=left.test_accuracy, artifacts=artifacts)
        self._tidy(self._journal.records[key])
        self.on_end(self._journal.records[key])
        self._on_change()


def new_record(spec: TrialSpec, kind: str, point: dict[str, bool | int | float | str]) -> TrialRecord:
    """Return the record of a training that is about to start."""
    return TrialRecord(
        key=spec.key,
        number=spec.number,
        label=spec.label,
        kind=kind,
        point=point,
        blocks=tuple(block.name for block in spec.blocks),
        curve=(),
        outcome=None,
        started_at=time.time(),
        finished_at=None,
        node="",
        counts=count(spec.model),
        keep=spec.train.keep,
    )
