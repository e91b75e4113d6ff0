"""What docs/analysis.md shows is what the command prints, and its examples are what their script writes."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from search.cli import main

DOCS = Path(__file__).parents[3] / "docs"
BLOCKS = re.findall(
    r"^```text\n\$ hybrid-search (analyze docs/.*)\n((?:.*\n)*?)```", (DOCS / "analysis.md").read_text(), re.M
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the page's commands can be run."""
    shutil.copytree(DOCS / "examples", tmp_path / "docs" / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["make.py", "docs/examples"])
    runpy.run_path("docs/examples/make.py", run_name="__main__")
    return tmp_path


def test_the_examples_are_what_their_script_writes(folder: Path) -> None:
    committed = sorted(path.name for path in (DOCS / "examples").glob("*.csv"))
    assert committed == ["clear-win.csv", "faulty.csv", "tie.csv", "too-few.csv"]
    for name in committed:
        assert (folder / "docs" / "examples" / name).read_bytes() == (DOCS / "examples" / name).read_bytes()


def test_the_page_shows_what_the_command_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(BLOCKS) == 6
    for command, shown in BLOCKS:
        monkeypatch.setattr(sys, "argv", ["hybrid-search", *shlex.split(command)])
        with pytest.raises(SystemExit):
            main()
        printed = capsys.readouterr()
        assert (printed.out + printed.err).split() == shown.split(), f"run it again for the page: {command}"
