"""Files that are written whole or not at all, and the faults of the machine below them, which fail no trial."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from search.errors import InputError, StorageFaultError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MENDS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise this machine's limit on open files",
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "make it writable",
    errno.EIO: "repair the disk",
    errno.ESTALE: "mount the file system again",
    errno.ENODEV: "mount the file system again",
    errno.ENXIO: "mount the file system again",
    errno.ENOTCONN: "mount the file system again",
    errno.ETIMEDOUT: "bring the file server back",
    errno.EHOSTDOWN: "bring the file server back",
    errno.ENOLCK: "let the file system lock files, or choose another storage",
    errno.ENOMEM: "free memory",
}
"""What a machine can fail at, wherever it happens -> how a person corrects it."""
_GONE = dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "put the folder back where it was")
_LEFTOVER = re.compile(r"\..+\.(pt|npy|safetensors)\.[0-9a-f]+")
_IN_PYTHON = re.compile(r"\w*Error: \[Errno \d+\] ")
"""How an OSError begins where it was written down as a reason."""
_LIBRARY_WORDS = {number: os.strerror(number) for number in MENDS if number != errno.ENOMEM}
"""How a C++ library puts it: in the middle of its own words, without a number. Not memory: a model may be too large."""
_IN_LIBRARIES = re.compile(
    r"(RuntimeError|ImportError): .*(PytorchStreamWriter failed|" + "|".join(_LIBRARY_WORDS.values()) + ")"
)
"""How such an error begins where it was written down as a reason."""


@contextlib.contextmanager
def telling_disk_faults(place: Path) -> Iterator[None]:
    """Turn the faults of the machine into words.

    Args:
        place: What is written or read, for an error that does not name it.

    Raises:
        StorageFaultError: A disk is full, broken or gone, a right is missing, a limit of the system is reached.
    """
    try:
        yield
    except (OSError, RuntimeError, ImportError) as error:
        fault = find_fault(error)
        if fault is None:
            raise
        raise StorageFaultError(in_words(fault, place)) from error


def find_fault(error: BaseException | None) -> OSError | None:
    """The fault of the machine behind an error, whichever number it has; None where the program itself failed.

    An OSError with a number comes from the operating system. Libraries hide one behind an error of their own: there
    the numbers and words of `MENDS` count, as a file that a library looked for in vain is no fault.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    while error is not None:
        if isinstance(error, OSError) and error.errno in MENDS:
            return error
        if isinstance(error, RuntimeError | ImportError):
            for number, words in _LIBRARY_WORDS.items():
                if words in str(error):
                    return OSError(number, words)
        error = error.__cause__ or error.__context__
    return None


def is_fault_in_words(reason: str) -> bool:
    """Whether the recorded reason of a failure, `TypeOfError: message`, is a fault of the machine."""
    return bool(_IN_PYTHON.match(reason) or _IN_LIBRARIES.match(reason))


def in_words(fault: OSError, place: Path | str) -> str:
    """One line: the file, the node, what the system says, and how to correct it."""
    mend = (MENDS | _GONE).get(fault.errno or 0, "correct that")
    return (
        f"{fault.filename or place}: node {socket.gethostname()} cannot use it ({fault.strerror}); {mend}, then run "
        "the same command again"
    )


def write_whole(path: Path, write: Callable[[IO[bytes]], None], *, flush: bool = True) -> None:
    """Write a file so that after a crash or a power cut there is the old one or the new one.

    Args:
        path: The file. Its folder must be there: the folder of a study that was moved is not made again.
        write: Writes the content to a stream.
        flush: Wait until the disk has it; without, a power cut may leave half of it.

    Raises:
        StorageFaultError: The machine cannot write it; the old file is as it was.
    """
    # Not by process: where many nodes write, and each counts its own, two may have the same number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with telling_disk_faults(path):
        try:
            with temporary.open("xb") as stream:  # never through a link that somebody laid there
                write(stream)
                if flush:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError as error:
            if error.filename == str(temporary):
                error.filename = str(path)  # the name that a person knows
            raise
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


def load_array(path: Path, dtype: str, num_columns: int) -> NDArray[Any]:
    """Read an array that a training left, (rows, columns), at least one row; nothing of it is in memory before use.

    Raises:
        InputError: It is gone or damaged.
    """
    from numpy.lib.format import open_memmap

    mend = "put it back from a copy"
    if not path.is_file():  # a pipe is none either
        raise InputError(f"{path}: expected an array that a training left, found no file; {mend}")
    try:
        array: NDArray[Any] = open_memmap(path, mode="r")
    except ValueError as error:
        raise InputError(f"{path}: damaged ({str(error).splitlines()[0]}); {mend}") from None
    if array.dtype != dtype or array.ndim != 2 or array.shape[1] != num_columns or not len(array):
        found = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"{path}: expected rows of {num_columns} {dtype}, found {found}; {mend}")
    return array


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
