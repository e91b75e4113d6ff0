"""Files of unknown origin: only regular ones are opened, and never more than a bound is read."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from search.text.printable import printable

MAX_LIST_BYTES = 64 << 20
"""Of a list of names or words beside the images."""


class NotRegularError(OSError):
    """A FIFO, a device, a socket or a folder, or a link to one, where a file is expected."""

    def __init__(self, path: Path | str, mode: int) -> None:
        super().__init__(f"it is {kind_of(mode)}, not a regular file")
        self.path = path


class TooLargeError(OSError):
    """A file is larger than what is read of its kind."""


def kind_of(mode: int) -> str:
    """What kind of file a mode (`st_mode`) belongs to, in words."""
    kinds = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")


def open_regular(path: Path | str) -> io.FileIO:
    """Open a regular file; anything else is refused without being opened for long, so that a FIFO never blocks.

    Raises:
        NotRegularError: It is something else.
        OSError: It cannot be opened.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116  a Path costs more than the question
    if not stat.S_ISREG(mode):
        raise NotRegularError(path, mode)
    # The file may have been replaced since: a FIFO without a writer would block.
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
    """Read a regular file whole.

    Args:
        path: The file.
        most: Bytes above which it is refused.

    Raises:
        NotRegularError: It is not a regular file.
        TooLargeError: It holds more.
        OSError: It cannot be read.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise TooLargeError(f"it has {size:,} bytes, more than the {most:,} that are read")
        content = stream.readall()
    if len(content) > most:
        raise TooLargeError(f"it has more than the {most:,} bytes that are read")
    return content


def read_lines(path: Path) -> list[str]:
    """Read a list that comes with a data set, line by line; what is not UTF-8 is replaced.

    Raises:
        OSError: It is no regular file, too large, or cannot be read.
    """
    return read_regular(path, MAX_LIST_BYTES).decode("utf-8", "replace").splitlines()


def reason_of(error: OSError) -> str:
    """What the system says about a file, without its name."""
    return error.strerror or printable(str(error))
