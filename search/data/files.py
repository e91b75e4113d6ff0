"""Read files from unknown sources: only regular files are opened, and sizes are limited."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from search.text.printable import printable

MAX_LIST_BYTES = 64 << 20
"""Size limit of a list of names or words beside the images."""


class NotRegularError(OSError):
    """A FIFO, device, socket or folder, or a link to one, is used where a file is expected."""

    def __init__(self, path: Path | str, mode: int) -> None:
        super().__init__(f"it is {kind_of(mode)}, not a regular file")
        self.path = path


class TooLargeError(OSError):
    """A file exceeds the size limit of its kind."""


def kind_of(mode: int) -> str:
    """Describe the file type of a mode (`st_mode`), such as "a FIFO"."""
    kinds = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")


def open_regular(path: Path | str) -> io.FileIO:
    """Open a regular file; never blocks on a FIFO.

    Raises:
        NotRegularError: The path is not a regular file.
        OSError: The file cannot be opened.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116  faster than Path
    if not stat.S_ISREG(mode):
        raise NotRegularError(path, mode)
    # The file may have been replaced meanwhile; O_NONBLOCK keeps a FIFO without a writer from blocking.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotRegularError(path, mode)
        return io.FileIO(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path | str, most: int) -> bytes:
    """Read a whole regular file.

    Args:
        path: The file.
        most: Size limit in bytes.

    Raises:
        NotRegularError: The path is not a regular file.
        TooLargeError: The file exceeds the limit.
        OSError: The file cannot be read.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise TooLargeError(f"it has {size:,} bytes, and the maximum is {most:,}")
        content = stream.readall()
    if len(content) > most:
        raise TooLargeError(f"it has more than the maximum of {most:,} bytes")
    return content


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that belongs to a data set; invalid UTF-8 is replaced.

    Raises:
        OSError: The file is not regular, too large, or cannot be read.
    """
    return read_regular(path, MAX_LIST_BYTES).decode("utf-8", "replace").splitlines()


def reason_of(error: OSError) -> str:
    """Return the system's description of a file error, without the file name."""
    return error.strerror or printable(str(error))
