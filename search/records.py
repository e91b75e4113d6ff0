"""Records shared by all packages: epochs, outcomes, and trials as stored in the journal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def canonical(value: object) -> str:
    """Serialise a JSON value in a unique form, from which a digest can be computed.

    >>> canonical({"b": 1, "a": [2.0]})
    '{"a":[2.0],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: object) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """Metrics of one epoch of a trial, averaged over its blocks."""

    epoch: int
    """Number of the epoch, from 1."""
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    """None, like the accuracy, in epochs without validation."""
    val_accuracy: float | None
    learning_rate: float
    elapsed_secs: float
    """Seconds of training and validation in this epoch, without checkpoints and waiting."""
    num_images: int
    """Number of training images in this epoch, over all blocks."""
    val_balanced_accuracy: float | None = None
    """Mean recall over the classes."""
    val_macro_f1: float | None = None
    """Mean F1 score over the classes."""
    val_auroc: float | None = None
    """Mean area under the ROC curve of each class against the rest; None if one class only has images."""
    peak_memory_gib: float | None = None
    """Largest memory of the training in this epoch: allocated on the GPU, else resident in the process; GiB."""
    latency_ms: float | None = None
    """Median milliseconds for the logits of one image; measured after the first epoch, if the study asks for it."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EpochMetrics:
        """Create the record from the output of `dataclasses.asdict`.

        Unknown keys, from later versions, are ignored; missing keys, from earlier versions, have their default.
        """
        return cls(**{name: data[name] for name in _METRICS if name in data})


_METRICS = tuple(item.name for item in dataclasses.fields(EpochMetrics))


def kept_epoch(curve: Sequence[EpochMetrics], keep: str) -> EpochMetrics | None:
    """Return the epoch whose weights and scores count.

    Args:
        curve: The epochs so far.
        keep: `last` (the last validated epoch) or `best` (that of the highest validation accuracy, the first of equal
            ones).

    Returns:
        The epoch; None if none was validated.
    """
    if keep == "last":
        return next((item for item in reversed(curve) if item.val_accuracy is not None), None)
    return max(
        (item for item in curve if item.val_accuracy is not None),
        key=lambda item: item.val_accuracy or 0.0,
        default=None,
    )


def scores_by_epoch(curve: Sequence[EpochMetrics], keep: str) -> dict[int, float]:
    """Return the score of a trial after each validated epoch: the accuracy that would count if it ended there."""
    scores: dict[int, float] = {}
    highest = 0.0
    for item in curve:
        if item.val_accuracy is not None:
            highest = max(highest, item.val_accuracy)
            scores[item.epoch] = highest if keep == "best" else item.val_accuracy
    return scores


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of a completed training."""

    test_accuracy: float | None
    """Mean over the blocks; None if the test set was not evaluated."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Name -> file name in the trial's folder."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The report of one epoch, and of the result after the last one."""

    metrics: EpochMetrics
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Device, precision, threads and torch version of the computation."""
    result: TrialResult | None = None


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The trial reached its last epoch."""

    word = "completed"


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The scheduler, a person or a budget stopped the trial early."""

    epoch: int
    """The last epoch that was trained; 0 if a person stopped it before the first one was complete."""
    by_hand: bool = False
    """Whether a person stopped it."""
    reason: str = ""
    """The budget that is used up; empty if the scheduler or a person stopped it."""
    word = "stopped"


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The trial raised an error, diverged, or was lost with its process or node."""

    reason: str
    """One line."""
    diverged: bool = False
    """Whether the loss was not finite, which is a result of the trial and not of the machine."""
    epoch: int | None = None
    """The epoch in which the trial diverged, if it did."""
    word = "failed"


@dataclass(frozen=True, kw_only=True)
class Infeasible:
    """A measured cost of the trial exceeded a limit of the study."""

    measure: str
    """Name of the measure, such as latency_ms."""
    value: float
    limit: float
    """The largest allowed value."""
    word = "infeasible"

    @property
    def reason(self) -> str:
        """One line."""
        # Of the value as many significant digits as show that it is above the limit.
        rounded = (float(f"{self.value:.{digits}g}") for digits in range(4, 15))
        value = next((value for value in rounded if value > self.limit), self.value)
        return f"{self.measure} {value:,.15g} is above the limit {self.limit:,.15g}"


Outcome = Completed | Stopped | Failed | Infeasible


def outcome_from_dict(data: Mapping[str, Any]) -> Outcome:
    """Read an outcome from its journal form.

    Raises:
        ValueError: The outcome is unknown.
    """
    match data["word"]:
        case "completed":
            return Completed()
        case "stopped":
            return Stopped(epoch=data["epoch"], by_hand=data.get("by_hand", False), reason=data.get("reason", ""))
        case "failed":
            return Failed(reason=data["reason"], diverged=data.get("diverged", False), epoch=data.get("epoch"))
        case "infeasible":
            return Infeasible(measure=data["measure"], value=data["value"], limit=data["limit"])
        case word:
            msg = f"journal: outcome must be completed, stopped, failed or infeasible, got {word!r}"
            raise ValueError(msg)


def outcome_to_dict(outcome: Outcome) -> dict[str, Any]:
    """Convert an outcome to its journal form.

    >>> outcome_to_dict(Stopped(epoch=3))
    {'word': 'stopped', 'epoch': 3}
    """
    plain = {"word": outcome.word, **dataclasses.asdict(outcome)}
    if isinstance(outcome, Stopped):
        plain = {name: value for name, value in plain.items() if name not in {"by_hand", "reason"} or value}
    return plain


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial or repeat as stored in the journal."""

    key: str
    number: int
    label: str
    kind: str
    """`trial` (part of the sweep) or `repeat` (part of a comparison)."""
    point: Mapping[str, Any]
    blocks: tuple[str, ...]
    curve: tuple[EpochMetrics, ...]
    outcome: Outcome | None
    """None while the trial runs, waits for its promotion, or waits to be resumed."""
    started_at: float
    """Seconds since 1970 (Unix time)."""
    finished_at: float | None
    node: str
    test_accuracy: float | None = None
    """Mean over the blocks; repeats only."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Name -> path relative to the study's folder."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Device, precision, threads and torch version of the last epoch."""
    resumed: int = 0
    """Number of times that later runs of the command resumed the trial."""
    is_waiting: bool = False
    """Whether the scheduler has paused the trial, which waits for its promotion."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """num_parameters, macs and sequential_steps of the model; empty in journals of earlier versions."""
    keep: str = "last"
    """Whether the weights of the `last` or of the `best` epoch count; see `train.keep`."""

    @property
    def kept(self) -> EpochMetrics | None:
        """The epoch whose weights and scores count, so far; see `kept_epoch`."""
        return kept_epoch(self.curve, self.keep)

    @property
    def val_accuracy(self) -> float | None:
        """Validation accuracy of the epoch that counts, or None."""
        kept = self.kept
        return None if kept is None else kept.val_accuracy

    @property
    def elapsed_secs(self) -> float:
        """Total seconds of training and validation."""
        return sum(epoch.elapsed_secs for epoch in self.curve)


def changed(record: TrialRecord, fields: Mapping[str, Any]) -> TrialRecord:
    """Copy a record with changed fields; `dataclasses.replace` would take seconds for 100,000 epochs."""
    new = object.__new__(TrialRecord)
    new.__dict__.update(record.__dict__, **fields)
    return new


PROPOSED_BEFORE = "proposed before"
NOT_KNOWN = "not in the journal"
"""Marks a rejected draw of which an old journal stores only the number; it counts in the seeding of later draws."""
CUT_OFF = "cut off"
"""Marks a number whose draw was prevented by a crash; it does not count in the seeding of later draws."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A sampler's draw, without what the record of its trial contains."""

    number: int
    point: Mapping[str, Any] | None = None
    """None if the trial's record contains it, or if it is unknown."""
    rejected: str = ""
    """Reason why the draw is not a trial; empty if it is."""
    twin: str = ""
    """Key of the record with the same training; empty if the draw has a training of its own."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Data that the sampler stores with the draw."""
    study_attrs: Mapping[str, Any] = field(default_factory=dict)
    """Data that the sampler stores with the study, as far as this draw changed it."""
    at: float = 0.0
    """Seconds since 1970 (Unix time)."""

    @property
    def is_impossible(self) -> bool:
        """Whether the point is not a valid model."""
        return self.rejected not in {"", PROPOSED_BEFORE, NOT_KNOWN, CUT_OFF}
