"""The site builds without a warning, and its pages request nothing from other hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Sources(HTMLParser):
    """Addresses that a browser requests to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == SOURCES.get(tag)]


def test_pages_request_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        sources = Sources()
        sources.feed(page.read_text(encoding="utf-8"))
        assert sources.found, page
        assert [address for address in sources.found if re.match(r"(https?:)?//", address)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_pages_outside_docs_and_the_python_interface_are_part_of_the_site(site: Path) -> None:
    assert "../bench/" not in (site / "statistics.html").read_text(encoding="utf-8")
    assert (site / "bench" / "pictures" / "calibration.png").is_file()
    assert (site / "CHANGELOG.html").is_file()
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("Study.sweep", "Predictor.predict", "Shown.lines", "HybridSearchError"):
        assert re.search(rf'id="[\w.]+{re.escape(name)}"', page), name
