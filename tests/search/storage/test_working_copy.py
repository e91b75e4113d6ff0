from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

import pytest

from search.errors import StoreError
from search.storage.location import Location
from search.storage.segments import Segments
from search.storage.store import Store
from search.storage.synced import STATE
from search.storage.working_copy import fetch, publish, read_resolved, refresh, uri_of_copy


@pytest.fixture
def location(folder_uri: str) -> Location:
    return Location(folder_uri, "tiny")


@pytest.fixture
def place(location: Location) -> Store:
    assert location.uri is not None
    return Store(location.uri)


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


END = line(event="end", key="k", artifacts={"confusion": "trials/k/confusion.npy", "weights-0": "trials/k/w.st"})


def append(place: Store, content: bytes, writer: str = "w") -> None:
    there = Segments(place.below("journal"), writer)
    there.append(there.refresh(), content)


def test_a_new_machine_gets_everything_but_weights(place: Store, location: Location) -> None:
    append(place, line(event="begin", key="k"))
    append(place, END)
    place.write_all(
        {
            "study.yaml": b"name: tiny",
            "comparison/x/table.md": b"t",
            "trials/k/confusion.npy": b"c",
            "trials/k/w.st": b"w",
            "trials/k/checkpoint.pt": b"p",
        }
    )
    assert read_resolved(location) == "name: tiny"
    assert not location.folder.exists(), "looking at one file makes no copy"
    refresh(location)
    here = {path.relative_to(location.folder).as_posix() for path in location.folder.rglob("*") if path.is_file()}
    assert here == {"study.yaml", "comparison/x/table.md", "trials/k/confusion.npy", "journal.jsonl", STATE}
    assert (location.folder / "journal.jsonl").read_bytes() == line(event="begin", key="k") + END
    assert fetch(location, "trials/k/w.st") == location.folder / "trials/k/w.st"
    assert fetch(location, "trials/k/none") is None


def test_a_study_that_is_nowhere_makes_no_folder(location: Location) -> None:
    refresh(location)
    assert read_resolved(location) is None
    assert not location.folder.exists()


def test_only_what_is_new_is_read_again(place: Store, location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    append(place, line(event="one"))
    refresh(location)
    read: list[str] = []
    original = Store.read

    def counted(self: Store, name: str) -> bytes | None:
        read.append(name)
        return original(self, name)

    monkeypatch.setattr(Store, "read", counted)
    append(place, line(event="two"), "v")
    refresh(location)
    assert len(read) == 1
    assert (location.folder / "journal.jsonl").read_bytes() == line(event="one") + line(event="two")
    refresh(location)
    assert len(read) == 1


@pytest.mark.parametrize("forget", [False, True])
def test_a_longer_journal_here_stays(place: Store, location: Location, forget: bool) -> None:
    append(place, line(event="one"))
    refresh(location)
    journal = location.folder / "journal.jsonl"
    with journal.open("ab") as stream:
        stream.write(line(event="two"))
    if forget:
        (location.folder / STATE).unlink()
    refresh(location)
    assert journal.read_bytes() == line(event="one") + line(event="two")


def test_half_a_line_here_gives_way_to_whole_ones_there(place: Store, location: Location) -> None:
    append(place, line(event="one"))
    refresh(location)
    journal = location.folder / "journal.jsonl"
    with journal.open("ab") as stream:
        stream.write(b'{"event": "cut')
    append(place, line(event="two"))
    refresh(location)
    assert journal.read_bytes() == line(event="one") + line(event="two")


def test_journals_that_went_on_differently_are_a_fault_that_names_both(place: Store, location: Location) -> None:
    append(place, line(event="one"))
    refresh(location)
    journal = location.folder / "journal.jsonl"
    with journal.open("ab") as stream:
        stream.write(line(event="here") + line(event="more"))
    before = journal.read_bytes()
    append(place, line(event="there"))
    with pytest.raises(
        StoreError, match=r"journal.jsonl: differs from file://.*/tiny/journal from line 2 on: two mach"
    ):
        refresh(location)
    assert journal.read_bytes() == before, "nothing is mended in silence"
    shutil.move(location.folder, location.folder.with_name("aside"))
    refresh(location)
    assert journal.read_bytes() == line(event="one") + line(event="there")


def test_a_store_that_was_emptied_leaves_the_copy_alone(place: Store, location: Location, tmp_path: Path) -> None:
    append(place, line(event="one"))
    refresh(location)
    shutil.rmtree(tmp_path / "store")
    refresh(location)
    assert (location.folder / "journal.jsonl").read_bytes() == line(event="one")


def test_a_copy_that_a_driver_here_keeps_is_left_to_it(place: Store, location: Location) -> None:
    append(place, line(event="one"))
    refresh(location)
    append(place, line(event="two"))
    with (location.folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        refresh(location)
        assert (location.folder / "journal.jsonl").read_bytes() == line(event="one")
    refresh(location)
    assert (location.folder / "journal.jsonl").read_bytes() == line(event="one") + line(event="two")


def test_a_copy_on_nfs_is_refreshed_again_and_again(
    place: Store, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = fcntl.flock

    def flock(stream: IO[Any], operation: int) -> None:
        """As on NFS, where a shared lock needs a file that can be read."""
        mode = fcntl.fcntl(stream, fcntl.F_GETFL) & os.O_ACCMODE
        if operation & fcntl.LOCK_SH and mode == os.O_WRONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        original(stream, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    append(place, line(event="one"))
    refresh(location)
    (location.folder / "lock").touch()
    append(place, line(event="two"))
    refresh(location)
    assert (location.folder / "journal.jsonl").read_bytes() == line(event="one") + line(event="two")


def test_a_report_that_no_driver_wrote_is_sent(place: Store, location: Location) -> None:
    append(place, line(event="one"))
    refresh(location)
    (location.folder / "report.html").write_text("page")
    publish(location)
    assert place.read("report.html") == b"page"


def test_a_working_copy_knows_its_uri_until_it_is_moved(place: Store, location: Location, tmp_path: Path) -> None:
    append(place, line(event="one"))
    refresh(location)
    assert uri_of_copy(location.folder) == location.uri
    shutil.copytree(location.folder, tmp_path / "moved")
    assert uri_of_copy(tmp_path / "moved") is None
    assert uri_of_copy(tmp_path) is None


def test_a_state_folder_that_cannot_be_written_is_named(location: Location, state: Path) -> None:
    state.write_text("in the way")
    with pytest.raises(StoreError, match=r"the working copy of file://.*/tiny cannot be written"):
        refresh(location)
