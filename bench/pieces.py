"""Long counts in pieces that are kept: a run that is interrupted goes on with what is missing."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / ".counted"
"""Not under version control; delete it after a change of what is counted."""


def kept(folder: Path, key: str, count: Callable[..., Any], args: tuple[object, ...]) -> tuple[Any, float]:
    """Return what was counted before, or count it now and keep it.

    Args:
        folder: Where pieces are kept.
        key: Names the piece with everything that its result depends on.
        count: Counts it.
        args: Handed to `count`.

    Returns:
        What `count` returned, now or before, and the seconds of processor time that it took.
    """
    path = folder / f"{key}.pickle"
    if path.is_file():
        result, secs = pickle.loads(path.read_bytes())  # our own file
        return result, float(secs)
    start = time.process_time()
    result = count(*args)
    secs = time.process_time() - start
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_bytes(pickle.dumps((result, secs)))
    beside.replace(path)
    return result, secs


class Pieces:
    """Pieces that are counted side by side.

    Args:
        pool: Where they are counted.
        folder: Where they are kept.
    """

    def __init__(self, pool: Executor, folder: Path) -> None:
        self.pool, self.folder, self.secs = pool, folder, 0.0

    def ask(self, count: Callable[..., Any], *args: Any) -> Future[tuple[Any, float]]:
        """Have a piece counted; the name of the function and its arguments are its key."""
        words = [count.__name__.strip("_"), *(getattr(value, "name", str(value)) for value in args)]
        key = "-".join(words).replace("/", "-").replace(" ", "-")
        return self.pool.submit(kept, self.folder, key, count, args)

    def take(self, asked: Future[tuple[Any, float]]) -> Any:
        """Wait for a piece."""
        result, secs = asked.result()
        self.secs += secs
        return result
