"""A training whose folder lies on an object store: it works in a folder of its node, and sends what it wrote."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from search.errors import DivergedError, StorageFaultError, StoreAwayError, StoreError
from search.records import Progress
from search.storage.location import bare
from search.storage.store import Store
from search.storage.synced import Synced

PAUSE_SECS = 1.0
"""Between two attempts to reach an absent store where nothing goes on without it; the worker ticks meanwhile."""
LONG_PAUSE_SECS = 30.0
"""Between two attempts where training goes on: each may hold it up for some seconds."""
STALE_SECS = 7 * 86400.0
"""A folder that a dead worker left is removed after so long; until then its trial goes on from it on this node."""


def in_scratch(
    remote: str, scratch: Path, begin: Callable[[Path], Iterator[Progress | None]]
) -> Iterator[Progress | None]:
    """Train in a folder of this node.

    What the trial left on the store is pulled first; what the training wrote is pushed before each progress goes on,
    and when the iterator is closed at a tick. While the store is away training goes on, but for its begin and its end,
    which wait and tick. The folder is removed in the end, unless it holds what the store does not.

    Args:
        remote: URI of the trial's folder.
        scratch: Node-local folder that holds those of trials.
        begin: Begins the training in a folder, or goes on with it.

    Yields:
        What the training yields, and None while it waits for the store.

    Raises:
        StoreError: The store refuses this node.
        StorageFaultError: The machine cannot write or read a file.
    """
    _forget_stale(scratch)
    folder = scratch / hashlib.sha256(bare(remote).encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    synced = Synced(folder, Store(remote))
    yield from _patiently(synced.pull)
    training = begin(folder)
    is_sent, not_before = True, 0.0
    try:
        for progress in training:
            is_sent = False
            if progress is None:
                yield None
                continue
            if progress.result is not None:
                yield from _patiently(synced.push)
                is_sent = True
            elif time.monotonic() >= not_before:
                is_sent = _tried(synced.push, StoreAwayError, StoreError)
                not_before = 0.0 if is_sent else time.monotonic() + LONG_PAUSE_SECS
            yield progress
    except DivergedError:
        # What the training left is part of its outcome.
        yield from _patiently(synced.push)
        is_sent = True
        raise
    finally:
        if isinstance(training, Generator):
            training.close()
        if is_sent or _tried(synced.push, StoreAwayError, StoreError, StorageFaultError, OSError):
            shutil.rmtree(folder, ignore_errors=True)


def _tried(act: Callable[[], None], *passed_over: type[Exception]) -> bool:
    try:
        act()
    except passed_over:
        return False
    return True


def _patiently(act: Callable[[], None]) -> Iterator[None]:
    while True:
        with _naming_node():
            if _tried(act, StoreAwayError):
                return
        yield None
        time.sleep(PAUSE_SECS)


@contextlib.contextmanager
def _naming_node() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StoreError(*(f"node {socket.gethostname()}: {fault}" for fault in error.faults)) from None


def _forget_stale(scratch: Path) -> None:
    if not scratch.is_dir():
        return
    for folder in scratch.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE_SECS:
                shutil.rmtree(folder, ignore_errors=True)
