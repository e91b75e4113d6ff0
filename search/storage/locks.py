"""File locks between processes."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

PAUSE_SECS = 0.1
"""Pause between two attempts."""
TOLD_SECS = 2.0
"""Shorter waits are not reported."""


@contextlib.contextmanager
def locked(
    path: Path, *, patience_secs: float = math.inf, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold a lock file, waiting for its current holder; the system releases the lock when its holder ends.

    Args:
        path: The lock file; its folder is created if necessary.
        patience_secs: Maximum waiting time.
        on_wait: Called once if the wait is longer than `TOLD_SECS`.

    Raises:
        TimeoutError: Another process held the lock for the whole time.
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        since, told = time.monotonic(), False
        while not try_lock(stream):
            waited = time.monotonic() - since
            if waited > patience_secs:
                msg = f"{path}: locked by another process for {patience_secs:.0f} s"
                raise TimeoutError(msg)
            if waited > TOLD_SECS and not told:
                told = True
                on_wait()
            time.sleep(PAUSE_SECS)
        yield


@contextlib.contextmanager
def holding(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Lock an existing file or folder while the block runs.

    It is opened for reading only: NFS grants a shared lock on no other file, and a folder cannot be opened otherwise.

    Args:
        path: The file or folder.
        shared: As for `try_lock`.
        wait: As for `try_lock`.

    Yields:
        False if another process holds the lock; True if this one does, or if the file system does not support locks.

    Raises:
        OSError: The file cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            is_ours = try_lock(handle, shared=shared, wait=wait)
        except OSError:
            is_ours = True
        yield is_ours
    finally:
        os.close(handle)


def try_lock(file: IO[Any] | int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file.

    Args:
        file: The file or its descriptor; closing it releases the lock.
        shared: Whether other processes may hold a shared lock at the same time.
        wait: Whether to wait until the lock is free.

    Returns:
        True if the lock was acquired; False if another process holds it.

    Raises:
        OSError: The file system does not support locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
