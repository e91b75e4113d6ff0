"""Compare the journal with its copies in Optuna and MLflow and list the differences, without changing anything.

The journal is right by definition: every difference is an error of the copy. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from search.journal.mlflow_run import MlflowRun
from search.records import Completed, Failed, Infeasible, Stopped, TrialRecord, kept_epoch, scores_by_epoch
from search.text.counted import counted

PARENT_RUNS = {"sweep": "the run of the sweep", "compare": "the run of all repeats"}
"""Key of each parent run in MLflow -> its name in messages."""


class Repair(Enum):
    """How a difference is repaired."""

    TELL = "Optuna's copy receives the outcome of the trial"
    ADD = "the trial is added to Optuna's copy"
    REWRITE = "Optuna's copy is written again, because finished trials cannot be changed"
    SEND = "the missing data is sent to MLflow"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A trial or repeat whose state in a copy differs from the journal."""

    store: str
    """`Optuna` or `MLflow`."""
    trial: str
    """Name of the trial in messages."""
    journal: str
    """State in the journal."""
    found: str
    """State in the copy."""
    repair: Repair
    number: int | None = None
    """Trial number in Optuna; None for a run in MLflow."""


@dataclass(frozen=True, kw_only=True)
class OptunaTrial:
    """Content of one trial in Optuna."""

    number: int
    state: str
    """RUNNING, WAITING, COMPLETE, PRUNED or FAIL."""
    value: float | None
    params: Mapping[str, object]
    curve: Mapping[int, float]
    """Epoch -> validation accuracy, or the highest one so far with `train.keep: best`."""


def state_in_optuna(record: TrialRecord) -> tuple[str, float | None]:
    """Return the state and value that a record should have in Optuna."""
    curve = curve_in_optuna(record)
    match record.outcome:
        case None:
            return "RUNNING", None
        case Stopped() | Infeasible():
            return "PRUNED", curve[max(curve)] if curve else None
        case Completed() if record.curve and record.curve[-1].val_accuracy is not None:
            return "COMPLETE", record.val_accuracy
        case _:
            return "FAIL", None


def curve_in_optuna(record: TrialRecord) -> dict[int, float]:
    """Return epoch -> score of the trial after it, as Optuna should have it once the trial has ended."""
    return scores_by_epoch(record.curve, record.keep)


def optuna_differences(
    expected: Mapping[int, OptunaTrial], found: Sequence[OptunaTrial], records: Iterable[TrialRecord]
) -> list[Difference]:
    """Compare Optuna's copy with its expected content.

    Args:
        expected: Expected trial of each number that the journal contains.
        found: Trials in the copy.
        records: The sweep's trials, for the messages.

    Returns:
        One difference per trial that differs, in the order of the numbers.
    """
    by_number = {record.number: record for record in records}
    held = {trial.number: trial for trial in found}
    differences = []
    for number in sorted({*expected, *held}):
        fault = _fault(expected.get(number), held.get(number), is_last=number >= max(expected, default=-1))
        if fault is not None:
            record = by_number.get(number)
            journal = "a draw without a trial" if number in expected else "never started"
            differences.append(
                Difference(
                    store="Optuna",
                    trial=f"trial {number}" if record is None else record.label or f"trial {number}",
                    journal=journal if record is None else _describe(record),
                    found=fault[0],
                    repair=Repair.ADD if fault[1] is Repair.REWRITE and number >= len(held) else fault[1],
                    number=number,
                )
            )
    return differences


def _fault(wanted: OptunaTrial | None, found: OptunaTrial | None, *, is_last: bool) -> tuple[str, Repair] | None:
    if found is None:
        return "no such trial", Repair.REWRITE
    if wanted is None:
        # A version 1 journal lacks the rejected draws; the next start imports them from Optuna.
        return None if found.state == "FAIL" and not is_last else (_state(found), Repair.REWRITE)
    is_over = wanted.state != "RUNNING"
    if wanted.state == "FAIL" and not wanted.curve and found.state == "FAIL":
        return None  # of a rejected draw only its state is certain
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
    runs: Mapping[str, Sequence[MlflowRun]],
    *,
    running_comparisons: Iterable[str] = (),
    driven: bool = False,
) -> list[Difference]:
    """Compare trials and repeats with their runs in MLflow.

    Args:
        records: Trials and repeats.
        runs: MLflow's runs by key, including parent runs, without runs of comparisons.
        running_comparisons: Keys of comparisons whose runs are RUNNING, although a comparison is sent when it is over.
        driven: Whether a driver is active, so that unfinished trials may be RUNNING.

    Returns:
        One difference per trial, repeat, parent run or comparison that differs.
    """
    differences = []
    known = {record.key: record for record in records}
    for key, record in known.items():
        fault = _tracking_fault(record, runs.get(key, ()), driven)
        if fault:
            differences.append(_sent(record.label or key, _describe(record), fault))
    for key, held in runs.items():
        name = PARENT_RUNS.get(key)
        left = any(run.status == "RUNNING" for run in held) and not driven
        if name and (left or len(held) > 1):
            differences.append(_sent(name, "no command running" if left else "one", _plural(held) or "RUNNING"))
        elif not name and key not in known and any(run.status != "KILLED" for run in held):
            differences.append(_sent(f"trial {key}", "never started", held[0].status))
    if not driven:
        differences += (_sent(f"comparison {key[:4]}", "over", "RUNNING") for key in running_comparisons)
    return differences


def _sent(trial: str, journal: str, found: str) -> Difference:
    return Difference(store="MLflow", trial=trial, journal=journal, found=found, repair=Repair.SEND)


def _plural(held: Sequence[MlflowRun]) -> str:
    return f"{len(held)} runs" if len(held) > 1 else ""


def _tracking_fault(record: TrialRecord, held: Sequence[MlflowRun], driven: bool) -> str:
    if len(held) != 1:
        return _plural(held) or "no run"
    (run,) = held
    if record.outcome is None:
        words = {"RUNNING": ("running", "waiting"), "KILLED": ("unfinished",)}
        right = (driven or run.status == "KILLED") and run.outcome in words.get(run.status, ())
    else:
        status = "FAILED" if isinstance(record.outcome, Failed) else "FINISHED"
        right = (run.status, run.outcome) == (status, record.outcome.word)
    if not right:
        return f"{run.status}, {run.outcome or 'no outcome'}"
    return "" if driven and record.outcome is None else value_fault(record, run)


def value_fault(record: TrialRecord, run: MlflowRun) -> str:
    """Return how the numbers of a run differ from its trial or repeat; empty if they agree."""
    num_epochs = record.curve[-1].epoch if record.curve else 0
    if run.num_epochs != num_epochs:
        return f"{counted(run.num_epochs, 'epoch')} instead of {num_epochs}"
    last = kept_epoch(record.curve, "last")  # MLflow returns the latest value of a metric
    right = {"val_accuracy": last.val_accuracy if last else None, "test_accuracy": record.test_accuracy}
    for name, value in right.items():
        if not _same(getattr(run, name), value):
            return f"{name} {getattr(run, name)} instead of {value}"
    return ""


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)


def _describe(record: TrialRecord) -> str:
    match record.outcome:
        case None:
            return f"unfinished after {counted(len(record.curve), 'epoch')}"
        case Stopped(epoch=epoch):
            return f"stopped after epoch {epoch}"
        case Failed():
            return "failed"
        case Infeasible():
            return "infeasible"
        case Completed():
            return "completed" if record.val_accuracy is None else f"completed ({record.val_accuracy:.4f})"


def describe_repairs(differences: Sequence[Difference], noun: str) -> str:
    """Return one line about what was repaired, such as `repaired from the journal: 3 trials`; empty if nothing was."""
    num = len(differences)
    return f"repaired from the journal: {counted(num, noun)}" if num else ""
