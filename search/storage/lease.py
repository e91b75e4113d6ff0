"""One driver per study, where no file can be locked: a lease that its holder renews, whatever else it is busy with."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from search.errors import StoreAwayError, StoreError, StudyLockedError
from search.storage.store import Store

RENEW_SECS = 5.0
PATIENCE_SECS = 15.0
"""A lease that is not renewed within this time is nobody's."""
SETTLE_SECS = 1.0
"""Between taking a lease and believing it."""
POLL_SECS = 1.0
_NAME = "driver.json"


class Lease:
    """The right to drive a study.

    From `take` to `stop` a thread renews it. Who finds no lease, or another's, has lost it: another driver was here in
    between, and may be gone again.

    What it cannot promise: an object store has no locks. A driver that was stopped (SIGSTOP, a machine asleep, a
    network cut) for longer than `PATIENCE_SECS` loses its lease to the next one and notices only when it looks at it;
    what it was sending in that moment arrives. Two that start within one request of each other are told apart by
    writing, waiting and reading again, which a store that shows old content for longer than `SETTLE_SECS` would
    defeat. In either case no segment of the journal is overwritten: readers see that two have written, and say so.

    Args:
        store: The study's folder on the store.
        copy: Names the working copy. A lease of the same copy is of a driver that is dead: a living one would hold the
            copy's lock.
    """

    def __init__(self, store: Store, copy: str) -> None:
        self._store, self._copy = store, copy
        self.nonce = uuid.uuid4().hex[:8]
        self._beat = 0
        self._taken = time.monotonic()
        self._lost: StudyLockedError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="study-lease")

    def take(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Take it and renew it from then on; believe it after `confirm`.

        Args:
            say: Told why it takes a while, if it does.

        Raises:
            StudyLockedError: Another driver renews it.
        """
        first = self._read()
        if first is not None and first.get("copy") != self._copy:
            say(f"{self._store}: {first.get('owner')} had it last; up to {PATIENCE_SECS:.0f} s to see if it is alive")
            now = self.watch(first)
            if now is not None:
                raise self._refusal(now)
        self._write()
        self._taken = time.monotonic()
        self._thread.start()

    def watch(self, first: dict[str, Any]) -> dict[str, Any] | None:
        """Wait for the driver that left this lease to renew it; None if it does not, or gives it back."""
        until = time.monotonic() + PATIENCE_SECS
        while (now := self._read()) is not None and time.monotonic() < until:
            if now != first:
                return now
            time.sleep(POLL_SECS)
        return None

    def confirm(self) -> None:
        """See that nobody took it at the same time.

        Raises:
            StudyLockedError: Somebody did.
        """
        time.sleep(max(0.0, self._taken + SETTLE_SECS - time.monotonic()))
        self.look()

    def check(self) -> None:
        """Raise if it is known to be lost; asks nobody.

        Raises:
            StudyLockedError: Another driver has taken it since.
        """
        if self._lost is not None:
            raise self._lost

    def look(self) -> None:
        """See on the store that it is still this driver's.

        Raises:
            StudyLockedError: Another driver has taken it since.
        """
        found = self._read()
        if found is None:
            raise StudyLockedError(
                f"{self._store}: the lease is gone, as another command worked on this study while this one was not "
                "heard of; run the same command again"
            )
        if found.get("nonce") != self.nonce:
            raise self._refusal(found)

    def renew(self) -> None:
        """Say that this driver lives.

        Raises:
            StudyLockedError: Another one has taken it since.
        """
        self.look()
        self._write()

    def stop(self) -> None:
        """Renew it no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def give_back(self) -> None:
        """Let the next one in at once."""
        self.stop()
        found = self._read()
        if found is not None and found.get("nonce") == self.nonce:
            self._store.delete(_NAME)

    def _keep(self) -> None:
        while not self._over.wait(RENEW_SECS):
            try:
                with contextlib.suppress(StoreError, StoreAwayError):  # whoever sends something will meet it, and tell
                    self.renew()
            except StudyLockedError as error:
                self._lost = error
                return

    def _refusal(self, found: dict[str, Any]) -> StudyLockedError:
        return StudyLockedError(
            f"{self._store}: {found.get('owner')} is working on this study; wait for it, or stop it first"
        )

    def _read(self) -> dict[str, Any] | None:
        content = self._store.read(_NAME)
        try:
            found = json.loads(content) if content else None
        except ValueError:
            return {"owner": "an unknown process"}
        return found if isinstance(found, dict) else None

    def _write(self) -> None:
        self._beat += 1
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        content = {"owner": owner, "nonce": self.nonce, "copy": self._copy, "beat": self._beat}
        self._store.write(_NAME, json.dumps(content).encode())


def is_renewed(store: Store) -> bool:
    """Whether a driver on any machine holds a study; where one left its lease behind, after `PATIENCE_SECS`."""
    lease = Lease(store, "")
    first = lease._read()  # noqa: SLF001
    return first is not None and lease.watch(first) is not None
