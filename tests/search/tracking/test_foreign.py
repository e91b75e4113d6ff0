"""Somebody else's MLflow experiment is left alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.commands.plan import make_plan
from search.errors import TrackingError
from search.journal.journal import Journal
from search.journal.mlflow_run import JOURNAL_TAG, KEY_TAG
from search.study.config import StudyConfig
from search.sweep.run import run_sweep
from search.tracking import foreign
from search.tracking.foreign import refuse_foreign_experiment
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import connect, default_uri


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    """An MLflow database in the storage folder of the small studies."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    return default_uri(tmp_path / "runs")


def make_experiment(uri: str, *journals: str | None) -> Any:
    """An experiment with a run of each journal; None: of somebody else's."""
    client = connect(uri)
    experiment = client.create_experiment("tiny")
    for index, journal in enumerate(journals):
        tags = {} if journal is None else {JOURNAL_TAG: journal}
        client.create_run(experiment, run_name=f"run {index}", tags=tags)
    return client


@pytest.fixture(params=["file", "client"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite file is looked into without MLflow, a server is asked: both say the same."""
    if request.param == "client":
        monkeypatch.setattr(foreign, "_read_database", foreign._query_server)


@pytest.mark.usefixtures("reader")
def test_an_experiment_with_other_runs_is_refused(uri: str) -> None:
    client = make_experiment(uri, "other journal of ours")
    refuse_foreign_experiment(uri, "tiny", "")
    refuse_foreign_experiment(uri, "another name", "")
    (experiment,) = [item for item in client.search_experiments() if item.name == "tiny"]
    client.create_run(experiment.experiment_id, run_name="tiny export", tags={KEY_TAG: "export"})
    refuse_foreign_experiment(uri, "tiny", "mine")  # an export that came before the copy
    theirs = client.create_run(experiment.experiment_id, run_name="their run")
    for journal_id in ("", "mine"):
        with pytest.raises(TrackingError, match=r"tiny contains 1 run that .*'their run'.*set tracking\.experiment to"):
            refuse_foreign_experiment(uri, "tiny", journal_id)
    client.create_run(experiment.experiment_id, tags={JOURNAL_TAG: "mine"})
    refuse_foreign_experiment(uri, "tiny", "mine")
    client.delete_run(theirs.info.run_id)
    refuse_foreign_experiment(uri, "tiny", "")


@pytest.mark.usefixtures("reader")
def test_a_deleted_experiment_keeps_a_study_from_beginning_and_stops_no_other(uri: str) -> None:
    client = make_experiment(uri, "mine")
    (experiment,) = [item for item in client.search_experiments() if item.name == "tiny"]
    client.create_run(experiment.experiment_id, run_name="tiny export", tags={KEY_TAG: "export"})
    refuse_foreign_experiment(uri, "tiny", "mine")  # an export that came before the copy
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match=r"experiment tiny was deleted; restore it .* or set tracking\.experiment"):
        refuse_foreign_experiment(uri, "tiny", "")
    refuse_foreign_experiment(uri, "tiny", "mine")


def test_plan_and_sweep_refuse_before_anything_is_written(
    make_study: Callable[..., StudyConfig], uri: str, tmp_path: Path
) -> None:
    make_experiment(uri, None)
    before = (tmp_path / "runs" / "mlflow.db").read_bytes()
    study = make_study(tracking={})
    for command in (make_plan, run_sweep):
        with pytest.raises(
            TrackingError, match=r"^sqlite:.*mlflow\.db: experiment tiny contains 1 run that hybrid-search"
        ):
            command(study)
    assert not study.folder.exists()
    assert (tmp_path / "runs" / "mlflow.db").read_bytes() == before
    refused = make_study(tracking={"experiment": "tiny of mine"})
    make_plan(refused)


def test_whoever_writes_the_copy_looks_too(make_study: Callable[..., StudyConfig], uri: str) -> None:
    client = make_experiment(uri, None)
    study = make_study()
    study.folder.mkdir()
    with Journal(study.folder) as journal:
        journal.note("session", verb="sweep")
    with pytest.raises(TrackingError, match="experiment tiny contains 1 run that hybrid-search did not make"):
        Mirror(study.folder, uri=uri, experiment="tiny").sync()
    (experiment,) = [item for item in client.search_experiments() if item.name == "tiny"]
    assert len(client.search_runs([experiment.experiment_id])) == 1
