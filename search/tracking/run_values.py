"""What a run is told of a training: values, parameters and tags in MLflow's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.records import EpochMetrics, TrialRecord
from search.tracking.held_runs import PREFIX
from search.tracking.mlflow_tracker import Store, StoredRun


def add_comparison(store: Store, repeat: StoredRun, key: str) -> None:
    """Let a repeat name a comparison that it is part of."""
    tag = f"{PREFIX}comparisons"
    known = [item for item in repeat.tags.get(tag, "").split(", ") if item]
    if key not in known:
        store.log(repeat, tags={tag: ", ".join([*known, key])})


def config_of(record: TrialRecord) -> str:
    """What was trained, the same for all of its blocks: what the repeats of a comparison are grouped by."""
    return record.label.removesuffix(f", {', '.join(record.blocks)}") or record.key


def values_of(item: EpochMetrics) -> dict[str, float]:
    """The metrics of an epoch."""
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
    values: dict[str, float] = {name: value for name in names if (value := getattr(item, name)) is not None}
    values["epoch_secs"] = item.elapsed_secs
    if item.elapsed_secs > 0:
        values["images_per_sec"] = item.num_images / item.elapsed_secs
    # Last, as its latest value says to the next mirror how far this one came.
    return {**values, "epoch": float(item.epoch)}


def session_tags(session: Mapping[str, Any]) -> dict[str, str]:
    """What a start of the command ran with."""
    tags = {f"version.{name}": str(version) for name, version in session.get("versions", {}).items()}
    named = {"git": "mlflow.source.git.commit", "device": f"{PREFIX}device", "node": f"{PREFIX}node"}
    return tags | {tag: str(session[name]) for name, tag in named.items() if session.get(name)}


def flat(value: object, prefix: str = "") -> dict[str, object]:
    """Parameters inside parameters by a path: `encoder.depth`."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, object] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found
