"""Budgets after which a sweep begins no new trial. The decision is in the journal, so that a resume keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from search.journal.fronts import losses_of
from search.journal.measures import Direction
from search.records import Completed, Failed, TrialRecord

GPU_HOURS = "search.gpu_hours"
WITHOUT_GAIN = "search.stop_when.trials_without_gain"


def sweep_end(marks: Iterable[Mapping[str, Any]], budgets: Mapping[str, float]) -> str | None:
    """Return why a sweep begins no new trial; None if it does.

    A decision holds until its budget is raised or removed in the study file.

    Args:
        marks: Events of the journal.
        budgets: Budgets of the study: field -> value.

    Returns:
        The reason in words, one line.
    """
    ends = [event for event in marks if event["event"] == "sweep_end"]
    if not ends or budgets.get(ends[-1]["field"], math.inf) > ends[-1]["limit"]:
        return None
    return str(ends[-1]["words"])


def decide_end(
    ended: Iterable[TrialRecord],
    records: Iterable[TrialRecord],
    budgets: Mapping[str, float],
    *,
    objectives: Mapping[str, Direction],
    gpus: float,
) -> dict[str, Any] | None:
    """Decide whether a sweep begins a new trial.

    Args:
        ended: Its trials with an outcome, in the order in which they ended.
        records: All of its trials.
        budgets: Budgets of the study: field -> value.
        objectives: Measure -> direction.
        gpus: GPUs per trial.

    Returns:
        Fields of the event `sweep_end`; None if a new trial may begin.
    """
    limit = budgets.get(WITHOUT_GAIN)
    if limit is not None and num_without_gain(ended, objectives, records) >= limit:
        words = f"no gain in the last {limit:g} trials ({WITHOUT_GAIN})"
        return {"field": WITHOUT_GAIN, "limit": limit, "words": words}
    limit = budgets.get(GPU_HOURS)
    if limit is not None:
        hours = gpus * sum(record.elapsed_secs for record in records) / 3600
        if hours >= limit:
            words = f"{hours:.2f} GPU hours of training are used, of {limit:g} ({GPU_HOURS})"
            return {"field": GPU_HOURS, "limit": limit, "words": words}
    return None


def num_without_gain(
    ended: Iterable[TrialRecord], objectives: Mapping[str, Direction], records: Iterable[TrialRecord] = ()
) -> int:
    """Return the number of trials since the last gain: a completed trial that no earlier one equals or beats.

    With several objectives, a trial gains if it enters the Pareto front of the completed ones. Failed trials do not
    count. Trials that wait for a promotion count if they began after the last gain.

    Args:
        ended: The trials in the order in which they ended.
        objectives: Measure -> direction.
        records: All trials, those that wait among them.
    """
    front: list[list[float]] = []
    num, gained_at = 0, 0.0
    for record in ended:
        if isinstance(record.outcome, Failed):
            continue
        num += 1
        losses = losses_of(record, objectives) if isinstance(record.outcome, Completed) else [math.nan]
        if any(map(math.isnan, losses)) or any(_reaches(other, losses) for other in front):
            continue
        front = [other for other in front if not _reaches(losses, other)] + [losses]
        num, gained_at = 0, record.finished_at or 0.0
    return num + sum(record.is_waiting and record.started_at > gained_at for record in records)


def _reaches(one: list[float], other: list[float]) -> bool:
    return all(mine <= its for mine, its in zip(one, other, strict=True))


def over_trial_budget(record: TrialRecord, mins: float | None, num_epochs: int) -> str:
    """Return why a trial has no further epoch: its mean epoch would take it over its budget.

    Args:
        record: The trial, after an epoch.
        mins: `search.trial_budget_mins`.
        num_epochs: Epochs of a whole trial.

    Returns:
        The reason in words; empty if it may continue, or has no epoch left.
    """
    done = len(record.curve)
    if mins is None or done >= num_epochs or record.elapsed_secs * (done + 1) / done / 60 <= mins:
        return ""
    return f"search.trial_budget_mins {mins:g} would be exceeded by another epoch"
