from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.storage.store import Store
from search.storage.synced import STATE, Synced


@pytest.fixture
def place(folder_uri: str) -> Store:
    return Store(folder_uri)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != STATE
    }


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(write.now, write.now))  # type: ignore[attr-defined]
    write.now += 10**9  # type: ignore[attr-defined]


write.now = 10**18  # type: ignore[attr-defined]


def test_what_is_pushed_here_is_pulled_there(place: Store, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write(here / "a", "1")
    write(here / "sub" / "b", "2")
    write(here / ".hidden", "no")
    Synced(here, place).push()
    assert set(place.list()) == {"a", "sub/b"}
    Synced(there, place).pull()
    assert files(there) == {"a": "1", "sub/b": "2"}
    write(there / "a", "3")
    (there / "sub" / "b").unlink()
    Synced(there, place).push()
    Synced(here, place).pull()
    assert files(here) == {"a": "3", ".hidden": "no"}


def test_nothing_is_sent_or_fetched_twice(place: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    write(folder / "a", "1")
    Synced(folder, place).push()
    for name in ("write", "read", "delete"):
        monkeypatch.setattr(Store, name, lambda *_: pytest.fail("nothing changed"))
    Synced(folder, place).push()
    Synced(folder, place).pull()


def test_what_changed_here_alone_is_kept_and_what_changed_on_both_sides_is_the_remote_one(
    place: Store, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write(here / "mine", "1")
    write(here / "both", "1")
    Synced(here, place).push()
    Synced(there, place).pull()
    write(there / "both", "theirs")
    Synced(there, place).push()
    write(here / "mine", "2")
    write(here / "both", "mine")
    synced = Synced(here, place)
    synced.pull()
    assert files(here) == {"mine": "2", "both": "theirs"}
    synced.push()
    assert place.read("mine") == b"2"
    assert place.read("both") == b"theirs"


def test_only_what_is_named_takes_part(place: Store, tmp_path: Path) -> None:
    write(tmp_path / "here" / "study.yaml", "1")
    write(tmp_path / "here" / "comparison" / "x" / "a", "1")
    write(tmp_path / "here" / "trials" / "a", "1")
    place.write("trials/b", b"2")
    synced = Synced(tmp_path / "here", place, ("study.yaml", "comparison/", "none.html"))
    synced.push()
    synced.pull()
    assert set(place.list()) == {"study.yaml", "comparison/x/a", "trials/b"}
    assert not (tmp_path / "here" / "trials" / "b").exists()


def test_a_state_that_was_cut_off_makes_the_remote_one_win(place: Store, tmp_path: Path) -> None:
    write(tmp_path / "here" / "a", "1")
    Synced(tmp_path / "here", place).push()
    write(tmp_path / "here" / "a", "2")
    (tmp_path / "here" / STATE).write_text('{"files": {"a"')
    Synced(tmp_path / "here", place).pull()
    assert files(tmp_path / "here") == {"a": "1"}
