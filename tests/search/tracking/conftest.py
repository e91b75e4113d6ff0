"""A study folder with a journal written by hand, and an MLflow store of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from search.journal.journal import Journal
from search.journal.mlflow_run import KEY_TAG
from search.records import Completed, EpochMetrics, Outcome, TrialRecord
from search.tracking.mlflow_client import connect, default_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STUDY = """\
name: my-study
data: {name: digits}
space: ecrnn
train: {epochs: 3, batch: 32}
search: {trials: 4}
"""
START = 1_700_000_000.0
DATA = {"name": "digits", "digest": "d1g3st", "num_train": 1437, "num_test": 360, "root": "/somewhere"}


def metrics(epoch: int, accuracy: float | None = 0.5) -> EpochMetrics:
    """One epoch of a training; without an accuracy, one without validation."""
    return EpochMetrics(
        epoch=epoch,
        train_loss=1 / epoch,
        train_accuracy=0.6,
        val_loss=None if accuracy is None else 2 / epoch,
        val_accuracy=accuracy,
        learning_rate=0.1,
        elapsed_secs=0.5,
        num_images=100,
    )


class Study:
    """The driver's side: a study folder and its open journal."""

    def __init__(self, storage: Path) -> None:
        self.folder = storage / "my-study"
        self.folder.mkdir()
        self.folder.joinpath("study.yaml").write_text(STUDY)
        self.journal = Journal(self.folder)

    def session(self, verb: str = "sweep", **fields: object) -> None:
        """The driver starts."""
        base: dict[str, Any] = {
            "pid": 1,
            "versions": {"python": "3.11.0", "torch": "2.12.0"},
            "git": "0123abcd",
            "device": "cpu",
            "data": DATA,
            "classes": ["zero", "one"],
        }
        self.journal.note("session", verb=verb, **(base | fields))

    metrics = staticmethod(metrics)

    def begin(self, key: str, kind: str = "trial", point: Mapping[str, Any] | None = None) -> None:
        """A training starts."""
        self.journal.begin(
            TrialRecord(
                key=key,
                number=len(self.journal.records),
                label=f"label of {key}",
                kind=kind,
                point=point if point is not None else {"cell": "lstm", "nodes": 16, "encoder": {"depth": 2}},
                blocks=("block-0",),
                curve=(),
                outcome=None,
                started_at=START,
                finished_at=None,
                node="",
            )
        )

    def epochs(self, key: str, first: int, last: int, accuracy: float | None = 0.5) -> None:
        """Some epochs end."""
        for epoch in range(first, last + 1):
            self.journal.epoch(key, metrics(epoch, accuracy), "node-1")

    def trial(self, key: str, num_epochs: int = 1, outcome: Outcome | None = None, **more: Any) -> None:
        """A whole training."""
        accuracy = more.pop("accuracy", 0.5)
        self.begin(key, kind=more.pop("kind", "trial"), point=more.pop("point", None))
        self.epochs(key, 1, num_epochs, accuracy)
        self.journal.end(key, outcome or Completed(), **more)


class Server:
    """The MLflow side, looked at through MLflow's own client."""

    def __init__(self, uri: str, experiment: str = "my-study") -> None:
        self.uri, self.experiment = uri, experiment
        self.client: MlflowClient = connect(uri)

    def runs(self, key: str | None = None) -> list[Run]:
        """All runs of the experiment, or those with a key."""
        found = self.client.get_experiment_by_name(self.experiment)
        clause = f"tags.`{KEY_TAG}` = '{key}'" if key else ""
        return list(self.client.search_runs([found.experiment_id], clause, max_results=1000)) if found else []

    def run(self, key: str) -> Run:
        """The only run with this key."""
        (run,) = self.runs(key)
        return run

    def history(self, run: Run | str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of all that was ever logged to a run, or to the only one with a key."""
        found = self.run(run) if isinstance(run, str) else run
        items = self.client.get_metric_history(found.info.run_id, metric)
        return [(item.step, item.value) for item in sorted(items, key=lambda item: item.step)]

    def files(self, run: Run | str) -> set[str]:
        """Names of the artifacts."""
        found = self.run(run) if isinstance(run, str) else run
        return {item.path for item in self.client.list_artifacts(found.info.run_id)}

    def by_key(self) -> dict[str, Run]:
        """Key -> run, of all runs; fails if a key has two."""
        runs = self.runs()
        found = {run.data.tags[KEY_TAG]: run for run in runs}
        assert len(found) == len(runs)
        return found

    def statuses(self) -> dict[str, str]:
        """Key -> status, of all runs; fails if a key has two."""
        return {key: run.info.status for key, run in self.by_key().items()}


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Server:
    """An empty SQLite store."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Server(default_uri(tmp_path))


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """An empty study."""
    made = Study(tmp_path)
    yield made
    made.journal.close()
