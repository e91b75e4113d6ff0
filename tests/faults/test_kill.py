"""A sweep killed at random moments and run again: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from search.records import Completed, Stopped
from search.tracking.journal import read_events, read_records

NUM_TRIALS, NUM_EPOCHS = 10, 6


def _command(study: Path) -> list[str]:
    return [sys.executable, "-m", "search.cli", "sweep", str(study)]


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the driver and everything it started: raylet, head, workers, and the mirror."""
    victims = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for victim in victims:
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(victims, timeout=10)


@pytest.mark.slow
@pytest.mark.ray
def test_three_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """SIGKILL driver and workers three times at random moments, then let the command finish."""
    seed = int(os.environ.get("HYBRID_SEARCH_FAULT_SEED", "0")) or random.randrange(1, 10**6)
    rng = random.Random(seed)
    study = tmp_path / "study.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "name": "killed",
                "storage": str(tmp_path / "runs"),
                "data": {"name": "digits"},
                "space": "ecrnn",
                "fix": {"layout": "positions"},
                "model": {"init": "keras"},
                "train": {"epochs": NUM_EPOCHS, "batch": 32},
                "search": {"trials": NUM_TRIALS, "grace_epochs": 3, "reduction": 2},
            }
        )
    )
    folder = tmp_path / "runs" / "killed"
    log = tmp_path / "log.txt"
    for _ in range(3):
        with log.open("ab") as stream:
            process = subprocess.Popen(_command(study), stdout=stream, stderr=stream)
            epochs_before = _num_epochs(folder)
            target = epochs_before + rng.randint(1, 10)
            while process.poll() is None and _num_epochs(folder) < target:
                time.sleep(0.05)
            time.sleep(rng.random())
            assert process.poll() is None, f"seed {seed}: finished before it was killed\n{log.read_text()}"
            _kill_tree(process)
    subprocess.run([*_command(study), "--json"], check=True, capture_output=True, timeout=300)

    records = read_records(folder)
    assert len(records) == NUM_TRIALS, f"seed {seed}"
    assert all(isinstance(record.outcome, Completed | Stopped) for record in records.values()), f"seed {seed}"
    events = list(read_events(folder / "journal.jsonl"))
    told = [(event["key"], event["metrics"]["epoch"]) for event in events if event["event"] == "epoch"]
    assert len(told) == len(set(told)), f"seed {seed}: an epoch was trained twice"
    ends = [event["key"] for event in events if event["event"] == "end"]
    assert sorted(ends) == sorted(records), f"seed {seed}: a trial ended twice"
    assert any(record.resumed for record in records.values()), f"seed {seed}: the kills hit nothing"
    _check_optuna(folder, records)
    _check_mlflow(tmp_path / "runs", records)


def _num_epochs(folder: Path) -> int:
    return sum(event["event"] == "epoch" for event in read_events(folder / "journal.jsonl"))


def _check_optuna(folder: Path, records: dict) -> None:
    import optuna

    from search.proposals import open_storage

    study = optuna.load_study(study_name="killed", storage=open_storage(folder))
    trials = {trial.user_attrs.get("digest"): trial for trial in study.trials}
    states = [trial.state.name for trial in study.trials]
    assert "RUNNING" not in states
    assert states.count("COMPLETE") == sum(isinstance(record.outcome, Completed) for record in records.values())
    assert states.count("PRUNED") == sum(isinstance(record.outcome, Stopped) for record in records.values())
    assert trials


def _check_mlflow(storage: Path, records: dict) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("killed")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    keys = [run.data.tags["hybrid_search.key"] for run in runs if run.data.tags.get("hybrid_search.kind") == "trial"]
    assert sorted(keys) == sorted(records), "one MLflow run each"
    assert all(run.info.status == "FINISHED" for run in runs), [run.info.status for run in runs]
    for run in runs:
        record = records.get(run.data.tags["hybrid_search.key"])
        if record is not None:
            history = client.get_metric_history(run.info.run_id, "val_accuracy")
            assert len(history) == len(record.curve)
            assert run.data.metrics["val_accuracy"] == pytest.approx(record.val_accuracy)
