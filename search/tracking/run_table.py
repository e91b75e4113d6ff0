"""The run table of MLflow's page with columns, order and charts already chosen, stored as tags of the experiment.

MLflow 3.17 reads the tag `mlflow.sharedViewState.KEY` if the page's address has `viewStateShareKey=KEY`, and lists it
among the saved views. The names of the fields are those of its page (`ExperimentPageUIState`).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from search.journal.follower import Follower
from search.journal.mlflow_run import PREFIX
from search.tracking.run_values import StudyFacts
from spaces.domains import Fixed

VIEW_TAG = "mlflow.sharedViewState."
"""Beginning of the tags with views."""
MAX_CHARS = 5_000
"""MLflow's limit of a tag of an experiment."""
NUM_AXES = 8
"""Most parameters among the parallel coordinates."""
PIXELS = {
    "attributes.`Run Name`": 240,
    "metrics.`test_accuracy`": 110,
    "metrics.`epoch`": 70,
    "metrics.`num_parameters`": 130,
    f"tags.`{PREFIX}outcome`": 170,
}
"""Widths of columns; of others the page's default."""
_METRICS = ("test_accuracy", "epoch", "num_parameters")
"""Metrics that have a column beside the objectives."""


def experiment_tags(journal: Follower, study: str, facts: StudyFacts | None) -> dict[str, str]:
    """Return the tags of an experiment that make MLflow show a study's runs as those of model training, best first.

    The runs are in the order of the validation accuracy, or of another objective if the sweep does not have this one.

    Args:
        journal: The followed journal, whose id is the key of the view.
        study: Name of the study.
        facts: Its space, whose free parameters have a column each, as many as fit; None for no such columns.
    """
    goals = dict(journal.sessions.get("sweep", {}).get("objectives") or {"val_accuracy": "max"})
    goals = dict(sorted(goals.items(), key=lambda goal: goal[0] != "val_accuracy"))
    free = [item for item in facts.space.parameters if not isinstance(item.domain, Fixed)] if facts else []
    # Parallel coordinates leave out runs without a value of one of the axes.
    axes = [item.name for item in free if not item.when][:NUM_AXES]
    parameters = [item.name for item in free]
    while len(text := _view(study, journal.first_ms, parameters, goals, axes)) > MAX_CHARS and parameters:
        parameters.pop()
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": next(iter(goals)),
        f"{VIEW_TAG}{journal.journal_id}": text,
    }


def _view(study: str, at_ms: int, parameters: Sequence[str], goals: Mapping[str, str], axes: Sequence[str]) -> str:
    metrics = list(dict.fromkeys(("val_accuracy", *goals, *_METRICS)))
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        f"tags.`{PREFIX}outcome`",
        *(f"params.`{name}`" for name in parameters),
    ]
    first = next(iter(goals))
    state = {
        "orderByKey": f"metrics.`{first}`",
        "orderByAsc": goals[first] == "min",
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns, "duration"],
        "columnWidths": PIXELS,
        "compareRunCharts": _charts(list(goals), axes),
        "compareRunSections": [_SECTION, _SYSTEM_SECTION],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    saved = {"name": f"{study}: best first", "createdAt": at_ms, "updatedAt": at_ms, "state": f"deflate;{packed}"}
    # A page without saved views reads the fields of the state beside it.
    return json.dumps({**saved, **state}, separators=(",", ":"))


def _charts(metrics: list[str], axes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the charts of the page in their order; it adds one for each other metric."""
    common = {"metricSectionId": _SECTION["uuid"], "deleted": False, "isGenerated": False}
    parallel = {
        **common,
        "uuid": "parallel",
        "type": "PARALLEL",
        "runsCountToCompare": 100,
        "selectedParams": list(axes),
        "selectedMetrics": metrics,
        "showAllRuns": True,
    }
    lines = [
        {
            **common,
            "uuid": f"line-{name}",
            "type": "LINE",
            "runsCountToCompare": 10,
            "metricKey": name,
            "selectedMetricKeys": [name],
            "lineSmoothness": 0,
            "scaleType": "linear",
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "selectedXAxisMetricKey": "",
        }
        for name in metrics[:1]
    ]
    return [*([parallel] if axes else []), *lines]


_SECTION = {
    "uuid": "model-metrics",
    "name": "Model metrics",
    "display": True,
    "isReordered": True,
    "deleted": False,
    "isGenerated": True,
}
"""The section of the charts; marked as reordered, so that the page adds further charts at its end."""
_SYSTEM_SECTION = {**_SECTION, "uuid": "system-metrics", "name": "System metrics"}
