from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from search.errors import StoreAwayError, StudyLockedError
from search.storage import lease as lease_module
from search.storage.lease import Lease
from search.storage.store import Store

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def place(folder_uri: str) -> Store:
    return Store(folder_uri)


@pytest.fixture(autouse=True)
def leases(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Lease]]:
    """Those that were made, which are stopped in the end."""
    made: list[Lease] = []
    original = Lease.__init__

    def note(self: Lease, *args: Any) -> None:
        original(self, *args)
        made.append(self)

    monkeypatch.setattr(Lease, "__init__", note)
    yield made
    for lease in made:
        lease.stop()


def taken(place: Store, copy: str = "one", *, lives: bool = True) -> Lease:
    """A lease, of a driver that lives or of one that was stopped once it had it."""
    lease = Lease(place, copy)
    lease.take()
    lease.confirm()
    if not lives:
        lease.stop()
    return lease


def test_a_lease_is_renewed_by_itself_refuses_the_second_and_names_the_first(place: Store) -> None:
    first = taken(place)
    told: list[str] = []
    with pytest.raises(StudyLockedError, match=r"store: process \d+ on .* is working on this study; wait for it"):
        Lease(place, "two").take(told.append)
    assert "to see whether that process is still running" in told[0]
    first.verify()


def test_a_driver_that_slept_through_anothers_whole_command_has_lost_its_lease(
    place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECS", 60.0)
    asleep = taken(place)
    taken(place, "two").give_back()
    asleep.check()
    with pytest.raises(StudyLockedError, match=r"store: the lease was lost, because another command used this study"):
        asleep.verify()
    with pytest.raises(StudyLockedError):
        asleep.renew()
    assert place.read("driver.json") is None


def test_a_lost_lease_is_known_soon(place: Store, eventually: Callable[..., None]) -> None:
    first = taken(place)
    first.check()
    place.delete("driver.json")

    def is_lost() -> bool:
        try:
            first.check()
        except StudyLockedError:
            return True
        return False

    eventually(is_lost)
    assert place.read("driver.json") is None


def test_a_store_that_is_away_for_a_moment_ends_no_renewing(
    place: Store, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taken(place)
    away: list[int] = []

    def write(self: Store, name: str, content: bytes) -> None:
        away.append(1)
        raise StoreAwayError("away")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", write)
        eventually(lambda: away)
    before = place.read("driver.json")
    eventually(lambda: place.read("driver.json") != before)
    first.check()


def test_a_lease_that_was_given_back_is_taken_at_once(place: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "PATIENCE_SECS", 60.0)
    taken(place).give_back()
    start = time.monotonic()
    taken(place, "two")
    assert time.monotonic() - start < 30


def test_a_dead_drivers_lease_is_taken_after_a_while(place: Store) -> None:
    dead = taken(place, lives=False)
    start = time.monotonic()
    second = taken(place, "two")
    assert time.monotonic() - start >= lease_module.PATIENCE_SECS
    with pytest.raises(StudyLockedError, match="is working on this study"):
        dead.renew()
    dead.give_back()
    second.renew()


def test_the_same_working_copy_need_not_wait_as_its_lock_is_free(place: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "PATIENCE_SECS", 60.0)
    taken(place, lives=False)
    start = time.monotonic()
    taken(place)
    assert time.monotonic() - start < 30


def test_of_two_that_start_at_once_one_goes_on(place: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "SETTLE_SECS", 1.0)
    one, two = Lease(place, "one"), Lease(place, "two")
    reads: list[int] = []
    original = Lease._read

    def both_first(self: Lease) -> object:
        reads.append(1)
        return None if len(reads) <= 2 else original(self)

    monkeypatch.setattr(Lease, "_read", both_first)
    one.take()
    two.take()
    with pytest.raises(StudyLockedError):
        one.confirm()
    two.confirm()


def test_a_damaged_lease_is_waited_for_like_any_other(place: Store) -> None:
    place.write("driver.json", b"{")
    start = time.monotonic()
    taken(place, "two")
    assert time.monotonic() - start >= lease_module.PATIENCE_SECS
