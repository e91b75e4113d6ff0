"""Summarise a study from its records: counts, nominee, speed and failures. All functions are pure."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.records import Completed, Failed, Infeasible, Stopped, TrialRecord


def rank(record: TrialRecord) -> tuple[bool, int, float, int]:
    """Return the sort key of a sweep's trials, best first; it does not depend on the order in which they ended.

    Completed trials are ordered by the validation accuracy of the epoch that counts. Trials that the scheduler stopped
    follow, those with the most epochs first. Ties go to the lower trial number.
    """
    is_stopped = isinstance(record.outcome, Stopped)
    accuracy = -1.0 if record.val_accuracy is None else record.val_accuracy
    return is_stopped, -len(record.curve) if is_stopped else 0, -accuracy, record.number


def best_first(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the completed trials, in the order of `rank`."""
    return sorted((record for record in records if isinstance(record.outcome, Completed)), key=rank)


def nominees(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that the sweep may nominate, best first.

    Trials that the scheduler stopped are included, because a repeat trains them to the last epoch.
    """
    return sorted(filter(_is_nominated, records), key=rank)


def nominee(records: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the first of `nominees`; None if there is none."""
    return min(filter(_is_nominated, records), key=rank, default=None)


def _is_nominated(record: TrialRecord) -> bool:
    return isinstance(record.outcome, Completed) or (isinstance(record.outcome, Stopped) and bool(record.curve))


def is_exhausted(marks: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the newest sweep of a journal ended because the space had no further points.

    Args:
        marks: Events of the journal.
    """
    ends = (mark for mark in reversed(marks) if mark["event"] == "exhausted" or mark.get("verb") == "sweep")
    return next(ends, {"event": ""})["event"] == "exhausted"


_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\b(?:nan|inf)\b", re.IGNORECASE)


def group_failures(records: Iterable[TrialRecord]) -> list[tuple[str, int]]:
    """Return the reasons of failed trials with their counts, most frequent first.

    Reasons that differ only in numbers are grouped under the first of them.
    """
    groups: dict[str, list[str]] = {}
    for record in records:
        if isinstance(record.outcome, Failed):
            groups.setdefault(_NUMBER.sub("#", record.outcome.reason), []).append(record.outcome.reason)
    return sorted(((reasons[0], len(reasons)) for reasons in groups.values()), key=lambda group: -group[1])


@dataclass(frozen=True, kw_only=True)
class Status:
    """Summary of a study at one moment."""

    num_planned: int
    num_completed: int
    num_stopped: int
    num_failed: int
    num_infeasible: int
    """Trials of which a measured cost exceeded a limit."""
    num_unfinished: int
    """Trials that are running or that an interruption left unfinished."""
    nominee: TrialRecord | None
    """The sweep's nominee, from one run per block and not confirmed."""
    num_epochs: int
    epochs_per_sec: float | None
    """Epochs per second since this command started; None before the first epoch."""
    eta_secs: float | None
    """Estimated seconds until all planned trials have ended; None while unknown."""
    failures: tuple[tuple[str, int], ...]
    """(reason, count) as `group_failures` returns them."""
    num_waiting: int = 0
    """Trials that the scheduler has paused and that wait for their promotion."""

    @property
    def num_over(self) -> int:
        """Number of trials with an outcome."""
        return self.num_completed + self.num_stopped + self.num_failed + self.num_infeasible


def summarise(
    records: Sequence[TrialRecord], num_planned: int, *, since: float | None = None, now: float | None = None
) -> Status:
    """Summarise the records of a sweep or of a comparison.

    Args:
        records: Trials or repeats.
        num_planned: Planned number of trials or repeats.
        since: Start of this command in seconds since 1970, from which the speed is measured; None for no speed.
        now: Current time in seconds since 1970; None for the clock.
    """
    present = time.time() if now is None else now
    outcomes = Counter(type(record.outcome) for record in records)
    num_over = len(records) - outcomes[type(None)]
    num_waiting = sum(record.is_waiting for record in records)
    num_left = num_planned - num_over - num_waiting
    pace, eta = None, None
    if since is not None:
        recent = [record for record in records if (record.finished_at or present) >= since]
        num_epochs = sum(len(record.curve) for record in recent)
        num_recent = sum(
            record.finished_at is not None or (record.is_waiting and record.started_at >= since) for record in recent
        )
        elapsed = max(present - since, 1e-9)
        pace = num_epochs / elapsed if num_epochs else None
        if num_recent and num_left > 0:
            eta = elapsed / num_recent * num_left
        elif num_planned <= num_over:
            eta = 0.0
    return Status(
        num_planned=num_planned,
        num_completed=outcomes[Completed],
        num_stopped=outcomes[Stopped],
        num_failed=outcomes[Failed],
        num_infeasible=outcomes[Infeasible],
        num_unfinished=outcomes[type(None)] - num_waiting,
        nominee=nominee(records),
        num_epochs=sum(len(record.curve) for record in records),
        epochs_per_sec=pace,
        eta_secs=eta,
        failures=tuple(group_failures(records)),
        num_waiting=num_waiting,
    )
