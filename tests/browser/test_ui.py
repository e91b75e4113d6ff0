"""The MLflow UI on a study's store, in a real browser."""

from __future__ import annotations

import re
import shutil
import signal
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
    """Address of the run table of a small finished sweep."""
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
    # It prints where the run table is, whatever MLflow's front page shows, and only once the server answers.
    printed = server.stderr.readline()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == 0, printed
    assert f"experiment `shown` at {address}/#/experiments/1/runs?workflowType=machine_learning&viewStateSh" in printed
    yield re.findall(r"http://\S+", printed)[0]
    started = psutil.Process(server.pid).children(recursive=True)
    assert started
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=30) == 0
    assert server.stderr.read() == "", "it printed more than one line"
    _, left = psutil.wait_procs(started, timeout=10)
    assert not left, "the server outlived the command"


def test_the_table_the_charts_and_a_run_show_the_numbers(ui: str) -> None:
    from mlflow import MlflowClient
    from playwright.sync_api import sync_playwright

    server, experiment = re.findall(r"(http://[^/]+)/#/experiments/(\d+)/", ui)[0]
    client = MlflowClient(server)
    trials = client.search_runs(
        [experiment], "tags.`hybrid_search.kind` = 'trial'", order_by=["metrics.val_accuracy DESC"]
    )
    assert len(trials) == 3
    accuracies = [_shown(run.data.metrics["val_accuracy"]) for run in trials]
    ids = [run.info.run_id for run in trials]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 2000, "height": 1000})
        page.set_default_timeout(60_000)
        column = "[role=gridcell][col-id='metrics.`val_accuracy`']"

        def cells() -> list[str]:
            found = page.locator(column)
            shown = {found.nth(place).evaluate(_PLACE): found.nth(place).inner_text() for place in range(found.count())}
            return [text for _, text in sorted(shown.items()) if text != "-"]

        page.goto(ui)
        page.locator(column).first.wait_for()
        page.get_by_text("Sort: val_accuracy").first.wait_for()
        assert cells() == accuracies
        headings = page.evaluate(_HEADINGS)
        # No repeat has been tested, so there is no column of test accuracies.
        first = ["val_accuracy", "epoch", "num_parameters", "hybrid_search.outcome"]
        place = headings.index("val_accuracy")
        assert headings[place : place + 4] == first
        assert headings[place + 4] in trials[0].data.params
        page.locator(".ag-header-cell", has_text="val_accuracy").first.click()
        page.wait_for_url(re.compile("orderByAsc=true"))
        until = time.monotonic() + 60
        while cells() != accuracies[::-1] and time.monotonic() < until:
            page.wait_for_timeout(200)
        assert cells() == accuracies[::-1]

        page.goto("about:blank")
        page.goto(f"{ui}&compareRunsMode=CHART")
        page.get_by_text("Parallel Coordinates").first.wait_for()
        page.get_by_text("val_accuracy").first.wait_for()

        page.goto("about:blank")
        named = ",".join(f'"{run_id}"' for run_id in ids)
        page.goto(f'{server}/#/compare-runs?runs=[{named}]&experiments=["{experiment}"]')
        page.locator(".js-plotly-plot", has_text="val_accuracy").first.wait_for()

        page.goto(f"{server}/#/experiments/{experiment}/runs/{ids[0]}/model-metrics")
        # The charts are in alphabetical order, and only those that are visible are drawn.
        page.get_by_placeholder("Search metric charts").fill("val_accuracy")
        page.get_by_text("val_accuracy").first.wait_for()
        page.goto(f"{server}/#/experiments/{experiment}/runs/{ids[0]}/artifacts")
        page.get_by_text("1_curves.png").first.wait_for()
        page.get_by_text("2_confusion.png").first.wait_for()
        page.goto(f"{server}/#/experiments/{experiment}/runs/{ids[0]}")
        page.get_by_text("completed after 3 epochs").first.wait_for()
        browser.close()


_HEADINGS = """() => [...document.querySelectorAll('.ag-header-cell[col-id]')]
    .map(heading => [heading.getBoundingClientRect().x, heading.innerText.trim()])
    .sort((one, other) => one[0] - other[0]).map(heading => heading[1])"""
"""The headings of the table from left to right, as far as they are drawn."""
_PLACE = "cell => Number(cell.closest('[role=row]').getAttribute('row-index'))"


def _shown(value: float) -> str:
    """A number as MLflow's table has it."""
    return repr(value).removesuffix(".0")
