"""File locks between processes."""

from __future__ import annotations

import contextlib
import fcntl
import math
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


def try_lock(stream: IO[Any]) -> bool:
    """Lock an open file without waiting.

    Returns:
        True if the lock was acquired; False if another process holds it.

    Raises:
        OSError: The file system does not support locks.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
