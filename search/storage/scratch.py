"""Train in a local folder of the node if the trial's folder is on an object store, and upload the files."""

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
"""Pause between two attempts to reach the store where the trial cannot proceed without it; the worker ticks
meanwhile."""
LONG_PAUSE_SECS = 30.0
"""Pause between two attempts during training, as each may block it for some seconds."""
STALE_SECS = 7 * 86400.0
"""Age at which a dead worker's folder is deleted; until then, its trial resumes from it on this node."""


def in_scratch(
    remote: str, scratch: Path, begin: Callable[[Path], Iterator[Progress | None]]
) -> Iterator[Progress | None]:
    """Train in a node-local folder that is synchronised with the store.

    Existing files of the trial are downloaded first. New files are uploaded before each progress report and when the
    iterator is closed. While the store is unreachable, training continues; only its start and end wait, yielding ticks.
    The local folder is deleted at the end unless it contains files that could not be uploaded.

    Args:
        remote: URI of the trial's folder.
        scratch: Node-local folder that contains the folders of trials.
        begin: Starts or resumes the training in a folder.

    Yields:
        The output of the training, and None while waiting for the store.

    Raises:
        StoreError: The store refuses access from this node.
        StorageFaultError: A file cannot be written or read.
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
        # The files of a diverged training are part of its result.
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
