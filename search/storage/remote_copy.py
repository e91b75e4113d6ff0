"""The driver's side of a study's copy on an object store."""

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
from search.storage.working_copy import COMMANDS, JOURNAL, SEGMENTS, bring, name_copy, pull, pulling
from search.text.counted import counted

POLL_SECS = 0.5
"""Interval between transmissions; everything written within it is sent together."""
MAX_PAUSE_SECS = 5.0
"""Longest pause between two attempts to reach an unreachable store; each attempt takes some seconds itself."""
COMMANDS_SECS = 2.0
"""Interval between two looks for commands from other processes; each is one request."""
PATIENCE_SECS = 60.0
"""How long to wait for the store at the end of the command and where the study cannot proceed without it."""
MANY = 16
"""Number of deletions from which missing files are found by listing; number of files downloaded at a time."""


class Copy(Protocol):
    """Interface between a study's journal and a copy of the study elsewhere.

    Call `open` first and `close` last. All methods are called from the driver's thread.
    """

    def open(self) -> None:
        """Become the study's only driver and bring the folder up to date."""

    def check(self) -> None:
        """Raise an error if this process is no longer the study's driver."""

    def uri_of(self, name: str) -> str | None:
        """Return the URI under which workers find a folder of the study, or None for the folder itself."""

    def bring(self, names: Iterable[str]) -> None:
        """Download files that a worker has written to the study's folder."""

    def drop(self, name: str) -> None:
        """Delete a file, or a folder (name with trailing /), from the copy, after the journal has been sent."""

    def wait_for_files(self) -> None:
        """Wait until all requested files are in the folder."""

    def close(self) -> None:
        """Send the rest and release the study for the next driver."""


class NoCopy:
    """A study in a folder that all nodes share; needs no copy."""

    def open(self) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing: the journal is locked."""

    def uri_of(self, name: str) -> str | None:  # noqa: ARG002
        """Return None: workers use the folder itself."""
        return None

    def bring(self, names: Iterable[str]) -> None:
        """Do nothing."""

    def drop(self, name: str) -> None:
        """Do nothing."""

    def wait_for_files(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def copy_of(location: Location, print_line: Callable[[str], None] = lambda _: None) -> Copy:
    """Return the copy that belongs to a study's location.

    Args:
        location: Where the study is stored.
        print_line: Receives lines for the user.
    """
    return NoCopy() if location.uri is None else RemoteCopy(location, location.uri, print_line)


class RemoteCopy:
    """Keeps a study's copy on an object store up to date while this process drives the study.

    A thread sends new journal events and files about twice a second. If this machine's disk is lost, only the events
    since the last transmission are lost, and their epochs are repeated from the checkpoints on the store. The driver
    itself waits for the store in three places: `open`; `bring`, for small files at the end of a trial; and `uri_of`,
    before a training restarts whose old files are not deleted yet.

    Args:
        location: Where the study is stored.
        uri: Its URI.
        print_line: Receives lines for the user; called from another thread.
    """

    def __init__(self, location: Location, uri: str, print_line: Callable[[str], None]) -> None:
        self._location, self._uri, self._print_line = location, uri, print_line
        self._folder = location.folder
        self._journal = self._folder / JOURNAL
        self._drops: deque[tuple[int, str]] = deque()
        """Required length of the stored journal in bytes, and the name that is deleted once it is reached."""
        self._brings: deque[str] = deque()
        self._fault: HybridSearchError | None = None
        self._away: str | None = None
        self._look_again = 0.0
        """When to look for commands again."""
        self._until: float | None = None
        """When to give up, after `close` was called."""
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="study-copy")

    def open(self) -> None:
        """Take the lease, pull newer files from the store, and start sending.

        Raises:
            StudyLockedError: Another machine drives the study.
            StoreError: The store refuses access, or the two journals differ.
            StoreAwayError: The store cannot be reached.
        """
        self._store = Store(self._uri)
        self._store.check()
        self._lease = Lease(self._store, name_copy(self._location))
        self._lease.take(self._print_line)
        try:
            with pulling(self._location):
                self._segments = Segments(self._store.below(SEGMENTS), self._lease.nonce)
                self._synced = pull(self._location, self._store, self._segments)
            self._lease.confirm()
            self._sent: int = self._synced.state["journal"]["size"]
            self._digest = hashlib.sha256(self._journal.read_bytes()[: self._sent] if self._sent else b"")
            self._fetch_commands()
        except BaseException:
            with contextlib.suppress(StoreError, StoreAwayError):
                self._lease.give_back()
            raise
        self._thread.start()

    def check(self) -> None:
        """Raise the error that ended the transmission, if any.

        Raises:
            StudyLockedError: Another machine drives the study now.
        """
        if self._fault is not None:
            raise self._fault
        self._lease.check()

    def uri_of(self, name: str) -> str:
        """Return the URI of a folder, after pending deletions in it are done.

        Raises:
            StoreAwayError: The deletions are not done in time.
        """
        self._wait_for(lambda: not any(dropped.startswith(name) for _, dropped in list(self._drops)))
        return join(self._uri, *name.split("/"))

    def bring(self, names: Iterable[str]) -> None:
        """Download files that a worker has written; if the store is unreachable, they are downloaded later.

        Raises:
            StorageFaultError: A file cannot be written or read.
        """
        wanted = list(names)
        if self._away is None:
            try:
                bring(self._folder, self._store, wanted)
            except (StoreError, StoreAwayError):
                pass  # the thread meets the same error and reports it
            else:
                return
        self._brings.extend(wanted)

    def drop(self, name: str) -> None:
        """Delete a file or folder from the store after the journal has been sent."""
        self._drops.append((self._journal.stat().st_size, name))

    def wait_for_files(self) -> None:
        """Wait until all requested files are in the folder.

        Raises:
            StoreAwayError: The store is unreachable for too long.
        """
        self._wait_for(lambda: not self._brings)

    def close(self) -> None:
        """Send the rest and release the lease; what cannot be sent in time is sent by the next start."""
        if not self._thread.is_alive():
            return
        self._until = time.monotonic() + PATIENCE_SECS
        self._wake.set()
        self._thread.join()
        if self._away is not None and self._fault is None:
            left = self._journal.stat().st_size - self._sent
            self._print_line(
                f"{self._location}: {counted(left, 'byte')} of the journal not sent yet; the next start of this study "
                f"on this machine sends the rest ({self._away})"
            )

    def _wait_for(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECS
        while not done():
            self.check()
            if time.monotonic() > until:
                raise StoreAwayError(
                    f"{self._away or f'{self._location}: slow'}; run the same command again to continue"
                )
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
                    self._print_line(f"{_what(error)}; training continues, and sending is retried")
                self._away = _what(error)
                pause = min(max(2 * pause, POLL_SECS), MAX_PAUSE_SECS)
                if self._until is not None and time.monotonic() + pause > self._until:
                    return
            except HybridSearchError as error:
                self._fault = error
                return
            except Exception as error:  # noqa: BLE001  an exception that ends the thread would go unnoticed
                self._fault = StoreError(
                    f"{self._location}: the copy cannot be written ({type(error).__name__}: {error})"
                )
                return
            else:
                if self._away is not None:
                    self._print_line(f"{self._location}: reachable again, and everything has been sent")
                self._away = None
                pause = 0.0 if self._brings else POLL_SECS

    def _send(self) -> None:
        self._lease.check()
        with self._journal.open("rb") as stream:
            stream.seek(self._sent)
            news = stream.read()
        news = news[: news.rfind(b"\n") + 1]
        self._synced.push()  # files first: the journal refers to them
        if news:
            self._lease.verify()  # after a suspension, this machine may have lost the lease unnoticed
            self._segments.append(self._sent, news)
            self._sent += len(news)
            self._digest.update(news)
            self._synced.state["journal"] = {"size": self._sent, "digest": self._digest.hexdigest()}
            self._synced.save()
            self._segments.merge(self._journal)
        self._send_drops()
        self._fetch_commands()
        some = list(self._brings)[:MANY]  # a few at a time, so that new journal events are sent in between
        bring(self._folder, self._store, some)
        for _ in some:
            self._brings.popleft()

    def _fetch_commands(self) -> None:
        """Download new commands from other processes, which the driver reads in its folder."""
        now = time.monotonic()
        if now < self._look_again:
            return
        self._look_again = now + COMMANDS_SECS
        dropped = {name for _, name in list(self._drops)}
        names = [name for name in self._store.list(f"{COMMANDS}/") if name not in dropped]
        bring(self._folder, self._store, (name for name in names if not (self._folder / name).is_file()))

    def _send_drops(self) -> None:
        """Perform the deletions whose journal events have been sent."""
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
    """Return the cause of an error without the advice on how to fix it."""
    return str(error).partition("; ")[0]
