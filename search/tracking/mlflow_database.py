"""Create, migrate and check MLflow's SQLite file, which several studies may share, in one process at a time.

MLflow creates about fifty tables one by one. A second process that opens the file meanwhile fails or leaves it
incomplete, so a new database is created beside its place and then renamed.
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
"""Longest wait in seconds for another process to create or migrate the database, which normally takes seconds."""
_DAMAGES = (
    "(sqlite3.OperationalError) table ",
    "(sqlite3.OperationalError) duplicate column",
    "(sqlite3.OperationalError) no such table",
    "file is not a database",
    "is malformed",
)
"""Messages of SQLite about an incomplete database, which MLflow never completes."""
_opened: set[tuple[str, int, int]] = set()
"""Path, device and inode of databases that this process has checked."""


def prepare(uri: str) -> None:
    """Create or migrate the database behind a tracking URI; do nothing if it is not SQLite.

    Args:
        uri: MLflow tracking URI.

    Raises:
        TrackingError: The database is damaged, or another process holds its lock for too long.
        MlflowException: MLflow cannot use the database.
        OSError: The database cannot be written.
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
    """Check a database again before its next use."""
    _opened.discard(_identity(path_of(uri)))


def _identity(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), found.st_dev, found.st_ino


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the lock beside a database. An existing database in a read-only folder is used without a lock."""

    def tell() -> None:
        print(f"{file}: waiting for another process that creates or migrates the database", file=sys.stderr, flush=True)  # noqa: T201

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
        os.replace(beside, file)  # noqa: PTH105  SQLite keeps the renamed file open
    finally:
        ours = re.compile(rf"\.{re.escape(file.name)}\.[0-9a-f]{{16}}(-journal|-wal|-shm)?")
        for left in file.parent.iterdir():  # also files of processes that were killed here
            if ours.fullmatch(left.name):
                left.unlink(missing_ok=True)


def _open(file: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=sqlite_uri(file), registry_uri=sqlite_uri(file)).search_experiments(max_results=1)
