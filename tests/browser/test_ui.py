"""The MLflow UI on a study's store, in a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[str]:
    """Address of the UI of a small finished sweep."""
    study = tmp_path / "study.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "name": "shown",
                "storage": str(tmp_path / "runs"),
                "data": {"name": "digits", "limit": 200},
                "space": "ecrnn",
                "fix": {"layout": "positions"},
                "train": {"epochs": 3, "batch": 32},
                "search": {"trials": 3, "scheduler": "none"},
                "resources": {"runner": "inline"},
            }
        )
    )
    program = [sys.executable, "-m", "search.cli"]
    subprocess.run([*program, "sweep", str(study)], check=True, capture_output=True, timeout=200)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*program, "ui", str(study), "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    address = f"http://127.0.0.1:{port}"
    assert server.stderr is not None
    # What it prints is where the run table is, whatever MLflow's front page shows.
    printed = server.stderr.readline()
    assert f"experiment `shown` at {address}/#/experiments/1/runs?workflowType=machine_learning " in printed
    for _ in range(120):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    yield address
    started = psutil.Process(server.pid).children(recursive=True)
    assert started
    server.terminate()
    assert server.wait(timeout=30) == 0
    _, left = psutil.wait_procs(started, timeout=10)
    assert not left, "the server outlived the command"


def test_runs_and_charts_are_there(ui: str) -> None:
    from mlflow import MlflowClient
    from playwright.sync_api import sync_playwright

    client = MlflowClient(ui)
    found = client.get_experiment_by_name("shown")
    assert found is not None
    experiment = found.experiment_id
    trials = client.search_runs([experiment], "tags.`hybrid_search.kind` = 'trial'")
    assert len(trials) == 3
    run = next(trial.info.run_id for trial in trials if "trial 0" in trial.info.run_name)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{ui}/#/experiments/{experiment}/runs?workflowType=machine_learning")
        page.get_by_text("shown sweep").first.wait_for(timeout=30_000)
        page.get_by_text("Sort: Created").first.wait_for(timeout=30_000)
        page.goto(f"{ui}/#/experiments/{experiment}/runs/{run}/model-metrics")
        page.get_by_text("trial 0").first.wait_for(timeout=30_000)
        # The charts are in alphabetical order, and only those that are visible are drawn.
        page.get_by_placeholder("Search metric charts").fill("val_accuracy")
        page.get_by_text("val_accuracy").first.wait_for(timeout=30_000)
        page.goto(f"{ui}/#/experiments/{experiment}/runs/{run}/artifacts")
        page.get_by_text("confusion.png").first.wait_for(timeout=30_000)
        browser.close()
