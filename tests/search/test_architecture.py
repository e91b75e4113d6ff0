"""docs/architecture.md names the packages that there are, in the order of their layers, and files that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_table_of_packages_is_that_of_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(item["layers"] for item in contracts if item["type"] == "layers")
    rooms = [name.strip() for layer in layers for name in layer.split("|")]
    table = PAGE[PAGE.index("| package | contains | look here for") : PAGE.index("![Which package")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [name.rstrip("/") for row in rows for name in re.findall(r"`([\w/]+)`", row)] == rooms
    there = {path.stem for path in (ROOT / "search").iterdir() if path.stem not in {"__init__", "__pycache__"}}
    assert set(rooms) == there


def test_every_file_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 15
    for name in named:
        assert _files(name), name


def test_every_function_that_the_page_names_is_in_its_file() -> None:
    named = re.findall(r"`([\w/]+\.py)`\s+\(`([\w.]+)`", PAGE)
    assert len(named) > 10
    for file, name in named:
        (path,) = _files(file)
        for part in name.split("."):
            assert re.search(rf"^\s*(def|class) {part}\b", path.read_text(encoding="utf-8"), re.MULTILINE), (file, name)


def _files(name: str) -> list[Path]:
    places = [ROOT / name, ROOT / "search" / name, ROOT / "search" / "significance" / name]
    return [place for place in places if place.is_file()]
