"""The documentation site in a real browser: readable in light and dark, no wider than a telephone, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = ("index.html", "verdict.html", "fields.html")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site, built and served on the loopback interface."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=600,
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_are_readable(address: str, browser: Any, scheme: str, width: int) -> None:
    from axe_core_python.sync_playwright import Axe

    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1000}, reduced_motion="reduce")
    page.set_default_timeout(120_000)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    for name in PAGES:
        page.goto(f"{address}/{name}")
        assert page.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
        nodes = [(item["id"], node) for item in found["violations"] for node in item["nodes"]]
        assert [(rule, node["target"], node["failureSummary"]) for rule, node in nodes] == [], name
        assert any(item["id"] == "color-contrast" for item in found["passes"])
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    assert all(url.startswith((address, "data:", "blob:")) for url in requests)
    page.close()


def test_the_search_finds_a_page(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/index.html")
    page.locator(".md-search__input").fill("tibshirani")
    page.locator(".md-search-result__item a").first.wait_for()
    assert "best-score.html" in " ".join(
        link.get_attribute("href") for link in page.locator(".md-search-result__item a").all()
    )
    page.close()
