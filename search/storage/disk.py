"""Atomic file writes, and machine faults (such as a full disk), which do not fail a trial."""

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
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space",
    errno.EFBIG: "raise the limit on the file size (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise this machine's limit on open files",
    errno.EACCES: "give this user read and write permission there",
    errno.EPERM: "give this user read and write permission there",
    errno.EROFS: "make it writable",
    errno.EIO: "repair the disk",
    errno.ESTALE: "mount the file system again",
    errno.ENODEV: "mount the file system again",
    errno.ENXIO: "mount the file system again",
    errno.ENOTCONN: "mount the file system again",
    errno.ETIMEDOUT: "make the file server reachable again",
    errno.EHOSTDOWN: "make the file server reachable again",
    errno.ENOLCK: "enable file locking on this file system, or choose another storage",
    errno.ENOMEM: "free memory",
}
"""Error number of a machine fault -> how the user can fix it."""
_GONE = dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "move the folder back to its place")
_LEFTOVER = re.compile(r"\..+\.(pt|npy|safetensors)\.[0-9a-f]+")
_IN_PYTHON = re.compile(r"\w*Error: \[Errno \d+\] ")
"""Prefix of an OSError that was recorded as a reason."""
_LIBRARY_WORDS = {number: os.strerror(number) for number in MENDS if number != errno.ENOMEM}
"""Wording of C++ libraries, which give no error number. Excludes memory, as the model may be too large."""
_IN_LIBRARIES = re.compile(
    r"(RuntimeError|ImportError): .*(PytorchStreamWriter failed|" + "|".join(_LIBRARY_WORDS.values()) + ")"
)
"""Prefix of such an error that was recorded as a reason."""


@contextlib.contextmanager
def raising_storage_faults(place: Path) -> Iterator[None]:
    """Convert machine faults to `StorageFaultError`.

    Args:
        place: The file or folder in use, for errors that do not name it.

    Raises:
        StorageFaultError: A disk is full, broken or missing, a permission is missing, or a system limit is reached.
    """
    try:
        yield
    except (OSError, RuntimeError, ImportError) as error:
        fault = find_fault(error)
        if fault is None:
            raise
        raise StorageFaultError(describe_fault(fault, place)) from error


def find_fault(error: BaseException | None) -> OSError | None:
    """Return the machine fault that caused an error, or None if the program itself failed.

    An OSError with a number comes from the operating system. In errors of libraries, only the numbers and texts of
    `MENDS` count, as a missing file may be part of a library's normal search.
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


def is_storage_fault(reason: str) -> bool:
    """Return whether the recorded reason of a failure, `TypeOfError: message`, is a machine fault."""
    return bool(_IN_PYTHON.match(reason) or _IN_LIBRARIES.match(reason))


def describe_fault(fault: OSError, place: Path | str) -> str:
    """Format a machine fault in one line: the file, the node, the system's message, and how to fix it."""
    mend = (MENDS | _GONE).get(fault.errno or 0, "fix this")
    return (
        f"{fault.filename or place}: cannot be used on node {socket.gethostname()} ({fault.strerror}); {mend}, then "
        "run the same command again"
    )


def write_whole(path: Path, write: Callable[[IO[bytes]], None], *, flush: bool = True) -> None:
    """Write a file atomically: after a crash or power failure, either the old or the new content is present.

    Args:
        path: The file. Its folder must exist, as the folder of a study that was moved must not be created again.
        write: Writes the content to a stream.
        flush: Wait until the content is on the disk; otherwise a power failure may truncate it.

    Raises:
        StorageFaultError: The file cannot be written; the old file is unchanged.
    """
    # Random, as process ids of different nodes may coincide.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with raising_storage_faults(path):
        try:
            with temporary.open("xb") as stream:  # "x" never follows an existing link
                write(stream)
                if flush:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError as error:
            if error.filename == str(temporary):
                error.filename = str(path)  # the name that the user knows
            raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if flush:
            _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes | memoryview, *, flush: bool = True) -> None:
    """Write bytes to a file atomically; see `write_whole`."""

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    write_whole(path, write, flush=flush)


def load_array(path: Path, dtype: str, num_columns: int) -> NDArray[Any]:
    """Memory-map an array written by a training, (rows, columns), with at least one row.

    Args:
        path: The .npy file.
        dtype: Expected data type.
        num_columns: Expected number of columns.

    Raises:
        InputError: The file is missing, damaged or has another type or shape.
    """
    from numpy.lib.format import open_memmap

    mend = "restore it from a copy"
    if not path.is_file():  # also excludes FIFOs
        raise InputError(f"{path}: expected an array from a training run, found no file; {mend}")
    try:
        array: NDArray[Any] = open_memmap(path, mode="r")
    except ValueError as error:
        raise InputError(f"{path}: damaged ({str(error).splitlines()[0]}); {mend}") from None
    if array.dtype != dtype or array.ndim != 2 or array.shape[1] != num_columns or not len(array):
        found = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"{path}: expected rows of {num_columns} {dtype}, found {found}; {mend}")
    return array


def load_bits(path: Path, num_images: int) -> NDArray[Any]:
    """Read the correctness of images that a training wrote.

    Args:
        path: The .npy file.
        num_images: Number of images N.

    Returns:
        Shape (rows, N) of uint8, 0 and 1.

    Raises:
        InputError: The file is missing, damaged or has another type or shape.
    """
    return unpack_bits(load_array(path, "uint8", -(-num_images // 8)), num_images)


def unpack_bits(packed: NDArray[Any], num_images: int) -> NDArray[Any]:
    """Return the bits of packed rows, (rows, bytes), as (rows, num_images) of 0 and 1."""
    import numpy as np

    return np.unpackbits(packed, axis=1, count=num_images)


def _sync_folder(folder: Path) -> None:
    """Flush a folder to disk; otherwise a power failure may undo the last rename in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems do not support this; they rename on the server.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files left by writers that were killed.

    Args:
        folder: A trial's folder, in which no other process works.
    """
    for path in folder.glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)
