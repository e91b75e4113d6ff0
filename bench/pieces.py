"""Long counts in pieces that are kept: a run that is interrupted goes on with what is missing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / ".counted"
"""Not under version control; delete it after a change of what is counted."""


def kept(folder: Path, key: str, count: Callable[..., Any], args: tuple[object, ...]) -> Any:
    """Return what was counted before, or count it now and keep it.

    Args:
        folder: Where pieces are kept.
        key: Names the piece with everything that its result depends on.
        count: Counts it.
        args: Handed to `count`.

    Returns:
        What `count` returned, now or before.
    """
    path = folder / f"{key}.pickle"
    if path.is_file():
        return pickle.loads(path.read_bytes())  # our own file
    result = count(*args)
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_bytes(pickle.dumps(result))
    beside.replace(path)
    return result


class Pieces:
    """Pieces that are counted side by side.

    Args:
        pool: Where they are counted.
        folder: Where they are kept.
    """

    def __init__(self, pool: Executor, folder: Path) -> None:
        self.pool, self.folder = pool, folder

    def ask(self, count: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a piece counted; the name of the function and its arguments are its key."""
        words = [count.__name__.strip("_"), *(getattr(value, "name", str(value)) for value in args)]
        key = "-".join(words).replace("/", "-").replace(" ", "-")
        return self.pool.submit(kept, self.folder, key, count, args)
