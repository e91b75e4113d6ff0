"""What a command reads, it reads once; and the journal is not read while it is open."""

from __future__ import annotations

import functools
import importlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from PIL import Image

import search.commands.plan
import search.compare.run
import search.export.command
import search.report.write
import search.sweep.run  # noqa: F401  before anything is replaced in them
from search.cli import main
from search.journal.journal import Journal
from search.runners import assignment
from search.study import load

COUNTED = {
    "check_folder": "search.study.folder",
    "make_folder": "search.study.folder",
    "load_study": "search.study.load",
    "open_data": "search.data.store",
    "load_comparison": "search.journal.comparison_file",
}
_while_open: list[str] = []
_open = 0


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note each time that this process opens the journal's file to read it while it has the journal open."""
    if _open and event == "open" and str(arguments[0]).endswith("journal.jsonl") and arguments[1] in {"r", "rb"}:
        _while_open.append(str(arguments[0]))


sys.addaudithook(_watch)  # it cannot be removed, and does nothing outside this module's tests


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count calls of the functions above, and reads of the journal while it is open."""
    found: Counter[str] = Counter()
    for name, place in COUNTED.items():
        original = getattr(importlib.import_module(place), name)

        @functools.wraps(original)
        def counted(*args: Any, _original: Callable[..., Any] = original, _name: str = name, **options: Any) -> Any:
            found[_name] += 1
            return _original(*args, **options)

        for module in list(sys.modules.values()):
            if module.__name__.startswith("search.") and module.__dict__.get(name) is original:
                monkeypatch.setattr(module, name, counted)
    begin, close = Journal._open, Journal.close

    def opened(journal: Journal) -> None:
        global _open
        begin(journal)
        _open += 1

    def closed(journal: Journal) -> None:
        global _open
        _open -= 1
        close(journal)

    monkeypatch.setattr(Journal, "_open", opened)
    monkeypatch.setattr(Journal, "close", closed)
    _while_open.clear()
    yield found
    assert _open == 0


@pytest.fixture
def run(counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, int]]:
    """Run a command in this process; how often it called what is counted."""

    def call(*words: object) -> dict[str, int]:
        counts.clear()
        load._read_recorded.cache_clear()  # each command is a process of its own
        monkeypatch.setattr(sys, "argv", ["hybrid-search", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return dict(counts)

    return call


@pytest.mark.usefixtures("undrawn")
def test_each_command_makes_everything_once(
    run: Callable[..., dict[str, int]], study_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.yaml"
    assignment._open_once.cache_clear()  # another test may have opened these data
    # What follows the journal does so in a process of its own.
    monkeypatch.setattr(
        "search.runners.session.FollowerProcess", lambda *_, **__: SimpleNamespace(close=lambda _: True)
    )
    settings = {
        "train": {"epochs": 1, "batch": 16, "precision": "float32"},
        "resources": {"runner": "inline"},
        "compare": {"baselines": ["ecrnn/cnn"], "repeats": 2},
    }
    study_data |= settings | {"search": {"trials": 2, "scheduler": "none"}}
    file.write_text(yaml.safe_dump(study_data, sort_keys=False))
    folder = tmp_path / "runs" / study_data["name"]
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    found = {
        "plan": run("plan", file),
        "sweep": run("sweep", file),
        "status of a file": run("status", file),
        "compare": run("compare", file),
        "status of a folder": run("status", folder),
        "report": run("report", folder),
        "export": run("export", folder, "--to", tmp_path / "winner"),
        "predict": run("predict", tmp_path / "winner", tmp_path / "image.png"),
    }
    assert found == {
        "plan": {"load_study": 1, "check_folder": 1, "open_data": 1, "load_comparison": 1},
        # The trainings run in this process, which opens the data set once more, as a worker does.
        "sweep": {"load_study": 1, "check_folder": 1, "make_folder": 1, "open_data": 2, "load_comparison": 1},
        # Two files: the study file, and the study as its folder records it.
        "status of a file": {"load_study": 2, "load_comparison": 1},
        "compare": {"load_study": 2, "check_folder": 1, "make_folder": 1, "open_data": 1},
        "status of a folder": {"load_study": 1, "load_comparison": 1},
        "report": {"load_study": 1, "load_comparison": 1},
        "export": {"load_study": 1, "open_data": 1, "load_comparison": 1},
        "predict": {},
    }
    assert _while_open == []
