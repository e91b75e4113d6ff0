"""The measures of a trial that can be goals or have limits: scores, counts of its model, and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from search.records import EpochMetrics, TrialRecord, kept_epoch

Direction = Literal["max", "min"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of a trial."""

    name: str
    direction: Direction
    """Whether higher or lower values are better."""
    kind: Literal["score", "count", "cost"]
    """A score of validation images; a count of the model, known before training; or a measured cost."""
    unit: str = ""


MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="val_accuracy", direction="max", kind="score"),
        Measure(name="val_balanced_accuracy", direction="max", kind="score"),
        Measure(name="val_macro_f1", direction="max", kind="score"),
        Measure(name="val_auroc", direction="max", kind="score"),
        Measure(name="val_loss", direction="min", kind="score"),
        Measure(name="num_parameters", direction="min", kind="count"),
        Measure(name="macs", direction="min", kind="count"),
        Measure(name="sequential_steps", direction="min", kind="count"),
        Measure(name="latency_ms", direction="min", kind="cost", unit="ms"),
        Measure(name="train_secs_per_epoch", direction="min", kind="cost", unit="s"),
        Measure(name="peak_memory_gib", direction="min", kind="cost", unit="GiB"),
    )
}
"""Measures by name, in the order in which they are shown."""


def value_of(record: TrialRecord, name: str) -> float | None:
    """Return a measure of a trial or repeat; see `measured`."""
    return measured(name, record.curve, record.counts, record.keep)


def measured(name: str, curve: Sequence[EpochMetrics], counts: Mapping[str, int], keep: str = "last") -> float | None:
    """Return a measure.

    Args:
        name: A key of `MEASURES`.
        curve: The epochs so far.
        counts: Counts of the model.
        keep: Which epoch's scores count, see `search.records.kept_epoch`.

    Returns:
        The score of that epoch, the count, or the cost; None where it is not known.
    """
    match MEASURES[name]:
        case Measure(kind="count"):
            return counts.get(name)
        case Measure(kind="score") if keep == "best":
            return None if (kept := kept_epoch(curve, keep)) is None else getattr(kept, name)
        case Measure(kind="score"):
            return next((value for item in reversed(curve) if (value := getattr(item, name)) is not None), None)
        case Measure(name="train_secs_per_epoch"):
            return sum(item.elapsed_secs for item in curve) / len(curve) if curve else None
        case Measure(name="latency_ms"):
            return next((item.latency_ms for item in curve if item.latency_ms is not None), None)
        case _:
            return max((value for item in curve if (value := item.peak_memory_gib) is not None), default=None)


def limited(name: str, curve: Sequence[EpochMetrics]) -> float | None:
    """Return the cost that a limit applies to: the largest memory of all epochs, but the seconds of the first epoch.

    Args:
        name: A cost.
        curve: The epochs so far.

    Returns:
        The cost; None where it is not known.
    """
    return measured(name, curve if name == "peak_memory_gib" else curve[:1], {})
