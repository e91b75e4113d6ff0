"""One process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

PAUSE_SECS = 0.1
"""Between two attempts."""
TOLD_SECS = 2.0
"""A wait that is shorter is not told."""


@contextlib.contextmanager
def locked(
    path: Path, *, patience_secs: float = math.inf, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold a lock file, waiting for the process that holds it; the system releases it when its holder dies.

    Args:
        path: The lock file; its folder is made if need be.
        patience_secs: How long to wait at most.
        on_wait: Called once if it has to wait for more than a moment.

    Raises:
        TimeoutError: Another process held it for all that time.
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        since, told = time.monotonic(), False
        while not try_lock(stream):
            waited = time.monotonic() - since
            if waited > patience_secs:
                msg = f"{path}: another process held it for {patience_secs:.0f} s"
                raise TimeoutError(msg)
            if waited > TOLD_SECS and not told:
                told = True
                on_wait()
            time.sleep(PAUSE_SECS)
        yield


def try_lock(stream: IO[Any]) -> bool:
    """Lock an open file, without waiting.

    Returns:
        Whether it is locked now; False if another process holds the lock.

    Raises:
        OSError: The file system cannot lock.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
