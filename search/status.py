"""What a study has come to, from its records: counts, nominee so far, pace, failures. Pure."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search.records import Completed, Failed, Stopped, TrialRecord


def best_first(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Completed trials by validation accuracy of the last epoch, best first; ties go to the earlier trial."""
    done = [record for record in records if isinstance(record.outcome, Completed)]
    return sorted(done, key=_rank)


def _rank(record: TrialRecord) -> tuple[float, int]:
    return -(record.val_accuracy or 0.0), record.number


def nominees(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials in the order in which the sweep nominates them.

    Completed ones by validation accuracy; then those that the scheduler stopped, the furthest first: a repeat trains
    them to the last epoch anyway.
    """
    stopped = [record for record in records if isinstance(record.outcome, Stopped) and record.curve]
    stopped.sort(key=lambda record: (-len(record.curve), -(record.val_accuracy or 0.0), record.number))
    return [*best_first(records), *stopped]


_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\b(?:nan|inf)\b", re.IGNORECASE)


def group_failures(records: Iterable[TrialRecord]) -> list[tuple[str, int]]:
    """Why trials failed: the first of all reasons that differ in numbers only, and how many, most frequent first."""
    groups: dict[str, list[str]] = {}
    for record in records:
        if isinstance(record.outcome, Failed):
            groups.setdefault(_NUMBER.sub("#", record.outcome.reason), []).append(record.outcome.reason)
    return sorted(((reasons[0], len(reasons)) for reasons in groups.values()), key=lambda group: -group[1])


@dataclass(frozen=True, kw_only=True)
class Status:
    """A study at one moment."""

    num_planned: int
    num_completed: int
    num_stopped: int
    num_failed: int
    num_unfinished: int
    """Running, or waiting to go on."""
    nominee: TrialRecord | None
    """Completed, of the highest validation accuracy: one run, not confirmed."""
    num_epochs: int
    epochs_per_sec: float | None
    """Over the last minutes of this run of the command; None before the first epoch."""
    eta_secs: float | None
    """Until the planned trials are over, at this pace; None while unknown."""
    failures: tuple[tuple[str, int], ...]
    """Reasons and how often, most frequent first; of those that differ in numbers only, the first."""

    @property
    def num_over(self) -> int:
        """Trials with an outcome."""
        return self.num_completed + self.num_stopped + self.num_failed


def summarise(
    records: Sequence[TrialRecord], num_planned: int, *, since: float | None = None, now: float | None = None
) -> Status:
    """Count and time the records of a sweep, or of a comparison.

    Args:
        records: Trials or repeats.
        num_planned: How many there will be.
        since: When this run of the command began (seconds since 1970); pace is measured from there.
        now: The present; unset: the clock.
    """
    present = time.time() if now is None else now
    outcomes = Counter(type(record.outcome) for record in records)
    nominee = min((item for item in records if isinstance(item.outcome, Completed)), key=_rank, default=None)
    num_over = len(records) - outcomes[type(None)]
    pace, eta = None, None
    if since is not None:
        recent = [record for record in records if (record.finished_at or present) >= since]
        num_epochs = sum(len(record.curve) for record in recent)
        num_recent = sum(record.finished_at is not None for record in recent)
        elapsed = max(present - since, 1e-9)
        pace = num_epochs / elapsed if num_epochs else None
        if num_recent and num_planned > num_over:
            eta = elapsed / num_recent * (num_planned - num_over)
        elif num_planned <= num_over:
            eta = 0.0
    return Status(
        num_planned=num_planned,
        num_completed=outcomes[Completed],
        num_stopped=outcomes[Stopped],
        num_failed=outcomes[Failed],
        num_unfinished=outcomes[type(None)],
        nominee=nominee,
        num_epochs=sum(len(record.curve) for record in records),
        epochs_per_sec=pace,
        eta_secs=eta,
        failures=tuple(group_failures(records)),
    )
