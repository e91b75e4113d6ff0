"""MLflow's SQLite file, which studies of one storage share: one process at a time makes, migrates and judges it.

MLflow makes some fifty tables one after another, and a second process that opens the file meanwhile fails, or leaves
it half-made. A new database is therefore made beside its place and renamed into it: there is none, or a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from search.errors import TrackingError
from search.storage.locks import locked
from search.tracking.sqlite_uri import SQLITE, path_of, sqlite_uri

PATIENCE_SECS = 120.0
"""For another process to make or migrate the database, which takes seconds on an idle machine."""
_DAMAGES = (
    "(sqlite3.OperationalError) table ",
    "(sqlite3.OperationalError) duplicate column",
    "(sqlite3.OperationalError) no such table",
    "file is not a database",
    "is malformed",
)
"""What SQLite says of half a database, which MLflow never completes."""
_opened: set[tuple[str, int, int]] = set()
"""Path, device and inode of databases that this process has found whole."""


def prepare(uri: str) -> None:
    """Make, or migrate, the database behind a tracking URI; do nothing where it is not SQLite.

    Raises:
        TrackingError: It is damaged, or another process holds the lock beside it for too long.
        MlflowException: MLflow cannot use it.
        OSError: It cannot be written.
    """
    if not uri.startswith(SQLITE):
        return
    file = path_of(uri)
    if _identity(file) in _opened:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file):
        if not file.exists() or not file.stat().st_size:
            _make(file)
        try:
            _open(file)
        except Exception as error:
            if any(mark in str(error) for mark in _DAMAGES):
                raise TrackingError(
                    f"{uri}: damaged; move the file away, and the next start of each study sends its runs again"
                ) from error
            raise
        _opened.add(_identity(file))


def forget(uri: str) -> None:
    """Look at a database again before it is used the next time."""
    _opened.discard(_identity(path_of(uri)))


def _identity(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), found.st_dev, found.st_ino


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the lock beside a database. Where no lock can be written, no database can be made either."""

    def tell() -> None:
        print(f"{file}: waiting for another process, which makes or migrates it", file=sys.stderr, flush=True)  # noqa: T201

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(file.with_name(f"{file.name}.lock"), patience_secs=PATIENCE_SECS, on_wait=tell))
        except TimeoutError:
            raise TrackingError(
                f"{file}: another process has held {file.name}.lock for {PATIENCE_SECS:.0f} s; end that process, or "
                "try again later"
            ) from None
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS} or not file.exists():
                raise
        yield


def _make(file: Path) -> None:
    beside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        _open(beside)
        os.replace(beside, file)  # noqa: PTH105  SQLite keeps it open: the same file under another name
    finally:
        ours = re.compile(rf"\.{re.escape(file.name)}\.[0-9a-f]{{16}}(-journal|-wal|-shm)?")
        for left in file.parent.iterdir():  # of processes that were killed here, too
            if ours.fullmatch(left.name):
                left.unlink(missing_ok=True)


def _open(file: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=sqlite_uri(file), registry_uri=sqlite_uri(file)).search_experiments(max_results=1)
