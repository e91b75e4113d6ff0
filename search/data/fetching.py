"""Downloads: one process at a time, with patience that ends, and faults that say what to do by hand."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from search.data.errors import FetchError
from search.data.locks import locked

TIMEOUT_SECS = 30.0


@contextlib.contextmanager
def fetching(name: str, root: Path, by_hand: str) -> Iterator[None]:
    """Let torchvision download something below a folder.

    Args:
        name: Of the source.
        root: Where it shall lie.
        by_hand: What to do where there is no network.

    Raises:
        FetchError: No network, a refused or damaged download, or a folder that cannot be written.
    """
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECS)  # torchvision sets none, and would wait for ever
    try:
        with locked(root / ".fetch.lock"), contextlib.redirect_stdout(sys.stderr):
            yield
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        raise FetchError(
            f"data {name}: could not be fetched into {root} ({error}); where there is no network, {by_hand}"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
