"""The view of the run table: what MLflow's page reads, and the address that leads to it."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from search.journal.follower import Follower
from search.tracking.mirror import Mirror
from search.tracking.page import page_of
from search.tracking.run_table import MAX_CHARS, experiment_tags
from search.tracking.run_values import StudyFacts
from spaces.space import Space

if TYPE_CHECKING:
    from conftest import Server, Study

SPACE = Space.from_dict(
    "s",
    {
        "cell": ["none", "lstm"],
        "rate": {"float": [0.001, 0.1]},
        "nodes": {"int": [8, 64], "when": {"cell": "lstm"}},
        "depth": 2,
    },
)


def tags_of(study: Study, facts: StudyFacts | None = None) -> dict[str, str]:
    journal = Follower(study.folder)
    journal.read()
    return experiment_tags(journal, "my-study", facts)


def state_of(tags: dict[str, str], study: Study) -> dict[str, Any]:
    """The state as the page unpacks it."""
    journal = Follower(study.folder)
    journal.read()
    saved = json.loads(tags[f"mlflow.sharedViewState.{journal.journal_id}"])
    packed = saved["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert {name: saved[name] for name in state} == state
    assert (saved["name"], saved["createdAt"]) == ("my-study: best first", journal.first_ms)
    return state


def test_the_columns_are_scores_and_the_free_parameters_and_the_best_trial_is_first(study: Study) -> None:
    study.session()
    state = state_of(tags_of(study, StudyFacts(space=SPACE)), study)
    assert state["selectedColumns"] == [
        "metrics.`val_accuracy`",
        "metrics.`test_accuracy`",
        "metrics.`epoch`",
        "metrics.`num_parameters`",
        "tags.`hybrid_search.outcome`",
        "params.`cell`",
        "params.`rate`",
        "params.`nodes`",
    ]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`val_accuracy`", False)
    parallel, line = state["compareRunCharts"]
    # A run without nodes would not be drawn.
    assert (parallel["selectedParams"], parallel["selectedMetrics"]) == (["cell", "rate"], ["val_accuracy"])
    assert line["metricKey"] == "val_accuracy"


def test_another_objective_orders_the_runs_if_accuracy_is_none(study: Study) -> None:
    study.session(objectives={"val_loss": "min"})
    tags = tags_of(study)
    state = state_of(tags, study)
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`val_loss`", True)
    assert state["selectedColumns"][:3] == ["metrics.`val_accuracy`", "metrics.`val_loss`", "metrics.`test_accuracy`"]
    assert tags["mlflow.experiment.primaryMetric.name"] == "val_loss"
    study.session(objectives={"num_parameters": "min", "val_accuracy": "max"})
    state = state_of(tags_of(study), study)
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`val_accuracy`", False)


def test_a_large_space_is_cut_at_the_limit_of_a_tag(study: Study) -> None:
    study.session()
    names = [f"a_parameter_with_a_long_name_{number}" for number in range(100)]
    space = Space.from_dict("s", {name: [0, 1] for name in names})
    tags = tags_of(study, StudyFacts(space=space))
    assert max(map(len, tags.values())) <= MAX_CHARS
    columns = state_of(tags, study)["selectedColumns"]
    assert 10 < len(columns) < 100
    assert columns[5] == f"params.`{names[0]}`"


def test_the_address_leads_to_the_view_that_the_copy_stored(study: Study, server: Server) -> None:
    study.session()
    mirror = Mirror(study.folder, uri=server.uri, experiment=server.experiment)
    mirror.sync()
    journal_id = study.journal.id
    address = "http://127.0.0.1:5000"

    def page(experiment: str = server.experiment, journal_id: str = journal_id) -> str:
        return page_of(server.uri, experiment, address=address, journal_id=journal_id)

    table = f"{address}/#/experiments/1/runs?workflowType=machine_learning"
    assert page() == f"{table}&viewStateShareKey={journal_id}"
    # A copy of an earlier version has no view, and before the first start there is no experiment.
    assert page(journal_id="0123") == table
    assert page("none") == address
    assert page_of("sqlite:////nowhere/mlflow.db", "none", address=address, journal_id="") == address


def test_the_view_is_stored_once(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    study.session()
    Mirror(study.folder, uri=server.uri, experiment=server.experiment).sync()
    monkeypatch.setattr(MlflowClient, "set_experiment_tag", lambda *_: pytest.fail("a request was sent"))
    Mirror(study.folder, uri=server.uri, experiment=server.experiment).sync()


def test_a_study_file_that_cannot_be_read_is_said_and_does_not_hold_up_the_copy(
    study: Study, server: Server, tmp_path: Path
) -> None:
    from search.errors import StudyError

    def facts() -> StudyFacts:
        raise StudyError(f"{tmp_path}: damaged")

    study.session()
    study.trial("a")
    said: list[str] = []
    Mirror(study.folder, uri=server.uri, experiment=server.experiment, print_line=said.append, facts=facts).sync()
    assert server.run("a").info.status == "FINISHED"
    assert said == [f"the runs in MLflow lack the study's settings, which cannot be read: {tmp_path}: damaged"]
