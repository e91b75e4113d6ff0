"""What is noted of the software, and what is asked of a package index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.journal import versions
from search.journal.versions import git_revision, public_version


def test_the_label_of_a_build_is_no_part_of_a_public_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions.metadata, "version", lambda _: "2.15.0+cu132")
    assert public_version("torch") == "2.15.0"


def test_the_index_of_the_source_tree_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(versions.subprocess, "run", lambda command, **_: asked.append(command) or Answer())
    git_revision()
    assert asked
    assert all(command[:2] == ["git", "--no-optional-locks"] for command in asked)


class Answer:
    """What git says."""

    stdout = ""


def test_the_repository_around_an_installation_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages" / "versions.py"
    installed.parent.mkdir()
    installed.touch()
    os.system(f"cd {tmp_path} && git init -q && git -c user.name=a -c user.email=b commit -q --allow-empty -m x")
    monkeypatch.setattr(versions, "__file__", str(installed))
    assert git_revision() is None
