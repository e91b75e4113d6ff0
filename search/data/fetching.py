"""Download and unpack archives: one process at a time, with digests checked and sizes limited.

Files appear in their final place only when complete. Archives are unpacked by this module because Python's tar filter
could be bypassed with links until 3.11.13 and 3.12.11 (CVE-2025-4517), and zip files have no size limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import shutil
import sys
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from search.data.errors import FetchError
from search.storage.locks import locked

TIMEOUT_SECS = 30.0
CHUNK_BYTES = 1 << 20
MAX_BYTES = 1 << 30
"""Size limit of a download, and of all unpacked files; five times the size of the supported sets."""
MAX_FILES = 100_000
_UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)

Member = tuple[str, str, int, Callable[[], IO[bytes] | None]]
"""Name, kind (file, folder or a description), declared size, and function that opens the content."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file to download."""

    url: str
    algorithm: str
    """Algorithm of the digest: sha256, or md5 if the owners publish no other."""
    digest: str

    @property
    def name(self) -> str:
        """Name of the downloaded file."""
        return self.url.rpartition("/")[2]


@contextlib.contextmanager
def fetching(name: str, root: Path, by_hand: str) -> Iterator[Path]:
    """Provide a temporary folder for a download, under a lock.

    Args:
        name: Name of the source.
        root: Destination folder.
        by_hand: Instructions for a download by hand, for the error message.

    Yields:
        A new folder beside the destination; it is deleted at the end.

    Raises:
        FetchError: The network is unavailable, the download is refused, damaged or unsafe, or the folder is not
            writable.
    """
    beside = root / f".{name}.partial"
    try:
        with locked(root / ".fetch.lock"):
            shutil.rmtree(beside, ignore_errors=True)  # left by a process that was killed
            beside.mkdir()
            try:
                yield beside
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    except (OSError, ValueError, EOFError, RuntimeError, *_UNREADABLE) as error:  # URLError is an OSError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FetchError(
            f"data {name}: could not be downloaded into {root} ({reason}); without a network, {by_hand}"
        ) from error


def download(archive: Archive, folder: Path) -> Path:
    """Download a file and check its digest.

    Returns:
        Path of the downloaded file.

    Raises:
        OSError: The network is unavailable or the folder is not writable.
        ValueError: The file is too large or its digest differs.
    """
    print(f"downloading {archive.url}", file=sys.stderr, flush=True)  # noqa: T201
    file = folder / archive.name
    with (
        urllib.request.urlopen(archive.url, timeout=TIMEOUT_SECS) as stream,  # noqa: S310  written in this package
        file.open("xb") as target,
    ):
        _copy(stream, target, MAX_BYTES, archive.name)
    check(archive, file)
    return file


def check(archive: Archive, file: Path) -> None:
    """Check the digest of a file.

    Raises:
        ValueError: The digest differs.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, archive.algorithm).hexdigest()
    if found != archive.digest:
        raise ValueError(f"{archive.name}: expected {archive.algorithm} {archive.digest}, found {found}")


def unpack(file: Path, folder: Path) -> None:
    """Unpack the files and folders of a tar or zip archive, within the size limits.

    Args:
        file: The archive, compressed or not.
        folder: The destination, which must not exist yet.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The archive contains a link or device, a path outside the destination, a duplicate, or too much
            data.
    """
    folder.mkdir()
    left = MAX_BYTES
    members = _zip_members if file.suffix == ".zip" else _tar_members
    for number, (name, kind, size, begin) in enumerate(members(file)):
        place = PurePosixPath(name)
        if kind not in {"file", "folder"}:
            raise ValueError(f"{file.name}: {name!r} is {kind}, expected files and folders only")
        if place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name:
            raise ValueError(f"{file.name}: the path {name!r} is outside the folder")
        if number >= MAX_FILES or size > left:
            raise ValueError(f"{file.name}: contains more than {MAX_FILES:,} files or {MAX_BYTES:,} bytes")
        target = folder / place
        if kind == "folder":
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = begin()
        assert stream is not None
        with stream, target.open("xb") as copy:
            left -= _copy(stream, copy, left, file.name)


def _tar_members(file: Path) -> Iterator[Member]:
    with tarfile.open(file) as archive:
        for item in archive:
            kind = "file" if item.isreg() else "folder" if item.isdir() else "a link or a device"
            yield item.name, kind, item.size, lambda item=item: archive.extractfile(item)  # type: ignore[misc]


def _zip_members(file: Path) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for item in archive.infolist():
            kind = "folder" if item.is_dir() else "file"
            yield item.filename, kind, item.file_size, lambda item=item: archive.open(item)  # type: ignore[misc]


def _copy(stream: IO[bytes], target: IO[bytes], most: int, name: str) -> int:
    """Copy at most `most` bytes, whatever size was declared, and return the number copied."""
    num_bytes = 0
    while chunk := stream.read(CHUNK_BYTES):
        num_bytes += len(chunk)
        if num_bytes > most:
            raise ValueError(f"{name}: contains more than {MAX_BYTES:,} bytes")
        target.write(chunk)
    return num_bytes
