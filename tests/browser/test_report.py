"""A report in a real browser: drawn without a network, whole without scripts, and no wider than a telephone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small study that was compared."""
    folder = tmp_path_factory.mktemp("report")
    study = folder / "study.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "name": "shown",
                "storage": str(folder / "runs"),
                "data": {"name": "digits", "limit": 200},
                "space": "ecrnn",
                "fix": {"layout": "positions"},
                "train": {"epochs": 2, "batch": 32},
                "search": {"trials": 3, "scheduler": "none"},
                "compare": {"baselines": ["ecrnn/cnn", "ecrnn/crnn-lstm-16"], "repeats": 3},
                "resources": {"runner": "inline"},
                "tracking": {"enabled": False},
            }
        )
    )
    for verb in ("sweep", "compare", "report"):
        command = [sys.executable, "-m", "search.cli", verb, str(study)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder / "runs" / "shown" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )


def draw_all(page: Any) -> None:
    """Unfold everything, and bring every figure near the window, which draws it."""
    page.wait_for_selector("figure.drawn .main-svg", timeout=30_000)
    for part in page.query_selector_all("details:not([open]) > summary"):
        part.click()
    for figure in page.query_selector_all("figure"):
        figure.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('figure:has(.live)')].every((item) => item.classList.contains('drawn'))",
        timeout=30_000,
    )


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1000), ("light", 400)])
def test_it_is_drawn_without_a_network(browser: Any, report: Path, scheme: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else faults.append(request.url)
    )
    page.goto(report.as_uri())
    draw_all(page)
    assert not faults
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Everything is read on its background, the plots' own text included.
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
        for where, what in ((".live .xtick text", "fill"), ("body", "backgroundColor"))
    )
    assert (ink, paper) == (
        ("rgb(236, 236, 234)", "rgb(22, 24, 26)") if scheme == "dark" else ("rgb(27, 27, 27)", "rgb(255, 255, 255)")
    )
    assert page.is_visible("figure .live")
    assert not page.is_visible("figure .still")
    page.emulate_media(media="print")
    assert page.is_visible("figure .still")
    assert not page.is_visible("figure .live")
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 400)])
def test_assistive_technology_can_read_it(browser: Any, report: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(report.as_uri())
    draw_all(page)
    found = axe.run(page)
    assert found["passes"]
    faults = [f"{fault['id']}: {node['html'][:200]}" for fault in found["violations"] for node in fault["nodes"]]
    assert not faults
    page.close()


def test_it_is_whole_without_scripts(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.is_visible("h1")
    assert page.is_visible("#numbers table")
    stills = page.query_selector_all("figure .still")
    assert len(stills) == len(page.query_selector_all("figure")) > 3
    assert page.locator("#verdict figure .still").bounding_box()["width"] > 300
    context.close()
