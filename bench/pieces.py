"""Cached pieces of long computations, so that an interrupted run resumes with the missing ones."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / ".counted"
"""Cache folder, not under version control; delete it after a change to the computation."""


def kept(folder: Path, key: str, count: Callable[..., Any], args: tuple[object, ...]) -> Any:
    """Return a cached result, or compute and cache it.

    Args:
        folder: The cache folder.
        key: Name of the piece, which must include everything that the result depends on.
        count: Function that computes the piece.
        args: Arguments of `count`.

    Returns:
        The result of `count`.
    """
    path = folder / f"{key}.pickle"
    if path.is_file():
        return pickle.loads(path.read_bytes())  # written by this function
    result = count(*args)
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_bytes(pickle.dumps(result))
    beside.replace(path)
    return result


class Pieces:
    """Cached pieces that are computed in parallel.

    Args:
        pool: Executor that computes the pieces.
        folder: The cache folder.
    """

    def __init__(self, pool: Executor, folder: Path) -> None:
        self.pool, self.folder = pool, folder

    def ask(self, count: Callable[..., Any], *args: Any) -> Future[Any]:
        """Submit a piece; its key is made of the name and the arguments of the function."""
        words = [count.__name__.strip("_"), *(getattr(value, "name", str(value)) for value in args)]
        key = "-".join(words).replace("/", "-").replace(" ", "-")
        return self.pool.submit(kept, self.folder, key, count, args)
