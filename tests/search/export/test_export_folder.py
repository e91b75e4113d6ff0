"""An export is recognised by its evidence, and a kill at any moment leaves the old one or the new one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.errors import InputError
from search.export.folder import FILES, check_target, old_of, read_evidence, replacing

CHILD = """
import itertools, os, pathlib, shutil, sys
from search.export import folder as export_folder
target, last = pathlib.Path(sys.argv[1]), int(sys.argv[2])
count = itertools.count(1)

def dying(module, name):
    original = getattr(module, name)
    def call(*args, **options):
        if next(count) == last:
            os._exit(9)
        return original(*args, **options)
    setattr(module, name, call)

for name in ("rename", "mkdir", "unlink", "rmdir"):
    dying(os, name)
with export_folder.replacing(export_folder.check_target(target, "study")) as new:
    for name in export_folder.FILES:
        (new / name).write_text((target / name).read_text().replace("old", "new"))
"""


def make_export(folder: Path, content: str = "old", study: str = "study") -> Path:
    """An export as far as folders are concerned."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(content)
    evidence = {"study": study, "model": {}, "weights": {}, "content": content}
    (folder / "evidence.json").write_text(json.dumps(evidence))
    return folder


def content_of(folder: Path) -> str:
    """What all files of an export agree on."""
    evidence = read_evidence(folder)
    assert evidence is not None
    assert {(folder / name).read_text() for name in FILES if name != "evidence.json"} == {evidence["content"]}
    return str(evidence["content"])


def test_a_kill_at_any_call_leaves_the_old_or_the_new_export(tmp_path: Path) -> None:
    killed, seen = 0, set()
    for last in range(1, 40):
        target = make_export(tmp_path / str(last) / "winner")
        (target.parent / "mine.txt").write_text("mine")
        code = subprocess.run([sys.executable, "-c", CHILD, target, str(last)], check=False).returncode
        if code == 0:
            break
        assert code == 9
        killed += 1
        aside = old_of(target)
        seen.add((target.exists(), aside is not None))
        assert content_of(target if aside is None else aside) in {"old", "new"}
        # The next export puts things right, whatever it is that was left.
        assert check_target(target, "study") == target
        assert content_of(target) in {"old", "new"}
        assert sorted(path.name for path in target.parent.iterdir()) == ["mine.txt", "winner"]
        with replacing(target) as new:
            make_export(new / "x", "newer")
            for path in (new / "x").iterdir():
                path.rename(new / path.name)
            (new / "x").rmdir()
        assert content_of(target) == "newer"
        assert sorted(path.name for path in target.parent.iterdir()) == ["mine.txt", "winner"]
    assert code == 0, "no call is left to be killed at"
    assert killed >= 4
    assert seen == {(True, False), (False, True)}, "one kill fell between the two renames"


def test_a_failed_export_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = make_export(tmp_path / "winner")
    with pytest.raises(ZeroDivisionError), replacing(target) as new:
        (new / "README.md").write_text(f"new {1 / 0}")
    rename = os.rename

    def refuse(source: Path, goal: Path) -> None:
        if Path(goal) == target and "new" in Path(source).name:
            raise OSError(16, "Device or resource busy")
        rename(source, goal)

    monkeypatch.setattr(os, "rename", refuse)
    with (
        pytest.raises(InputError, match=r"cannot be replaced \(Device or resource busy\); choose another folder"),
        replacing(target) as new,
    ):
        (new / "README.md").write_text("new")
    assert content_of(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["winner"]


def test_two_exports_at_once_do_not_remove_each_other(tmp_path: Path) -> None:
    target = tmp_path / "winner"
    with replacing(target) as first:
        make_export(first / "x", "first")
        assert check_target(target, "study") == target
        with replacing(target) as second:
            (second / "README.md").write_text("second")
            assert first.is_dir()
        assert (target / "README.md").read_text() == "second"
        (first / "README.md").write_text("first")
    assert (target / "README.md").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["winner"]


def test_a_file_system_without_locks_holds_exports_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    target = make_export(tmp_path / "winner")
    (tmp_path / ".winner.export-new-0").mkdir()
    with replacing(check_target(target, "study")) as new:
        (new / "README.md").write_text("new")
    assert (target / "README.md").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["winner"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": "mine"}, r"contains README\.md and no evidence\.json of an export, so it is not replaced"),
        ({"README.md": "mine", "config.yaml": "name: x"}, "no evidence"),
        ({"evidence.json": "{}"}, "no evidence"),
        ({"evidence.json": "[" * 100_000}, "no evidence"),
        ({"evidence.json": '{"model": 1, "weights": {}}'}, "no evidence"),
        ({"notes.txt": "mine"}, r"contains other files \(notes\.txt\)"),
    ],
)
def test_a_folder_is_an_export_only_if_its_evidence_says_so(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        check_target(tmp_path, "study")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_targets(tmp_path: Path) -> None:
    other = make_export(tmp_path / "other", study="other")
    with pytest.raises(InputError, match=r"the export of another study \(other\)"):
        check_target(other, "study")
    # One of an earlier version says it in config.yaml only.
    (other / "evidence.json").write_text('{"model": {}, "weights": {}}')
    (other / "config.yaml").write_text("name: study-winner")
    assert check_target(other, "study") == other
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "pipe"):
        if not place.exists():
            os.mkfifo(place)
        with pytest.raises(InputError, match="expected a folder, found a file"):
            check_target(place, "study")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert check_target(tmp_path / "link", "study") == tmp_path / "empty"
    with replacing(tmp_path / "empty") as new:
        (new / "README.md").write_text("new")
    assert (tmp_path / "link" / "README.md").read_text() == "new"
    with (
        pytest.raises(InputError, match=r"cannot be written \(File exists\); choose another folder"),
        replacing(tmp_path / "file" / "winner"),
    ):
        pass
