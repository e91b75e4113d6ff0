"""Draw docs/pictures/mlflow-*.png, MLflow's pages of a study: `python docs/draw_mlflow.py [STUDY]`, some minutes.

Without a study, the demo is run. It needs playwright and Chromium.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).with_name("pictures")
PROGRAM = [sys.executable, "-m", "search.cli"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PORT = 5077
SECS = 120_000
"""Longest wait for a part of a page, in milliseconds."""


def draw(study: str, only: list[str]) -> None:
    """Draw all pages of a study that was swept, compared and exported, or only some."""
    from mlflow import MlflowClient
    from playwright.sync_api import sync_playwright

    with _served(study) as page_address, sync_playwright() as playwright:
        server, experiment = re.findall(r"(http://[^/]+)/#/experiments/(\d+)/", page_address)[0]
        client = MlflowClient(server)
        runs = client.search_runs([experiment], order_by=["metrics.val_accuracy DESC"])
        by_kind: dict[str, list[Any]] = {}
        for run in runs:
            by_kind.setdefault(run.data.tags.get("hybrid_search.kind", ""), []).append(run)
        trials = [run.info.run_id for run in by_kind["trial"]]
        ids = ",".join(f'"{run_id}"' for run_id in trials[:8])
        model = client.search_registered_models()[0].name

        def page_of(run_id: str) -> str:
            return f"{server}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"

        pages = {
            "table": (page_address, ".ag-row"),
            "trial": (page_of(trials[0]), "text=Parameters"),
            "comparison": (page_of(by_kind["comparison"][0].info.run_id), "text=Metrics"),
            "compare": (f'{server}/#/compare-runs?runs=[{ids}]&experiments=["{experiment}"]', ".js-plotly-plot"),
            "registry": (f"{server}/#/models/{model}/versions/1?workflowType=machine_learning", "text=Version 1"),
        }
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        view = browser.new_page(viewport={"width": 1360, "height": 800})
        # The page of a new browser opens its assistant.
        settings = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true", "mlflow.assistant.panelOpen_v1": "false"}
        view.add_init_script("".join(f"localStorage.setItem('{name}', '{value}');" for name, value in settings.items()))
        for name, (address, sign) in pages.items():
            if only and name not in only:
                continue
            view.goto("about:blank")
            view.goto(address, timeout=SECS)
            with contextlib.suppress(Exception):
                view.locator(sign).first.wait_for(timeout=SECS)
            view.wait_for_timeout(4_000)
            _save(view.screenshot(timeout=SECS), PICTURES / f"mlflow-{name}.png")
        browser.close()


@contextlib.contextmanager
def _served(study: str) -> Iterator[str]:
    """Run `ui` and yield the address that it prints."""
    command = [*PROGRAM, "ui", study, "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        yield re.findall(r"http://\S+", server.stderr.readline())[0]
    finally:
        server.terminate()
        server.wait()


def _save(png: bytes, file: Path) -> None:
    from PIL import Image

    picture = Image.open(BytesIO(png)).convert("RGB").quantize(256)
    picture.save(file, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        draw(sys.argv[1], sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([*PROGRAM, "demo", "--set", f"storage={folder}"], check=True)
            draw(str(Path(folder) / "demo"), [])
