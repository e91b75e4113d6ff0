"""Records that every package shares: epochs, outcomes, and trials as the journal holds them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def canonical(value: object) -> str:
    """Write any JSON-able value in one form only, so that its digest means something."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: object) -> str:
    """First 16 hex digits of the SHA-256 of a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """One epoch of one trial, averaged over its blocks."""

    epoch: int
    """From 1."""
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    """None, as the accuracy, in an epoch without validation."""
    val_accuracy: float | None
    learning_rate: float
    elapsed_secs: float
    """Training and validation of this epoch, without checkpoints and waiting."""
    num_images: int
    """Images trained on in this epoch, all blocks together."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EpochMetrics:
        """Read back what `dataclasses.asdict` wrote.

        Keys of later versions are ignored; a field that an older version did not write has its default.
        """
        return cls(**{name: data[name] for name in _METRICS if name in data})


_METRICS = tuple(item.name for item in dataclasses.fields(EpochMetrics))


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a finished training leaves behind."""

    test_accuracy: float | None
    """Mean over the blocks; None where the test set stays untouched."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Name -> file name in the trial's folder."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One epoch, and at the last one what the training leaves behind."""

    metrics: EpochMetrics
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Device, precision, threads and torch version that it was computed with."""
    result: TrialResult | None = None


@dataclass(frozen=True, kw_only=True)
class Completed:
    """Ran to its last epoch."""

    word = "completed"


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Ended early by the scheduler."""

    epoch: int
    """The epoch after which it was stopped."""
    word = "stopped"


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Raised, diverged or was lost."""

    reason: str
    """One line."""
    diverged: bool = False
    """The loss was not finite: an outcome of the trial, not of the machine."""
    epoch: int | None = None
    """Where it diverged."""
    word = "failed"


Outcome = Completed | Stopped | Failed


def outcome_from_dict(data: Mapping[str, Any]) -> Outcome:
    """Read an outcome back from its journal form."""
    match data["word"]:
        case "completed":
            return Completed()
        case "stopped":
            return Stopped(epoch=data["epoch"])
        case "failed":
            return Failed(reason=data["reason"], diverged=data.get("diverged", False), epoch=data.get("epoch"))
        case word:
            msg = f"journal: outcome must be completed, stopped or failed, got {word!r}"
            raise ValueError(msg)


def outcome_to_dict(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome in its journal form."""
    return {"word": outcome.word, **dataclasses.asdict(outcome)}


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial or repeat, as the journal tells it."""

    key: str
    number: int
    label: str
    kind: str
    """`trial` (inside the sweep) or `repeat` (outside)."""
    point: Mapping[str, Any]
    blocks: tuple[str, ...]
    curve: tuple[EpochMetrics, ...]
    outcome: Outcome | None
    """None while it runs or waits to go on."""
    started_at: float
    """Seconds since 1970."""
    finished_at: float | None
    node: str
    test_accuracy: float | None = None
    """Mean over the blocks; repeats only."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Name -> path relative to the study folder."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Device, precision, threads and torch version of its last epoch."""
    resumed: int = 0
    """How often it went on from a checkpoint in a later run of the command."""

    @property
    def val_accuracy(self) -> float | None:
        """Validation accuracy of the last epoch that was validated; None before there is one."""
        return next((item.val_accuracy for item in reversed(self.curve) if item.val_accuracy is not None), None)

    @property
    def elapsed_secs(self) -> float:
        """Seconds spent training and validating."""
        return sum(epoch.elapsed_secs for epoch in self.curve)


def changed(record: TrialRecord, fields: Mapping[str, Any]) -> TrialRecord:
    """A record with other values in some fields; `dataclasses.replace` takes seconds for 100,000 epochs."""
    new = object.__new__(TrialRecord)
    new.__dict__.update(record.__dict__, **fields)
    return new


PROPOSED_BEFORE = "proposed before"
NOT_KNOWN = "not in the journal"
"""A rejected draw of which a journal of old keeps nothing but the place: the next ones are seeded as after it."""
CUT_OFF = "cut off"
"""A number that a crash used up before anything was drawn: the next draws are seeded as without it."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a sampler drew under one number, as far as no trial's record says so."""

    number: int
    point: Mapping[str, Any] | None = None
    """None where the trial's record has it, or where it is not known any more."""
    rejected: str = ""
    """Why it became no trial; empty if it did."""
    twin: str = ""
    """Key of the record whose training is this point's, too; empty if it has a training of its own."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler keeps with the draw while its trial runs."""
    at: float = 0.0
    """Seconds since 1970."""

    @property
    def is_impossible(self) -> bool:
        """Whether its point is no model."""
        return self.rejected not in {"", PROPOSED_BEFORE, NOT_KNOWN, CUT_OFF}
