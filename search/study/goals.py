"""Check the goals of a sweep: its objectives and limits."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from hybrid_models.config.arithmetic import macs, num_parameters
from hybrid_models.config.shapes import sequential_steps
from search.journal.measures import MEASURES, limited
from search.own_models.counts import count_own
from search.own_models.model import AnyModel, OwnModel
from search.records import EpochMetrics, Infeasible
from search.study.config import StudyConfig
from search.text.numbers import plain_number

COUNTS = {"num_parameters": num_parameters, "macs": macs, "sequential_steps": sequential_steps}
"""Counts of a built-in model, by the name of their measure."""
SEVERAL = ("asha", "none")
"""Schedulers that compare trials by several objectives."""


def count(model: AnyModel) -> dict[str, int]:
    """Return the counts of a model by name: of a built-in one without building it, of an own one those known."""
    if isinstance(model, OwnModel):
        return dict(count_own(model))
    return {name: compute(model) for name, compute in COUNTS.items()}


def over_limit(model: AnyModel, limits: Mapping[str, float]) -> str | None:
    """Return which count of a model exceeds its limit, in words; None if none does."""
    if not COUNTS.keys() & limits.keys():
        return None
    own = count(model) if isinstance(model, OwnModel) else None
    for name, compute in COUNTS.items():
        if name not in limits:
            continue
        found = own.get(name) if own is not None else compute(model)  # type: ignore[arg-type]
        if found is None:
            return f"{name} is unknown, but search.limits.{name} limits it"
        if found > limits[name]:
            return f"{name} is above search.limits.{name} {plain_number(limits[name])}"
    return None


def over_cost(curve: Sequence[EpochMetrics], limits: Mapping[str, float]) -> Infeasible | None:
    """Return the outcome of a training if a measured cost exceeds its limit, else None."""
    for name, limit in limits.items():
        value = limited(name, curve) if MEASURES[name].kind == "cost" else None
        if value is not None and value > limit:
            return Infeasible(measure=name, value=value, limit=limit)
    return None


def goal_faults(study: StudyConfig) -> Iterator[str]:
    """Yield the faults of `search.objectives`, `search.limits` and `compare.choose`."""
    search = study.search
    for name, direction in search.objectives.items():
        if name not in MEASURES:
            yield f"search.objectives.{name}: {_unknown(name, list(MEASURES))}"
        elif direction != MEASURES[name].direction:
            better = "higher" if MEASURES[name].direction == "max" else "lower"
            yield (
                f"search.objectives.{name}: expected {MEASURES[name].direction}, because {better} values are better, "
                f"found {direction}"
            )
    if study.is_own and "sequential_steps" in {*search.objectives, *search.limits}:
        yield "search: expected no sequential_steps in objectives or limits, as they are unknown for an own model"
    if "val_accuracy" not in search.objectives:
        yield (
            "search.objectives: expected val_accuracy among them, because comparisons judge the accuracy; add "
            "val_accuracy: max"
        )
    costs = [measure.name for measure in MEASURES.values() if measure.kind != "score"]
    for name in search.limits:
        if name in MEASURES and name not in costs:
            yield f"search.limits.{name}: expected a count or cost, found a score; known: {', '.join(costs)}"
        elif name not in costs:
            yield f"search.limits.{name}: {_unknown(name, costs)}"
    if len(search.objectives) > 1 and search.scheduler not in SEVERAL:
        yield (
            f"search.scheduler: expected {' or '.join(SEVERAL)} with several objectives, found {search.scheduler}, "
            "which compares trials by one"
        )
    if len(search.objectives) == 1 and study.compare.choose != "accuracy":
        yield (
            f"compare.choose: expected accuracy with a single objective, found {study.compare.choose}; a Pareto front "
            "takes several search.objectives"
        )


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"expected a measure, found an unknown name; {hint}"
