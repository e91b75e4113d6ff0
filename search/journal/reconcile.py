"""What the journal, Optuna and MLflow say of the same trials, side by side. Pure: nothing is read or mended here.

The journal is right by definition: whatever it says otherwise is a difference of the other two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from search.records import Completed, Failed, Stopped, TrialRecord

PARENT_RUNS = {"sweep": "the run of the sweep", "compare": "the run of all repeats"}
"""Keys of MLflow's parent runs, and what they are called here."""


class Repair(Enum):
    """What removes a difference."""

    TELL = "Optuna's copy is told how the trial ended"
    ADD = "the trial is added to Optuna's copy"
    REWRITE = "Optuna's copy is written again: what is finished there cannot be changed"
    SEND = "MLflow is sent what it lacks"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One trial or repeat of which a store says other things than the journal."""

    store: str
    """`Optuna` or `MLflow`."""
    trial: str
    """What a reader calls it."""
    journal: str
    """What the journal says."""
    found: str
    """What the store says."""
    cure: Repair
    number: int | None = None
    """Optuna's number of the trial; None of a run of MLflow's."""


@dataclass(frozen=True, kw_only=True)
class OptunaTrial:
    """What Optuna holds of one trial."""

    number: int
    state: str
    """RUNNING, WAITING, COMPLETE, PRUNED or FAIL."""
    value: float | None
    params: Mapping[str, object]
    curve: Mapping[int, float]
    """Epoch -> validation accuracy."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What MLflow holds of one trial or repeat."""

    status: str
    """RUNNING, FINISHED, FAILED or KILLED."""
    outcome: str
    """Our own word; empty if it has none."""
    num_epochs: int
    val_accuracy: float | None
    test_accuracy: float | None


def state_in_optuna(record: TrialRecord) -> tuple[str, float | None]:
    """State and value that Optuna should hold."""
    curve = curve_in_optuna(record)
    match record.outcome:
        case None:
            return "RUNNING", None
        case Stopped():
            return "PRUNED", curve[max(curve)] if curve else None
        case Completed() if record.curve and record.curve[-1].val_accuracy is not None:
            return "COMPLETE", record.curve[-1].val_accuracy
        case _:
            return "FAIL", None


def curve_in_optuna(record: TrialRecord) -> dict[int, float]:
    """Epoch -> validation accuracy that Optuna should hold once the trial has ended."""
    return {item.epoch: item.val_accuracy for item in record.curve if item.val_accuracy is not None}


def optuna_differences(
    expected: Mapping[int, OptunaTrial], found: Sequence[OptunaTrial], records: Iterable[TrialRecord]
) -> list[Difference]:
    """Compare what Optuna's copy should hold with what it holds.

    Args:
        expected: What the journal makes of each number that it knows.
        found: Optuna's trials.
        records: The sweep's trials, for the words.
    """
    by_number = {record.number: record for record in records}
    held = {trial.number: trial for trial in found}
    differences = []
    for number in sorted({*expected, *held}):
        fault = _fault(expected.get(number), held.get(number), is_last=number >= max(expected, default=-1))
        if fault is not None:
            record = by_number.get(number)
            journal = "a draw without a trial" if number in expected else "never began"
            differences.append(
                Difference(
                    store="Optuna",
                    trial=f"trial {number}" if record is None else record.label or f"trial {number}",
                    journal=journal if record is None else _in_words(record),
                    found=fault[0],
                    cure=Repair.ADD if fault[1] is Repair.REWRITE and number >= len(held) else fault[1],
                    number=number,
                )
            )
    return differences


def _fault(wanted: OptunaTrial | None, found: OptunaTrial | None, *, is_last: bool) -> tuple[str, Repair] | None:
    if found is None:
        return "no such trial", Repair.REWRITE
    if wanted is None:
        # A journal of before does not have the draws that were rejected; the next start takes them over.
        return None if found.state == "FAIL" and not is_last else (_state(found), Repair.REWRITE)
    is_over = wanted.state != "RUNNING"
    if wanted.state == "FAIL" and not wanted.curve and found.state == "FAIL":
        return None  # of a draw that was rejected nothing but that is known for certain
    if wanted.params != found.params:
        return "another point", Repair.REWRITE
    if is_over and found.state == "RUNNING":
        return "RUNNING", Repair.TELL
    if wanted.state != found.state or not _same(wanted.value, found.value):
        return _state(found), Repair.REWRITE
    if is_over and not (
        wanted.curve.keys() == found.curve.keys()
        and all(_same(value, found.curve[epoch]) for epoch, value in wanted.curve.items())
    ):
        return "another curve", Repair.REWRITE
    return None


def _state(trial: OptunaTrial) -> str:
    return trial.state if trial.value is None else f"{trial.state} ({trial.value:.4f})"


def mlflow_differences(
    records: Iterable[TrialRecord],
    runs: Mapping[str, Sequence[TrackedRun]],
    *,
    running_comparisons: Iterable[str] = (),
    driven: bool = False,
) -> list[Difference]:
    """Compare trials and repeats with their runs.

    Args:
        records: Trials and repeats.
        runs: MLflow's runs by key, those of the parents included, those of comparisons not.
        running_comparisons: Keys of comparisons whose runs are RUNNING: each was over before it was sent.
        driven: A driver is at work: what is unfinished may be RUNNING.
    """
    differences = []
    known = {record.key: record for record in records}
    for key, record in known.items():
        fault = _tracking_fault(record, runs.get(key, ()), driven)
        if fault:
            differences.append(_sent(record.label or key, _in_words(record), fault))
    for key, held in runs.items():
        name = PARENT_RUNS.get(key)
        left = any(run.status == "RUNNING" for run in held) and not driven
        if name and (left or len(held) > 1):
            differences.append(_sent(name, "nobody at work" if left else "one", _plural(held) or "RUNNING"))
        elif not name and key not in known and any(run.status != "KILLED" for run in held):
            differences.append(_sent(f"trial {key}", "never began", held[0].status))
    if not driven:
        differences += (_sent(f"comparison {key[:4]}", "over", "RUNNING") for key in running_comparisons)
    return differences


def _sent(trial: str, journal: str, found: str) -> Difference:
    return Difference(store="MLflow", trial=trial, journal=journal, found=found, cure=Repair.SEND)


def _plural(held: Sequence[TrackedRun]) -> str:
    return f"{len(held)} runs" if len(held) > 1 else ""


def _tracking_fault(record: TrialRecord, held: Sequence[TrackedRun], driven: bool) -> str:
    if len(held) != 1:
        return _plural(held) or "no run"
    (run,) = held
    if record.outcome is None:
        statuses = {"RUNNING": "running", "KILLED": "unfinished"} if driven else {"KILLED": "unfinished"}
        right = statuses.get(run.status) == run.outcome
    else:
        status = "FAILED" if isinstance(record.outcome, Failed) else "FINISHED"
        right = (run.status, run.outcome) == (status, record.outcome.word)
    if not right:
        return f"{run.status}, {run.outcome or 'no outcome'}"
    return "" if driven and record.outcome is None else value_fault(record, run)


def value_fault(record: TrialRecord, run: TrackedRun) -> str:
    """What differs in the numbers that a run holds of a trial or repeat; empty if nothing does."""
    num_epochs = record.curve[-1].epoch if record.curve else 0
    if run.num_epochs != num_epochs:
        return f"{run.num_epochs} epochs instead of {num_epochs}"
    for name in ("val_accuracy", "test_accuracy"):
        if not _same(getattr(run, name), getattr(record, name)):
            return f"{name} {getattr(run, name)} instead of {getattr(record, name)}"
    return ""


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)


def _in_words(record: TrialRecord) -> str:
    match record.outcome:
        case None:
            return f"unfinished after {len(record.curve)} epochs"
        case Stopped(epoch=epoch):
            return f"stopped after epoch {epoch}"
        case Failed():
            return "failed"
        case Completed():
            return "completed" if record.val_accuracy is None else f"completed ({record.val_accuracy:.4f})"


def mended_in_words(differences: Sequence[Difference], noun: str) -> str:
    """One line about what was mended, such as `mended from the journal: 3 trials`; empty if nothing was."""
    num = len(differences)
    return f"mended from the journal: {num} {noun}{'s' if num > 1 else ''}" if num else ""
