"""Optuna's log file, kept readable whatever a crash has left of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from search.disk import write_bytes

if TYPE_CHECKING:
    import optuna

FILE_NAME = "optuna.log"
DAMAGED = "optuna.log.damaged"
"""What could not be read is kept under this name."""
LOCK_SECS = 1.0
"""An append takes milliseconds: a lock that stays so long, while we hold the study's own, was left by a kill."""


def read_log(path: Path) -> optuna.storages.BaseStorage:
    """Open a log as it is."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
    return optuna.storages.JournalStorage(backend)


def open_log(path: Path, say: Callable[[str], None]) -> optuna.storages.BaseStorage:
    """Open a log, whatever a crash left of it; what is lost is put back from the journal.

    Raises:
        OSError: It cannot be read or written.
    """
    _break_lock(path)
    for left in path.parent.glob(f".{FILE_NAME}.*"):  # by a kill while it was written again
        left.unlink(missing_ok=True)
    _cut_half_line(path)
    try:
        return read_log(path)
    except OSError:
        raise
    except Exception:  # noqa: BLE001  Optuna stumbles in as many ways as there are kinds of damage
        lines = _good_lines(path)
    set_aside(path)
    write_bytes(path, b"".join(lines))
    try:
        storage = read_log(path)
    except OSError:
        raise
    except Exception:  # noqa: BLE001  lines of JSON that make no study
        lines = []
        write_bytes(path, b"".join(lines))
        storage = read_log(path)
    say(f"{path}: damaged in line {len(lines) + 1}; set aside as {DAMAGED}, what is missing comes from the journal")
    return storage


def set_aside(path: Path) -> None:
    """Keep a log under another name."""
    path.replace(path.with_name(DAMAGED))


def _break_lock(path: Path) -> None:
    lock = Path(f"{path}.lock")
    until = time.monotonic() + LOCK_SECS
    while lock.is_symlink() or lock.exists():
        if time.monotonic() > until:
            lock.unlink(missing_ok=True)
        time.sleep(0.05)


def _cut_half_line(path: Path) -> None:
    """Cut what a crash left of a line: the next one would be written behind it."""
    if not path.is_file():
        return
    with path.open("rb+") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size == 0:
            return
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) == b"\n":
            return
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


def _good_lines(path: Path) -> list[bytes]:
    good = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if "op_code" not in json.loads(line):
                break
        except (ValueError, TypeError):
            break
        good.append(line)
    return good
