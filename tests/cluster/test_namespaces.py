"""The cluster of docker/compose.yaml without a container engine: its scripts and its environment, in namespaces.

PostgreSQL, an S3 server, MLflow, a Ray head and workers, and a driver, each with an address of its own. A sweep goes
through all of them while one node joins and another one's plug is pulled; then it is compared, reported, exported and
looked at in a browser.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.journal.reading import read_events, read_records
from search.records import Completed, TrialRecord

pytestmark = [pytest.mark.slow, pytest.mark.ray]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STUDY = Path(__file__).parents[2] / "docker" / "studies" / "cluster.yaml"
NUM_TRIALS = yaml.safe_load(STUDY.read_text())["search"]["trials"]


def here(cluster: Any) -> tuple[str, ...]:
    """What the tests change in the shipped study: its place, and no trial is stopped while nodes come and go."""
    return ("--set", f"storage={cluster.studies}", "--set", "search.scheduler=none")


def trials_of(folder: Path) -> list[TrialRecord]:
    """The sweep's trials, as the journal tells so far."""
    found = read_records(folder).values() if (folder / "journal.jsonl").is_file() else ()
    return [record for record in found if record.kind == "trial"]


@pytest.fixture(scope="module")
def swept(cluster: Any) -> Path:
    """Folder of a sweep during which worker-3 joined, and worker-2's plug was pulled while it trained."""
    folder = cluster.studies / "cluster"
    driver = cluster.start_driver("sweep", STUDY, *here(cluster))

    def wait_for(what: str, true: Any) -> None:
        def seen() -> bool:
            assert driver.process.poll() is None, f"{what}: the sweep has ended\n{driver.tail()}"
            return any(true(trial) for trial in trials_of(folder))

        cluster.wait_until(what, seen, 300, driver.tail)

    wait_for("a finished trial", lambda trial: trial.outcome is not None)
    cluster.start_worker("worker-3")
    wait_for("a trial on the node that joined", lambda trial: trial.node.startswith("worker-3/"))
    wait_for("a trial at work", lambda trial: trial.outcome is None and trial.node.startswith("worker-2/"))
    cluster.engine.containers["worker-2"].pull_the_plug()
    cluster.wait_until("the end of the sweep", lambda: driver.process.poll() is not None, 900, driver.tail)
    assert driver.process.returncode == 0, cluster.engine.logs()
    return folder


def test_every_trial_once_and_some_on_the_node_that_joined(swept: Path) -> None:
    trials = trials_of(swept)
    assert len(trials) == NUM_TRIALS
    assert all(isinstance(trial.outcome, Completed) for trial in trials), [trial.outcome for trial in trials]
    events = list(read_events(swept / "journal.jsonl"))
    ends = Counter(event["key"] for event in events if event["event"] == "end")
    assert set(ends.values()) == {1}
    epochs = Counter((event["key"], event["metrics"]["epoch"]) for event in events if event["event"] == "epoch")
    assert set(epochs.values()) == {1}, "an epoch was told twice"
    hosts = Counter(trial.node.split("/")[0] for trial in trials)
    assert set(hosts) == {"worker-1", "worker-2", "worker-3"}, hosts


def test_optuna_remembers_in_postgresql(cluster: Any, swept: Path) -> None:
    states = {
        state: int(number)
        for state, number in cluster.sql("optuna", "SELECT state, count(*) FROM trials GROUP BY state")
    }
    assert set(states) == {"COMPLETE"}
    assert sum(states.values()) == NUM_TRIALS
    assert not (swept / "optuna.log").exists()


def test_mlflow_has_one_ended_run_per_trial_and_its_files_in_the_bucket(cluster: Any, swept: Path) -> None:
    runs = cluster.sql(
        "mlflow",
        "SELECT t.value, r.status, count(*) FROM runs r JOIN tags t USING (run_uuid) "
        "WHERE t.key = 'hybrid_search.kind' GROUP BY 1, 2",
    )
    assert not [run for run in runs if run[1] == "RUNNING"], runs
    assert sum(int(number) for kind, _, number in runs if kind == "trial") == NUM_TRIALS, runs
    kept = cluster.objects("mlflow")
    assert any(key.endswith("study.yaml") for key in kept), kept


def test_nobody_gets_in_without_the_secrets(cluster: Any, swept: Path) -> None:
    mlflow, head, worker = (cluster.engine.containers[name] for name in ("mlflow", "ray-head", "worker-1"))
    place = f"http://{mlflow.address}:5000/api/2.0/mlflow/experiments/search?max_results=1"
    assert cluster.status(place, host="mlflow:5000") == 401
    assert cluster.status(place, host="mlflow:5000", signed_in=True) == 200
    assert cluster.status(place, host="evil.example", signed_in=True) == 403
    assert worker.exec("healthy.sh").returncode == 0
    wrong = worker.exec("env", f"RAY_AUTH_TOKEN={'0' * 32}", "healthy.sh", check=False)
    assert wrong.returncode != 0
    if cluster.dashboard:
        assert cluster.status(f"http://{head.address}:8265/api/v0/nodes", host="localhost:8265") == 401


def test_compared_reported_exported(cluster: Any, swept: Path) -> None:
    storage = here(cluster)
    compared = json.loads(cluster.drive("compare", STUDY, *storage, "--repeats", "3", "--json"))
    assert compared["comparisons"][0]["num_blocks"] == 3
    cluster.drive("report", STUDY, *storage)
    assert (swept / "report.html").stat().st_size > 100_000
    winner = cluster.studies / "winner"
    exported = json.loads(cluster.drive("export", STUDY, *storage, "--to", winner, "--json"))
    assert exported["registered"]
    assert (winner / "model.safetensors").is_file()
    status = json.loads(cluster.drive("status", STUDY, *storage, "--json"))
    assert status["trials"]["completed"] + status["trials"]["stopped"] == NUM_TRIALS
    assert status["verdicts"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_the_run_table_is_browsed_with_a_password(cluster: Any, swept: Path) -> None:
    from playwright.sync_api import sync_playwright

    ((experiment,),) = cluster.sql("mlflow", "SELECT experiment_id FROM experiments WHERE name = 'cluster'")
    name = f"MAP mlflow {cluster.engine.containers['mlflow'].address}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--host-resolver-rules={name}"],
        )
        page = browser.new_page(
            viewport={"width": 1600, "height": 1000},
            http_credentials={"username": "admin", "password": cluster.secrets["MLFLOW_ADMIN_PASSWORD"]},
        )
        page.goto(f"http://mlflow:5000/#/experiments/{experiment}/runs")
        page.get_by_text("cluster sweep").first.wait_for(timeout=60_000)
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/mlflow.png")
        browser.close()


def test_a_study_is_kept_in_the_bucket(cluster: Any) -> None:
    changes = ("name=in-bucket", "storage=s3://studies", "search.trials=3", "train.epochs=2")
    words = [word for change in changes for word in ("--set", change)]
    done = json.loads(cluster.drive("sweep", STUDY, *words, "--json"))
    assert done["trials"]["completed"] + done["trials"]["stopped"] == 3
    kept = cluster.objects("studies")
    assert any(name.startswith("in-bucket/journal/") for name in kept), kept
    # Another machine, whose folders are empty, has nothing left to do and says the same.
    again = json.loads(cluster.drive("sweep", STUDY, *words, "--json"))
    assert again["nominated"] == done["nominated"]


def test_no_secret_is_written_down(cluster: Any, swept: Path) -> None:
    """Last, when everything has been written: journal, resolved study, report, logs, export, homes."""
    files = [path for path in cluster.engine.folder.rglob("*") if path.is_file() and "postgres" not in path.parts]
    assert any(path.name == "journal.jsonl" for path in files)
    for path in files:
        data = path.read_bytes()
        found = [name for name, secret in cluster.secrets.items() if secret.encode() in data]
        assert not found, f"{found} in {path}"
