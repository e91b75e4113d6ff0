"""What the driver does for a study's copy on an object store."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from search.errors import HybridSearchError, StoreAwayError, StoreError
from search.storage.lease import Lease
from search.storage.location import Location, join
from search.storage.segments import Segments
from search.storage.store import Store
from search.storage.working_copy import JOURNAL, SEGMENTS, bring, name_copy, pull, pulling

POLL_SECS = 0.5
"""What was written within it is sent together."""
MAX_PAUSE_SECS = 5.0
"""Longest pause between two attempts to reach an absent store; an attempt takes some seconds as well."""
PATIENCE_SECS = 60.0
"""At the end of the command, and where nothing can go on without it, the store is given this long."""
MANY = 16
"""So many removals are worth a look at what is there at all; so many files are brought in one go."""


class Copy(Protocol):
    """What a journal's owner does for a copy of the study elsewhere."""

    def begin(self) -> None:
        """Make this process the study's driver, and the folder what it should be."""

    def check(self) -> None:
        """Raise if this process is the study's driver no more."""

    def uri_of(self, name: str) -> str | None:
        """Where workers find a folder of the study; None for the folder itself."""

    def bring(self, names: Iterable[str]) -> None:
        """Have files in the folder that a worker left."""

    def drop(self, name: str) -> None:
        """Remove a file, or with a / at the end a folder, from the copy, once the journal there says why."""

    def settle(self) -> None:
        """Wait until everything is in the folder that was to be brought."""

    def close(self) -> None:
        """Finish, and let the next driver in."""


class NoCopy:
    """A study in a folder that all nodes see."""

    def begin(self) -> None:
        """Nothing to do."""

    def check(self) -> None:
        """Nothing to do: the journal is locked."""

    def uri_of(self, name: str) -> str | None:  # noqa: ARG002
        """The folder itself."""
        return None

    def bring(self, names: Iterable[str]) -> None:
        """Nothing to do."""

    def drop(self, name: str) -> None:
        """Nothing to do."""

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def copy_of(location: Location, say: Callable[[str], None] = lambda _: None) -> Copy:
    """The copy that goes with a study's journal."""
    return NoCopy() if location.uri is None else RemoteCopy(location, location.uri, say)


class RemoteCopy:
    """Keeps the copy on the store while this process drives the study.

    A thread sends what is new in the journal and among the files, about twice a second. What is lost with this
    machine's disk is what was written since then, and the checkpoints on the store make it again. The driver itself
    waits for the store in three places: `begin`; `bring`, for some small files at a trial's end; and `uri_of`, where a
    training begins anew whose old files are not removed yet.

    Args:
        location: The study.
        uri: Its URI.
        say: Told each line for the user; called from another thread.
    """

    def __init__(self, location: Location, uri: str, say: Callable[[str], None]) -> None:
        self._location, self._uri, self._say = location, uri, say
        self._folder = location.folder
        self._journal = self._folder / JOURNAL
        self._drops: deque[tuple[int, str]] = deque()
        """How long the journal there must be, and what is removed then."""
        self._brings: deque[str] = deque()
        self._fault: HybridSearchError | None = None
        self._away: str | None = None
        self._until: float | None = None
        """When to give up, once the command is at its end."""
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="study-copy")

    def begin(self) -> None:
        """Take the lease, pull what is newer there, and begin to send.

        Raises:
            StudyLockedError: Another machine drives the study.
            StoreError: The store refuses, or the journals here and there differ.
            StoreAwayError: It cannot be reached.
        """
        self._store = Store(self._uri)
        self._store.check()
        self._lease = Lease(self._store, name_copy(self._location))
        self._lease.take(self._say)
        try:
            with pulling(self._location):
                self._segments = Segments(self._store.below(SEGMENTS), self._lease.nonce)
                self._synced = pull(self._location, self._store, self._segments)
            self._lease.confirm()
            self._sent: int = self._synced.state["journal"]["size"]
            self._digest = hashlib.sha256(self._journal.read_bytes()[: self._sent] if self._sent else b"")
        except BaseException:
            with contextlib.suppress(StoreError, StoreAwayError):
                self._lease.give_back()
            raise
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the copying, if anything did.

        Raises:
            StudyLockedError: Another machine has taken the study over.
        """
        if self._fault is not None:
            raise self._fault
        self._lease.check()

    def uri_of(self, name: str) -> str:
        """Where workers find a folder of the study, once what was to be removed there is.

        Raises:
            StoreAwayError: It cannot be removed in time.
        """
        self._wait_for(lambda: not any(dropped.startswith(name) for _, dropped in list(self._drops)))
        return join(self._uri, *name.split("/"))

    def bring(self, names: Iterable[str]) -> None:
        """Have files in the folder that a worker left; while the store is away they come later.

        Raises:
            StorageFaultError: The machine cannot write or read a file.
        """
        wanted = list(names)
        if self._away is None:
            try:
                bring(self._folder, self._store, wanted)
            except (StoreError, StoreAwayError):
                pass  # the thread will meet it, and tell
            else:
                return
        self._brings.extend(wanted)

    def drop(self, name: str) -> None:
        """Remove a file, or with a / at the end a folder, from the store, once the journal there says why."""
        self._drops.append((self._journal.stat().st_size, name))

    def settle(self) -> None:
        """Wait until everything is in the folder that was to be brought.

        Raises:
            StoreAwayError: The store is away for too long.
        """
        self._wait_for(lambda: not self._brings)

    def close(self) -> None:
        """Send the rest, as long as patience lasts, and give the lease back; what is left is sent by the next start."""
        if not self._thread.is_alive():
            return
        self._until = time.monotonic() + PATIENCE_SECS
        self._wake.set()
        self._thread.join()
        if self._away is not None and self._fault is None:
            left = self._journal.stat().st_size - self._sent
            self._say(
                f"{self._location}: {left} bytes of the journal are not there yet; the next start of this study on "
                f"this machine sends them ({self._away})"
            )

    def _wait_for(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECS
        while not done():
            self.check()
            if time.monotonic() > until:
                raise StoreAwayError(f"{self._away or f'{self._location}: slow'}; the same command goes on")
            self._wake.set()
            time.sleep(0.05)

    def _run(self) -> None:
        try:
            self._keep_sending()
        finally:
            self._lease.stop()

    def _keep_sending(self) -> None:
        pause = POLL_SECS
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            is_last = self._until is not None
            try:
                self._send()
                if is_last and not self._brings:
                    self._lease.give_back()
                    return
            except (StoreError, StoreAwayError) as error:
                if self._away is None:
                    self._say(f"{_what(error)}; training goes on, and it is tried again")
                self._away = _what(error)
                pause = min(max(2 * pause, POLL_SECS), MAX_PAUSE_SECS)
                if self._until is not None and time.monotonic() + pause > self._until:
                    return
            except HybridSearchError as error:
                self._fault = error
                return
            except Exception as error:  # noqa: BLE001  a thread's own end would be seen by nobody
                self._fault = StoreError(f"{self._location}: the copy cannot be kept ({type(error).__name__}: {error})")
                return
            else:
                if self._away is not None:
                    self._say(f"{self._location}: is back, and has everything")
                self._away = None
                pause = 0.0 if self._brings else POLL_SECS

    def _send(self) -> None:
        self._lease.check()
        with self._journal.open("rb") as stream:
            stream.seek(self._sent)
            news = stream.read()
        news = news[: news.rfind(b"\n") + 1]
        self._synced.push()  # before the journal speaks of them
        if news:
            self._lease.look()  # a machine that slept knows of nothing
            self._segments.append(self._sent, news)
            self._sent += len(news)
            self._digest.update(news)
            self._synced.state["journal"] = {"size": self._sent, "digest": self._digest.hexdigest()}
            self._synced.save()
            self._segments.merge(self._journal)
        self._send_drops()
        some = list(self._brings)[:MANY]  # the journal's next lines wait meanwhile
        bring(self._folder, self._store, some)
        for _ in some:
            self._brings.popleft()

    def _send_drops(self) -> None:
        """Remove what may go; what was added meanwhile waits for its line of the journal."""
        ready = [name for length, name in list(self._drops) if length <= self._sent]
        wanted = ready
        if len(ready) >= MANY:
            there = {name for root in {name.partition("/")[0] for name in ready} for name in self._store.list(root)}
            there |= {f"{name.rpartition('/')[0]}/" for name in there}
            wanted = [name for name in ready if name in there]
        self._store.delete_all(wanted)
        for _ in ready:
            self._drops.popleft()


def _what(error: HybridSearchError) -> str:
    """What is wrong, without how to mend it."""
    return str(error).partition("; ")[0]
