"""Values, parameters and tags of a training in MLflow's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.journal.mlflow_run import PREFIX, MlflowRun
from search.records import EpochMetrics, Failed, TrialRecord
from search.tracking.held_runs import HeldRuns
from spaces.space import Space


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """The part of a study file that its runs show."""

    space: Space
    recipe: Mapping[str, object] = field(default_factory=dict)
    """Training settings that are parameters of every run, unless the point has them: epochs, batch, optimizer."""
    same: Mapping[str, str] = field(default_factory=dict)
    """Parameter of a point -> the training setting that it stands for."""


def params_of(record: TrialRecord, facts: StudyFacts | None) -> dict[str, object]:
    """Return the parameters of a trial's or repeat's run: its point, the recipe, and the precision once it is known."""
    recipe, same = (dict(facts.recipe), facts.same) if facts else ({}, {})
    for name in record.point:
        recipe.pop(same.get(name, name), None)
    precision = {"precision": record.machine["precision"]} if record.machine.get("precision") else {}
    return {**precision, **recipe, **flat(record.point)}


def tags_of(record: TrialRecord, word: str) -> dict[str, str]:
    """Return the tags of a trial's or repeat's run that may change: state, node, machine and reason of a failure."""
    tags = {f"{PREFIX}outcome": word, f"{PREFIX}node": record.node}
    if record.resumed:
        tags[f"{PREFIX}resumed"] = str(record.resumed)
    tags |= {f"{PREFIX}{name}": str(value) for name, value in record.machine.items()}
    if isinstance(record.outcome, Failed):
        tags[f"{PREFIX}reason"] = record.outcome.reason
        # Divergence is an outcome, unlike other failures; tools that analyse these runs must see which it is.
        tags[f"{PREFIX}diverged"] = str(record.outcome.diverged).lower()
    return tags


def add_comparison(held: HeldRuns, repeat: MlflowRun, key: str) -> None:
    """Add a comparison to the tag of a repeat that is part of it."""
    tag = f"{PREFIX}comparisons"
    known = [item for item in repeat.tags.get(tag, "").split(", ") if item]
    if key not in known:
        held.log(repeat, tags={tag: ", ".join([*known, key])})


def config_of(record: TrialRecord) -> str:
    """Return the name of a configuration, the same for all of its repeats, by which MLflow can group them."""
    return record.label.removesuffix(f", {', '.join(record.blocks)}") or record.key


def values_of(item: EpochMetrics, best_val_accuracy: float | None = None) -> dict[str, float]:
    """Return the metrics of an epoch by name.

    Args:
        item: The epoch.
        best_val_accuracy: The highest validation accuracy so far, if the best epoch of the trial counts.
    """
    names = (
        "val_accuracy",
        "val_balanced_accuracy",
        "val_macro_f1",
        "val_auroc",
        "val_loss",
        "train_loss",
        "train_accuracy",
        "learning_rate",
        "latency_ms",
        "peak_memory_gib",
    )
    values: dict[str, float] = {name: value for name in names if (value := getattr(item, name)) is not None}
    if best_val_accuracy is not None:
        values["best_val_accuracy"] = best_val_accuracy
    values["epoch_secs"] = item.elapsed_secs
    if item.elapsed_secs > 0:
        values["images_per_sec"] = item.num_images / item.elapsed_secs
    # Last, because the latest value of `epoch` tells the next mirror how far this one came.
    return {**values, "epoch": float(item.epoch)}


def session_tags(session: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions, device and node of a start of a command as tags."""
    tags = {f"version.{name}": str(version) for name, version in session.get("versions", {}).items()}
    named = {"git": "mlflow.source.git.commit", "device": f"{PREFIX}device", "node": f"{PREFIX}node"}
    return tags | {tag: str(session[name]) for name, tag in named.items() if session.get(name)}


def flat(value: object, prefix: str = "") -> dict[str, object]:
    """Flatten nested parameters; the keys are joined with dots.

    >>> flat({"encoder": {"depth": 2}, "lr": 0.1})
    {'encoder.depth': 2, 'lr': 0.1}
    """
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, object] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found
