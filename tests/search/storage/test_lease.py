from __future__ import annotations

import threading
import time

import pytest

from search.errors import StudyLockedError
from search.storage import lease as lease_module
from search.storage.lease import Lease
from search.storage.store import Store

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def place(folder_uri: str) -> Store:
    return Store(folder_uri)


def taken(place: Store, copy: str = "one") -> Lease:
    lease = Lease(place, copy)
    lease.take()
    lease.confirm()
    return lease


def test_a_lease_that_is_renewed_refuses_the_second_and_names_the_first(place: Store) -> None:
    first, over = taken(place), threading.Event()

    def live() -> None:
        while not over.wait(0.1):
            first.renew()

    thread = threading.Thread(target=live)
    thread.start()
    told: list[str] = []
    try:
        with pytest.raises(StudyLockedError, match=r"store: process \d+ on .* is working on this study; wait for it"):
            Lease(place, "two").take(told.append)
    finally:
        over.set()
        thread.join()
    assert "to see if it is alive" in told[0]
    first.renew()


def test_a_lease_that_was_given_back_is_taken_at_once(place: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "PATIENCE_SECS", 60.0)
    taken(place).give_back()
    start = time.monotonic()
    taken(place, "two")
    assert time.monotonic() - start < 30


def test_a_dead_drivers_lease_is_taken_after_a_while(place: Store) -> None:
    dead = taken(place)
    start = time.monotonic()
    second = taken(place, "two")
    assert time.monotonic() - start >= lease_module.PATIENCE_SECS
    with pytest.raises(StudyLockedError, match="is working on this study"):
        dead.renew()
    dead.give_back()
    second.renew()


def test_the_same_working_copy_need_not_wait_as_its_lock_is_free(place: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "PATIENCE_SECS", 60.0)
    taken(place)
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
