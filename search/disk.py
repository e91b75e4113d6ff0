"""Files that are written whole or not at all, and the faults of the disk below them, which are nobody's trial's."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from search.errors import StorageFaultError

MENDS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EROFS: "make it writable",
    errno.EIO: "mend the disk",
}
"""What a disk can fail at -> what a person does about it."""
_LEFTOVER = re.compile(r"\..+\.(pt|npy|safetensors)\.[0-9a-f]+")


@contextlib.contextmanager
def telling_disk_faults(place: Path) -> Iterator[None]:
    """Turn what the disk fails at into words.

    Args:
        place: What is written or read, for an error that does not name it.

    Raises:
        StorageFaultError: The disk is full, over quota, read-only or broken.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        fault = _find_fault(error)
        if fault is None:
            raise
        raise StorageFaultError(
            f"{fault.filename or place}: node {socket.gethostname()} cannot use it ({fault.strerror}); "
            f"{MENDS[fault.errno or 0]}, then run the same command again"
        ) from error


def is_disk_fault(error: BaseException) -> bool:
    """Whether an error says that the disk is full, over quota, read-only or broken."""
    return _find_fault(error) is not None


def _find_fault(error: BaseException | None) -> OSError | None:
    """The disk's fault behind an error: torch's writer hides it behind a RuntimeError of its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in MENDS:
            return error
        error = error.__cause__ or error.__context__
    return None


def write_whole(path: Path, write: Callable[[IO[bytes]], None], *, flush: bool = True) -> None:
    """Write a file so that after a crash or a power cut there is the old one or the new one.

    Args:
        path: The file; its folder is made if need be.
        write: Writes the content to a stream.
        flush: Wait until the disk has it; without, a power cut may leave half of it.

    Raises:
        StorageFaultError: The disk is full, over quota, read-only or broken; the old file is as it was.
    """
    # Not by process: where many nodes write, and each counts its own, two may have the same number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with telling_disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:  # never through a link that somebody laid there
                write(stream)
                if flush:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if flush:
            _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes | memoryview, *, flush: bool = True) -> None:
    """Write a file of known content, as `write_whole` does."""

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    write_whole(path, write, flush=flush)


def _sync_folder(folder: Path) -> None:
    """Flush a folder: else a power cut may undo the last renaming in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems know no such thing; they rename on their server.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers left that were killed while they wrote.

    Args:
        folder: Of one trial, which one process works on.
    """
    for path in folder.glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)
