"""Read the runs of an MLflow experiment as a table of configuration, block and score; excluded runs are counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.analysis.columns import BLOCK, CONFIG, FAILED, SCORE
from search.analysis.direction import direction_fault, says_lower
from search.analysis.faults import Faults, near, some
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.table import Coder, NamedRows, Table
from search.journal.mlflow_run import MlflowRun
from search.tracking.mlflow_runs import chosen_uri, fetch_runs
from search.uris import redacted

DIVERGED_TAG = "hybrid_search.diverged"
"""Tag that marks a failed run as diverged, which is an outcome and not a lost run."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Selects the runs of an experiment and their meaning."""

    experiment: str
    """Experiment name or id."""
    metric: str
    """Metric whose last value is the score of a run."""
    group_by: tuple[str, ...]
    """Params or tags that identify a configuration."""
    block: str
    """Param or tag that identifies the repeats of a configuration, the same for all configurations."""
    uri: str | None = None
    """Tracking URI; None: MLFLOW_TRACKING_URI, or the studies' store in `runs`."""


def read_experiment(question: Question, asked: ReadOptions = DETECTED) -> Table:
    """Read the finished runs of an experiment.

    Left out are runs without the metric, without the block, or without any of the params that identify a configuration,
    as well as parent runs and unfinished runs. A failed run is kept if it is tagged as diverged.

    Args:
        question: The runs to read.
        asked: Direction of the metric, required if its name suggests that lower is better.

    Returns:
        One row per run, with a note on each kind of run that was left out.

    Raises:
        TrackingError: MLflow is not installed or the experiment does not exist.
        AnalysisError: No run has the requested fields.
    """
    uri = chosen_uri(question.uri, Path("runs"))
    runs = fetch_runs(uri, question.experiment)
    faults = Faults(f"experiment {question.experiment!r}")
    if not runs:
        faults.add("expected runs, found none; give another experiment")
    faults.check()
    _check_fields(runs, question, faults)
    if not faults and says_lower(question.metric) and asked.direction is None:
        faults.add(f"--metric: {direction_fault(question.metric)}")
    faults.check()
    parents = {run.parent for run in runs}
    kept, left_out = [], dict[str, list[str]]()
    for run in runs:
        reason = _why_not(run, question, parents)
        if reason is None:
            kept.append(run)
        else:
            left_out.setdefault(reason, []).append(run.name)
    if not kept:
        for reason, names in left_out.items():
            faults.add(f"{len(names)} {_runs(names)} {reason}: {some(names)}; no run is left to compare")
        faults.check()
    kept.sort(key=lambda run: _config(run, question.group_by) or "")  # the order in which runs start is arbitrary
    rows = {
        CONFIG: [_config(run, question.group_by) or "" for run in kept],
        BLOCK: [_field(run, question.block) or "" for run in kept],
        SCORE: [repr(run.metrics.get(question.metric, math.nan)) for run in kept],
        FAILED: [str(int(_is_diverged(run))) for run in kept],
    }
    coders = {name: Coder() for name in rows}
    for name, cells in rows.items():
        coders[name].add(cells)
    return Table(
        source=faults.source,
        about={
            "kind": "mlflow",
            "uri": redacted(uri),
            "experiment": question.experiment,
            "metric": question.metric,
            "group_by": list(question.group_by),
            "block": question.block,
            "runs": len(runs),
        },
        columns={name: coder.column() for name, coder in coders.items()},
        places=NamedRows(names=tuple(f"{run.name!r} ({run.run_id[:8]})" for run in kept)),
        num_rows=len(kept),
        notes=tuple(
            f"left out: {len(names)} {_runs(names)} {reason}: {some(names)}" for reason, names in left_out.items()
        ),
    )


def _check_fields(runs: Sequence[MlflowRun], question: Question, faults: Faults) -> None:
    """Check that every requested name exists in some run and is unambiguous."""
    metrics = dict.fromkeys(name for run in runs for name in run.metrics)
    if question.metric not in metrics:
        known = near(question.metric, list(metrics), "known") if metrics else "the runs have none"
        faults.add(f"--metric: no run has a metric {question.metric!r}; {known}")
    params = dict.fromkeys(name for run in runs for name in run.params)
    tags = dict.fromkeys(name for run in runs for name in run.tags)
    known_names = list(dict.fromkeys([*params, *(name for name in tags if not name.startswith("mlflow."))]))
    for option, names in (("--group-by", question.group_by), ("--block", (question.block,))):
        for name in names:
            plain = name.partition(".")[2] if name.startswith(("params.", "tags.")) else name
            if name not in params and name not in tags and plain not in {**params, **tags}:
                hint = near(name, known_names, "known") if known_names else "the runs have none"
                faults.add(f"{option}: no run has a param or tag {name!r}; {hint}")
            elif any(name in run.params and name in run.tags and run.params[name] != run.tags[name] for run in runs):
                faults.add(
                    f"{option}: {name!r} is a param and also a tag with other values; write params.{name} or "
                    f"tags.{name}"
                )


def _why_not(run: MlflowRun, question: Question, parents: set[str | None]) -> str | None:
    """Return why a run is left out, or None."""
    if run.run_id in parents:
        return "with nested runs"
    if run.status != "FINISHED" and not _is_diverged(run):
        return f"{run.status}, not FINISHED"
    if not math.isfinite(run.metrics.get(question.metric, math.nan)) and not _is_diverged(run):
        return f"without the metric {question.metric!r}"
    if _config(run, question.group_by) is None:
        return f"without {' and '.join(map(repr, question.group_by))}"
    if _field(run, question.block) is None:
        return f"without {question.block!r}"
    return None


def _is_diverged(run: MlflowRun) -> bool:
    return run.status == "FAILED" and run.tags.get(DIVERGED_TAG) == "true"


def _config(run: MlflowRun, names: Sequence[str]) -> str | None:
    """Return the configuration of a run; a run may lack params that do not apply to it."""
    if len(names) == 1:
        return _field(run, names[0])
    found = {name: value for name in names if (value := _field(run, name)) is not None}
    return ", ".join(f"{name}={value}" for name, value in found.items()) or None


def _field(run: MlflowRun, name: str) -> str | None:
    """Return a param or a tag; the prefix `params.` or `tags.` selects one of them."""
    for kind, values in (("params.", run.params), ("tags.", run.tags)):
        if name in values:
            return values[name].strip() or None
        if name.startswith(kind) and name.removeprefix(kind) in values:
            return values[name.removeprefix(kind)].strip() or None
    return None


def _runs(names: Sequence[str]) -> str:
    return "run" if len(names) == 1 else "runs"
