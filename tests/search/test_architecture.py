"""docs/architecture.md names packages and files that exist; pyproject.toml names what is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

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
    there = {path.stem for path in (ROOT / "search").iterdir() if path.stem not in {"__init__", "__pycache__", "py"}}
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


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = ("search", "spaces", "hybrid_models")


def names(requirements: list[str]) -> set[str]:
    """Names of the distributions that some requirements ask for, normalised."""
    return {re.split(r"[\[>=<]", item)[0].lower().replace("_", "-") for item in requirements}


def imported(*folders: str) -> dict[str, set[str]]:
    """Top-level module of other authors -> the distributions that contain it."""
    there = metadata.packages_distributions()
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    beside = {path.stem for path in (ROOT / "tests").rglob("*.py")}  # scripts of a folder that import each other
    others = found - set(sys.stdlib_module_names) - beside - {*OWN, "bench", "tests"}
    return {module: names(there.get(module, [module])) for module in others}


def test_the_packages_need_what_they_import_and_nothing_else() -> None:
    declared, needed = names(PROJECT["dependencies"]), imported(*OWN)
    assert not {module for module, found in needed.items() if not found & declared}
    assert not declared - set().union(*needed.values())


PEERS = {"ConfigSpace", "neps", "smac", "syne_tune"}
"""Modules of peers that are measured in environments of their own, see `bench/search_efficiency/peers.txt`."""


@pytest.mark.parametrize("folder", ["tests", "bench", "docs"])
def test_what_tests_and_measurements_import_is_declared(folder: str) -> None:
    extras = PROJECT["optional-dependencies"]
    own = next(item for item in extras["dev"] if item.startswith("hybrid-search["))  # the extras that `dev` includes
    included = [item for name in re.findall(r"\w+", own.partition("[")[2]) for item in extras[name]]
    declared = names(PROJECT["dependencies"] + extras["dev"] + included)
    assert {module for module, found in imported(folder).items() if not found & declared} <= PEERS
