"""MLflow experiments as others log them: read whole, judged on what is finished, the rest named and counted."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from search.analysis.experiment import Question, read_experiment
from search.analysis.faults import AnalysisError
from search.analysis.long_format import to_reading
from search.errors import TrackingError
from search.tracking import mlflow_runs
from search.tracking.mlflow_client import connect, default_uri
from search.tracking.mlflow_runs import chosen_uri, fetch_runs


class Store:
    """A SQLite store of this session; every test has experiments of its own."""

    def __init__(self, folder: Path) -> None:
        self.uri = default_uri(folder)
        self.client: Any = connect(self.uri)
        self._count = 0

    def experiment(self) -> str:
        self._count += 1
        name = f"experiment {self._count}"
        self.client.create_experiment(name)
        return name

    def run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
        status: str = "FINISHED",
        **metrics: float,
    ) -> str:
        from mlflow.entities import Metric, Param

        found = self.client.get_experiment_by_name(experiment)
        self._count += 1
        run = self.client.create_run(found.experiment_id, start_time=self._count, run_name=name, tags=dict(tags or {}))
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, 1, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in (params or {}).items()],
        )
        if status != "RUNNING":
            self.client.set_terminated(run.info.run_id, status=status)
        return str(run.info.run_id)


@pytest.fixture(scope="session")
def store(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(Path(shutil.copy(empty_database, tmp_path_factory.mktemp("store"))).parent)


@pytest.fixture
def logged(store: Store) -> Iterator[str]:
    """Two models on three seeds."""
    name = store.experiment()
    for seed in range(3):
        for model, score in (("cnn", 0.5), ("gru", 0.625)):
            tags = {"model": model}
            store.run(name, f"{model} {seed}", params={"seed": seed, "lr": 0.1}, tags=tags, acc=score + seed / 16)
    return name


def ask(store: Store, experiment: str, **more: Any) -> Question:
    return Question(**{
        "experiment": experiment, "metric": "acc", "group_by": ("model",), "block": "seed", "uri": store.uri, **more
    })  # fmt: skip


def test_params_and_tags_make_a_table(store: Store, logged: str) -> None:
    reading = to_reading(read_experiment(ask(store, logged)))
    (results,) = reading.results
    assert results.configs == ("cnn", "gru")
    assert results.blocks == {"cnn": ("0", "1", "2"), "gru": ("0", "1", "2")}
    assert results.scores["gru"].tolist() == [0.625, 0.6875, 0.75]
    assert reading.notes == ()
    assert reading.source["kind"] == "mlflow"


def test_an_experiment_by_its_id(store: Store, logged: str) -> None:
    number = store.client.get_experiment_by_name(logged).experiment_id
    assert read_experiment(ask(store, number)).num_rows == 6


def test_every_page_is_read(store: Store, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fetch_runs(store.uri, logged)
    assert [run.name for run in whole] == ["cnn 0", "gru 0", "cnn 1", "gru 1", "cnn 2", "gru 2"]
    for page in (1, 4, 6):
        monkeypatch.setattr(mlflow_runs, "PAGE", page)
        assert fetch_runs(store.uri, logged) == whole


def test_what_is_left_out_is_named_and_counted(store: Store, logged: str) -> None:
    both = {"params": {"seed": 9}, "tags": {"model": "cnn"}}
    parent = store.run(logged, "all of them", acc=0.9, **both)
    store.run(logged, "nested", params={"seed": 3}, tags={"model": "cnn", "mlflow.parentRunId": parent}, acc=0.5)
    store.run(logged, "still going", status="RUNNING", acc=0.9, **both)
    store.run(logged, "broken", status="FAILED", acc=0.9, **both)
    store.run(logged, "stopped", status="KILLED", acc=0.9, **both)
    store.run(logged, "no metric", loss=0.9, **both)
    store.run(logged, "not a number", acc=math.nan, **both)
    store.run(logged, "no model", params={"seed": 9}, acc=0.9)
    store.run(logged, "no seed", tags={"model": "cnn"}, acc=0.9)
    deleted = store.run(logged, "deleted", acc=0.9, **both)
    store.client.delete_run(deleted)
    reading = to_reading(read_experiment(ask(store, logged)))
    assert reading.results[0].blocks["cnn"] == ("0", "1", "2", "3")
    assert set(reading.notes) == {
        "left out: 1 run with nested runs: all of them",
        "left out: 1 run RUNNING, not FINISHED: still going",
        "left out: 1 run FAILED, not FINISHED: broken",
        "left out: 1 run KILLED, not FINISHED: stopped",
        "left out: 2 runs without the metric 'acc': no metric and not a number",
        "left out: 1 run without 'model': no model",
        "left out: 1 run without 'seed': no seed",
        "some configurations lack blocks: gru lacks block 3; each pair is compared on its common blocks",
    }


def test_a_diverged_run_is_an_outcome(store: Store, logged: str) -> None:
    both = {"params": {"seed": 3}, "status": "FAILED"}
    store.run(logged, "nan", tags={"model": "cnn", "hybrid_search.diverged": "true"}, **both)
    store.run(logged, "lost", tags={"model": "gru", "hybrid_search.diverged": "false"}, **both)
    (results,) = to_reading(read_experiment(ask(store, logged))).results
    assert results.diverged == {"cnn": frozenset({"3"}), "gru": frozenset()}
    assert results.blocks["gru"] == ("0", "1", "2")


def test_several_params_of_which_some_do_not_apply(store: Store) -> None:
    name = store.experiment()
    for seed in "01":
        store.run(name, "a", params={"rnn": "none"}, tags={"seed": seed}, acc=0.5)
        store.run(name, "b", params={"rnn": "gru", "nodes": 16}, tags={"seed": seed}, acc=0.5)
    reading = to_reading(read_experiment(ask(store, name, group_by=("rnn", "nodes"))))
    assert reading.configs == ("rnn=gru, nodes=16", "rnn=none")  # by name: which began first is chance


def test_a_param_and_a_tag_of_one_name(store: Store) -> None:
    name = store.experiment()
    for seed in "01":
        for model in "ab":
            store.run(name, "r", params={"arm": model, "seed": seed}, tags={"arm": "x", "seed": seed}, acc=0.5)
    with pytest.raises(
        AnalysisError,
        match=r"--group-by: 'arm' is a param and also a tag with other values; write params\.arm or tags\.arm",
    ):
        read_experiment(ask(store, name, group_by=("arm",)))
    assert to_reading(read_experiment(ask(store, name, group_by=("params.arm",)))).configs == ("a", "b")
    with pytest.raises(AnalysisError, match="at least two configurations"):
        to_reading(read_experiment(ask(store, name, group_by=("tags.arm",))))


def test_a_run_that_was_made_again_is_named(store: Store, logged: str) -> None:
    again = store.run(logged, "gru again", params={"seed": 1}, tags={"model": "gru"}, acc=0.5)
    with pytest.raises(AnalysisError) as caught:
        to_reading(read_experiment(ask(store, logged)))
    (fault,) = caught.value.faults
    assert fault.startswith(f"experiment {logged!r}, runs 'gru 1' (")
    assert f"'gru again' ({again[:8]}): config 'gru', block '1': expected once, found 2 times; keep one" in fault


def test_a_metric_that_is_no_accuracy(store: Store, logged: str) -> None:
    run = store.run(logged, "odd", params={"seed": 3}, tags={"model": "gru"}, acc=61.5)
    with pytest.raises(
        AnalysisError, match=rf"some scores look like percent \(run 'odd' \({run[:8]}\)\), others like fractions of 1"
    ):
        to_reading(read_experiment(ask(store, logged)))


def test_unknown_names_all_at_once(store: Store, logged: str) -> None:
    with pytest.raises(AnalysisError) as caught:
        read_experiment(ask(store, logged, metric="accc", group_by=("modell", "lr"), block="sead"))
    assert [fault.partition(": ")[2] for fault in caught.value.faults] == [
        "--metric: no run has a metric 'accc'; did you mean 'acc'?",
        "--group-by: no run has a param or tag 'modell'; did you mean 'model'?",
        "--block: no run has a param or tag 'sead'; did you mean 'seed'?",
    ]


def test_the_last_part_of_a_name_is_enough_for_a_hint(store: Store, logged: str) -> None:
    store.run(logged, "ours", tags={"hybrid_search.blocks": "compare-0"}, acc=0.5)
    with pytest.raises(AnalysisError, match=r"'blocks'; did you mean 'hybrid_search\.blocks'"):
        read_experiment(ask(store, logged, block="blocks"))


def test_nothing_is_left(store: Store) -> None:
    name = store.experiment()
    with pytest.raises(AnalysisError, match="expected runs, found none"):
        read_experiment(ask(store, name))
    store.run(name, "only", params={"seed": 1}, tags={"model": "a"}, status="FAILED", acc=0.5)
    with pytest.raises(AnalysisError, match="1 run FAILED, not FINISHED: only; no run is left to compare"):
        read_experiment(ask(store, name))


def test_experiments_that_are_not_there(store: Store, logged: str) -> None:
    with pytest.raises(TrackingError, match="no experiment is called 'Experimen 1'; did you mean 'experiment"):
        fetch_runs(store.uri, "Experimen 1")
    with pytest.raises(TrackingError, match="no experiment is called 'xyz'; known: experiment "):
        fetch_runs(store.uri, "xyz")
    store.client.delete_experiment(store.client.get_experiment_by_name(logged).experiment_id)
    with pytest.raises(TrackingError, match="was deleted; restore it in MLflow"):
        fetch_runs(store.uri, logged)


def test_stores_that_are_not_there_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in (f"sqlite:///{tmp_path}/a/b.db", f"{tmp_path}/mlruns", "mlruns", f"file://{tmp_path}/my%20runs"):
        with pytest.raises(TrackingError, match="not found; give the store with --tracking-uri"):
            fetch_runs(uri, "x")
    Path("my.db").touch()
    with pytest.raises(TrackingError, match=rf"found a file; write sqlite:///{tmp_path}/my.db"):
        fetch_runs("my.db", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["my.db"]


def test_a_folder_of_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    client = connect(str(tmp_path / "mlruns"))
    experiment = client.create_experiment("old")
    client.create_run(experiment, run_name="only")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    for uri in ("mlruns", "file:./mlruns", f"file://{tmp_path}/mlruns"):
        (run,) = fetch_runs(uri, "old")
        assert (run.name, run.status) == ("only", "RUNNING")


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert chosen_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert chosen_uri(None, tmp_path) == "http://there"
    assert chosen_uri("http://here", tmp_path) == "http://here"
