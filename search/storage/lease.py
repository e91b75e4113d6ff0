"""A lease that gives one driver the exclusive right to a study where files cannot be locked."""

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
from search.storage.location import Location
from search.storage.store import Store
from search.storage.working_copy import is_driven

RENEW_SECS = 5.0
PATIENCE_SECS = 15.0
"""A lease that is not renewed within this time is free."""
SETTLE_SECS = 1.0
"""Wait between writing a lease and confirming it."""
POLL_SECS = 1.0
_NAME = "driver.json"


class Lease:
    """The exclusive right to drive a study on an object store.

    A thread renews the lease from `take` to `stop`. If the lease is missing or belongs to another driver, it is lost,
    even if the other driver has ended since.

    Limits: object stores have no locks. A driver that is suspended (SIGSTOP, sleeping machine, network failure) for
    longer than `PATIENCE_SECS` loses its lease, notices this only on its next access, and may complete a request in
    transit. Two drivers that start at the same moment detect each other by writing, waiting and reading again; a store
    that returns old content for longer than `SETTLE_SECS` defeats this. In both cases no segment of the journal is
    overwritten, and readers report that two drivers have written. docs/architecture.md says why not conditional writes.

    Args:
        store: The study's folder on the store.
        copy: Identifies the working copy. A lease of the same copy belongs to a dead driver, as a running one holds the
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

    def take(self, print_line: Callable[[str], None] = lambda _: None) -> None:
        """Take the lease and renew it from now on; it is valid only after `confirm`.

        Args:
            print_line: Receives the reason for a wait, if there is one.

        Raises:
            StudyLockedError: Another driver renews the lease.
        """
        first = self._read()
        if first is not None and first.get("copy") != self._copy:
            print_line(
                f"{self._store}: {first.get('owner')} used it last; waiting up to {PATIENCE_SECS:.0f} s to see whether "
                "that process is still running"
            )
            now = self.watch(first)
            if now is not None:
                raise self._refusal(now)
        self._write()
        self._taken = time.monotonic()
        self._thread.start()

    def watch(self, first: dict[str, Any]) -> dict[str, Any] | None:
        """Wait for another driver to renew its lease; return None if it does not, or releases it."""
        until = time.monotonic() + PATIENCE_SECS
        while (now := self._read()) is not None and time.monotonic() < until:
            if now != first:
                return now
            time.sleep(POLL_SECS)
        return None

    def confirm(self) -> None:
        """Confirm that no other driver took the lease at the same time.

        Raises:
            StudyLockedError: Another driver did.
        """
        time.sleep(max(0.0, self._taken + SETTLE_SECS - time.monotonic()))
        self.verify()

    def check(self) -> None:
        """Raise an error if the loss of the lease was noticed already; makes no request.

        Raises:
            StudyLockedError: Another driver has taken the lease.
        """
        if self._lost is not None:
            raise self._lost

    def verify(self) -> None:
        """Read the lease from the store and check that it belongs to this driver.

        Raises:
            StudyLockedError: Another driver has taken the lease.
        """
        found = self._read()
        if found is None:
            raise StudyLockedError(
                f"{self._store}: the lease was lost, because another command used this study while this one could not "
                "renew the lease; run the same command again"
            )
        if found.get("nonce") != self.nonce:
            raise self._refusal(found)

    def renew(self) -> None:
        """Renew the lease.

        Raises:
            StudyLockedError: Another driver has taken it.
        """
        self.verify()
        self._write()

    def stop(self) -> None:
        """Stop renewing the lease."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def give_back(self) -> None:
        """Release the lease, so that the next driver need not wait."""
        self.stop()
        found = self._read()
        if found is not None and found.get("nonce") == self.nonce:
            self._store.delete(_NAME)

    def _keep(self) -> None:
        while not self._over.wait(RENEW_SECS):
            try:
                with contextlib.suppress(StoreError, StoreAwayError):  # reported by the next transmission
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
    """Return whether a driver on any machine holds a study; waits up to `PATIENCE_SECS` for an old lease."""
    lease = Lease(store, "")
    first = lease._read()  # noqa: SLF001
    return first is not None and lease.watch(first) is not None


def is_driven_anywhere(location: Location) -> bool:
    """Return whether a command trains trials or repeats of a study, on this machine or another one."""
    return is_driven(location.folder) or (location.uri is not None and is_renewed(Store(location.uri)))
