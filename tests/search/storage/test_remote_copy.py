from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from search.commands.control import write
from search.errors import StorageFaultError, StoreAwayError, StudyLockedError
from search.journal.commands import Answer, Command
from search.journal.journal import Journal
from search.journal.reading import read_events
from search.storage import remote_copy
from search.storage.lease import Lease
from search.storage.location import Location
from search.storage.remote_copy import copy_of
from search.storage.segments import Segments
from search.storage.store import Store

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_copy, "POLL_SECS", 0.05)
    monkeypatch.setattr(remote_copy, "MAX_PAUSE_SECS", 0.2)


@pytest.fixture
def location(folder_uri: str) -> Location:
    return Location(folder_uri, "tiny")


def opened(location: Location, told: list[str] | None = None) -> Journal:
    location.folder.mkdir(parents=True, exist_ok=True)
    return Journal(location.folder, copy_of(location, (told if told is not None else []).append))


def there(location: Location) -> list[str]:
    """Events of the journal on the store."""
    assert location.uri is not None
    segments = Segments(Store(location.uri).below("journal"), "")
    segments.refresh()
    return [json.loads(line)["event"] for line in segments.read(0).splitlines()]


def test_events_and_files_are_on_the_store_soon_and_nothing_waits(
    location: Location, eventually: Callable[..., None]
) -> None:
    with opened(location) as journal:
        journal.note("one")
        (location.folder / "study.yaml").write_text("name: tiny")
        eventually(lambda: there(location) == ["one"])
        eventually(lambda: Store(str(location.uri)).read("study.yaml") == b"name: tiny")
        journal.note("two")
    assert there(location) == ["one", "two"]
    assert Store(str(location.uri)).read("driver.json") is None, "the next one need not wait"


def test_a_lost_machine_costs_nothing_that_was_sent(location: Location, state: Path) -> None:
    with opened(location) as journal:
        journal.note("one")
    shutil.rmtree(state)
    with opened(location) as journal:
        assert [event["event"] for event in read_events(journal.path)] == ["one"]
        journal.note("two")
    assert there(location) == ["one", "two"]


def test_what_was_not_sent_when_the_driver_was_killed_is_sent_by_the_next(location: Location) -> None:
    with opened(location) as journal:
        journal.note("one")
    with (location.folder / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"event":"two","at":1}\n{"event":"cu')
    with opened(location) as journal:
        journal.note("three")
        assert [event["event"] for event in read_events(journal.path)] == ["one", "two", "three"]
    segments = Segments(Store(str(location.uri)).below("journal"), "")
    segments.refresh()
    assert segments.read(0) == (location.folder / "journal.jsonl").read_bytes()


def test_nothing_is_removed_before_the_journal_there_says_why(
    location: Location, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    store = Store(str(location.uri))
    store.write_all({"trials/a/checkpoint.pt": b"", "trials/a/confusion.npy": b"", "trials/b/checkpoint.pt": b""})
    held = [True]
    original = Segments.append

    def append(self: Segments, start: int, content: bytes) -> None:
        if held:
            raise StoreAwayError("held")
        original(self, start, content)

    monkeypatch.setattr(Segments, "append", append)
    told: list[str] = []
    with opened(location, told) as journal:
        journal.note("over")
        journal.copy.drop("trials/a/checkpoint.pt")
        journal.copy.drop("trials/b/")
        eventually(lambda: told)
        time.sleep(0.3)
        assert len(store.list("trials")) == 3
        held.clear()
        eventually(lambda: set(store.list("trials")) == {"trials/a/confusion.npy"})
        eventually(lambda: len(told) == 2)
    assert "held; training continues, and sending is retried" in told[0]
    assert "reachable again" in told[1]
    assert len(told) == 2, "one line per absence"


def test_what_is_to_be_removed_while_something_is_sent_waits_for_its_own_line(
    location: Location, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    store = Store(str(location.uri))
    store.write("trials/a/checkpoint.pt", b"")
    ends, known = [True], []
    append, delete = Segments.append, Store.delete

    def append_and_end(self: Segments, start: int, content: bytes) -> None:
        append(self, start, content)
        if ends:
            ends.clear()
            journal.note("over")
            journal.copy.drop("trials/a/")

    def delete_knowing(self: Store, name: str) -> None:
        if name.startswith("trials"):
            known.append(there(location))
        delete(self, name)

    monkeypatch.setattr(Segments, "append", append_and_end)
    monkeypatch.setattr(Store, "delete", delete_knowing)
    with opened(location) as journal:
        journal.note("one")
        eventually(lambda: known)
    assert known == [["one", "over"]]


def test_many_removals_at_a_start_ask_once_what_is_there(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(location.uri))
    store.write_all({"trials/7/checkpoint.pt": b"", "trials/8/checkpoint.pt": b"", "trials/9/checkpoint.pt": b""})
    removed: list[str] = []
    original = Store.delete

    def delete(self: Store, name: str) -> None:
        removed.append(name)
        original(self, name)

    monkeypatch.setattr(Store, "delete", delete)
    with opened(location) as journal:
        for number in range(100):
            journal.copy.drop(f"trials/{number}/" if number == 8 else f"trials/{number}/checkpoint.pt")
    assert set(store.list("trials")) == {}.keys()
    assert len([name for name in removed if name.startswith("trials")]) == 3


def test_a_training_that_begins_anew_waits_for_the_removal_of_its_old_files(location: Location) -> None:
    store = Store(str(location.uri))
    store.write("trials/a/checkpoint.pt", b"old")
    with opened(location) as journal:
        journal.note("over")
        journal.copy.drop("trials/a/")
        assert journal.copy.uri_of("trials/a") == f"{location.uri}/trials/a"
        assert store.list("trials") == {}


def test_files_that_a_worker_left_are_here_at_once_or_when_the_store_is_back(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(location.uri))
    store.write("trials/a/confusion.npy", b"c")
    with opened(location) as journal:
        journal.copy.bring(["trials/a/confusion.npy", "trials/a/none.npy"])
        assert (location.folder / "trials/a/confusion.npy").read_bytes() == b"c"
        store.write("trials/b/confusion.npy", b"d")
        original = Store.read
        with monkeypatch.context() as patch:
            patch.setattr(Store, "read", lambda self, name: _away())
            journal.copy.bring(["trials/b/confusion.npy"])
            patch.setattr(remote_copy, "PATIENCE_SECS", 0.2)
            with pytest.raises(StoreAwayError, match="away"):
                journal.copy.wait_for_files()
            patch.setattr(Store, "read", original)
            patch.setattr(remote_copy, "PATIENCE_SECS", 60.0)
            journal.copy.wait_for_files()
        assert (location.folder / "trials/b/confusion.npy").read_bytes() == b"d"


@pytest.mark.parametrize("is_away", [False, True])
def test_a_full_disk_is_told_in_words(
    location: Location, monkeypatch: pytest.MonkeyPatch, full_disk: Callable[[], None], *, is_away: bool
) -> None:
    Store(str(location.uri)).write("trials/a/confusion.npy", b"c")
    with opened(location) as journal:
        journal.note("one")
        with monkeypatch.context() as patch:
            if is_away:
                patch.setattr(Store, "read", lambda *_: _away())
                journal.copy.bring(["trials/a/confusion.npy"])
            full_disk()
        with pytest.raises(
            StorageFaultError,
            match=(r"cannot be used on node .* \(No space left on device\); free disk space, then run"),
        ):
            journal.copy.wait_for_files() if is_away else journal.copy.bring(["trials/a/confusion.npy"])


def _away() -> bytes:
    raise StoreAwayError("away")


def test_a_store_that_stays_away_is_told_at_the_end_and_costs_nothing(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_copy, "PATIENCE_SECS", 0.5)
    told: list[str] = []
    with monkeypatch.context() as patch, opened(location, told) as journal:
        patch.setattr(Store, "write", lambda *_: _away())
        journal.note("one")
    assert told[-1].startswith(f"{location}: {journal.path.stat().st_size} bytes of the journal not sent yet; the ")
    with opened(location) as journal:
        pass
    assert there(location) == ["one"]


def test_a_second_machine_is_refused_while_the_first_one_works(
    location: Location, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(location) as journal:
        journal.note("one")
        monkeypatch.setenv("HYBRID_SEARCH_STATE", str(state) + "2")
        with pytest.raises(StudyLockedError, match=r"tiny: process \d+ on .* is working on this study; wait for it"):
            opened(location)
        monkeypatch.setenv("HYBRID_SEARCH_STATE", str(state))
        journal.note("two")
    monkeypatch.setenv("HYBRID_SEARCH_STATE", str(state) + "2")
    with opened(location) as journal:
        assert [event["event"] for event in read_events(journal.path)] == ["one", "two"]


def test_a_driver_that_is_busy_with_its_store_keeps_its_lease(
    location: Location, state: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    slow = threading.Event()
    sending = threading.Event()
    original = Segments.merge

    def merge(self: Segments, journal: Path) -> None:
        sending.set()
        slow.wait(120)
        original(self, journal)

    monkeypatch.setattr(Segments, "merge", merge)
    first = opened(location)
    first.note("one")
    eventually(sending.is_set)
    monkeypatch.setenv("HYBRID_SEARCH_STATE", str(state) + "2")
    try:
        with pytest.raises(StudyLockedError, match="is working on this study"):
            opened(location)
    finally:
        slow.set()
    first.note("two")
    first.close()
    assert there(location) == ["one", "two"]


def test_a_driver_that_pulls_for_long_keeps_its_lease(
    location: Location, state: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    slow = threading.Event()
    pulling = threading.Event()
    original = remote_copy.pull

    def pull(*args: Any) -> object:
        pulling.set()
        slow.wait(120)
        return original(*args)

    monkeypatch.setattr(remote_copy, "pull", pull)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(opened, location)
        try:
            eventually(pulling.is_set)
            with pytest.raises(StudyLockedError, match="is working on this study"):
                Lease(Store(str(location.uri)), "another").take()
        finally:
            slow.set()
        first.result().close()


def test_the_journal_does_not_wait_for_all_that_is_to_be_brought(
    location: Location, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    names = [f"trials/{number}/confusion.npy" for number in range(40)]
    Store(str(location.uri)).write_all(dict.fromkeys(names, b"c"))
    there_at: list[tuple[int, list[str]]] = []
    original = remote_copy.bring

    def bring(folder: Path, store: Store, wanted: list[str]) -> None:
        if threading.current_thread() is threading.main_thread():
            raise StoreAwayError("away")
        if wanted:
            there_at.append((len(wanted), there(location)))
            if len(there_at) == 1:
                journal.note("two")
        original(folder, store, wanted)

    with opened(location) as journal:
        journal.note("one")
        eventually(lambda: there(location) == ["one"])
        monkeypatch.setattr(remote_copy, "bring", bring)
        journal.copy.bring(names)
        journal.copy.wait_for_files()
    assert there_at == [
        (remote_copy.MANY, ["one"]),
        (remote_copy.MANY, ["one", "two"]),
        (8, ["one", "two"]),
    ]
    assert all((location.folder / name).read_bytes() == b"c" for name in names)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_driver_that_lost_its_lease_stops_and_overwrites_nothing(
    location: Location,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., None],
    *,
    is_gone: bool,
) -> None:
    first = opened(location)
    first.note("one")
    eventually(lambda: there(location) == ["one"])
    with monkeypatch.context() as patch:  # it sleeps, with its renewals
        patch.setattr(Lease, "renew", lambda _: None)
        patch.setenv("HYBRID_SEARCH_STATE", str(state) + "2")
        second = opened(location)
        second.note("two")
        eventually(lambda: there(location) == ["one", "two"])
        if is_gone:
            second.close()
    eventually(lambda: not first.copy._thread.is_alive())
    with pytest.raises(StudyLockedError):
        first.note("three")
    first.close()
    if not is_gone:
        second.close()
    assert there(location) == ["one", "two"]


def test_what_a_driver_wrote_that_woke_up_without_its_lease_is_not_sent(
    location: Location, state: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "renew", lambda _: None)  # not yet: it has just woken up
        first = opened(location)
        first.note("one")
        eventually(lambda: there(location) == ["one"])
        patch.setenv("HYBRID_SEARCH_STATE", str(state) + "2")
        with opened(location) as second:
            second.note("two")
        first.note("mine")
        eventually(lambda: not first.copy._thread.is_alive())
        with pytest.raises(StudyLockedError, match="the lease was lost"):
            first.note("three")
        first.close()
    assert there(location) == ["one", "two"]


def test_commands_come_from_the_store_and_go_once_the_answer_is_there(
    location: Location, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_copy, "COMMANDS_SECS", 0.05)
    store = Store(str(location.uri))
    # Two of the same millisecond are in the order of their ids.
    first, second = (Command(verb="extend", trials=number, at=1_000.0 + number) for number in (1, 2))
    write(location, first)
    with opened(location) as journal:
        assert journal.waiting_commands(print) == [first], "those that wait are there before anything begins"
        write(location, second)
        eventually(lambda: journal.waiting_commands(print) == [first, second])
        for command in (first, second):
            journal.answer(command, Answer(done=True, words="more"))
        eventually(lambda: there(location) == ["command"] * 2)
        eventually(lambda: not store.list("commands/"))
        assert journal.waiting_commands(print) == []
    assert not list((location.folder / "commands").iterdir())


def test_a_command_is_not_lost_with_the_machine_that_read_it(location: Location, state: Path) -> None:
    command = Command(verb="stop", trial=1)
    write(location, command)
    with opened(location) as journal:
        assert journal.waiting_commands(print) == [command]
    shutil.rmtree(state)
    with opened(location) as journal:
        assert journal.waiting_commands(print) == [command]
