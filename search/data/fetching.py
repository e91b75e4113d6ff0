"""Downloads and archives: one process at a time, checked, bounded, in place only when whole.

What an archive holds is written by nobody's tool but this: Python's own filter for tar files could be talked out of the
folder by links until 3.11.13 and 3.12.11 (CVE-2025-4517), and zip files know no bounds.
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
"""Of a download, and again of everything that is unpacked: the sets that are fetched have a fifth of it."""
MAX_FILES = 100_000
_UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)

Member = tuple[str, str, int, Callable[[], IO[bytes] | None]]
"""Name, kind (file, folder, or what else it is), declared size and how to open it."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What is fetched."""

    url: str
    algorithm: str
    """Of the digest: sha256, or md5 where its owners publish no other."""
    digest: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@contextlib.contextmanager
def fetching(name: str, root: Path, by_hand: str) -> Iterator[Path]:
    """Fetch something below a folder.

    Args:
        name: Of the source.
        root: Where it shall lie.
        by_hand: What to do where there is no network.

    Yields:
        A fresh folder beside its place; what is in it at the end is thrown away.

    Raises:
        FetchError: No network, a refused, damaged or hostile download, or a folder that cannot be written.
    """
    beside = root / f".{name}.partial"
    try:
        with locked(root / ".fetch.lock"):
            shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
            beside.mkdir()
            try:
                yield beside
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    except (OSError, ValueError, EOFError, RuntimeError, *_UNREADABLE) as error:  # URLError is an OSError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FetchError(
            f"data {name}: could not be fetched into {root} ({reason}); where there is no network, {by_hand}"
        ) from error


def download(archive: Archive, folder: Path) -> Path:
    """Fetch a file, and check it.

    Raises:
        OSError: No network, or the folder cannot be written.
        ValueError: It is too large, or not the file that was meant.
    """
    print(f"fetching {archive.url}", file=sys.stderr, flush=True)  # noqa: T201
    file = folder / archive.name
    with (
        urllib.request.urlopen(archive.url, timeout=TIMEOUT_SECS) as stream,  # noqa: S310  written in this package
        file.open("xb") as target,
    ):
        _copy(stream, target, MAX_BYTES, archive.name)
    check(archive, file)
    return file


def check(archive: Archive, file: Path) -> None:
    """Check that a file is the one that was meant.

    Raises:
        ValueError: It is not.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, archive.algorithm).hexdigest()
    if found != archive.digest:
        raise ValueError(f"{archive.name}: expected {archive.algorithm} {archive.digest}, found {found}")


def unpack(file: Path, folder: Path) -> None:
    """Unpack a tar or zip archive: files and folders, never outside, never more than the bounds.

    Args:
        file: The archive, compressed or not.
        folder: A new folder to be.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It holds a link or a device, a path that leads elsewhere or stands twice, or too much.
    """
    folder.mkdir()
    left = MAX_BYTES
    members = _zip_members if file.suffix == ".zip" else _tar_members
    for number, (name, kind, size, begin) in enumerate(members(file)):
        place = PurePosixPath(name)
        if kind not in {"file", "folder"}:
            raise ValueError(f"{file.name}: {name!r} is {kind}, expected files and folders only")
        if place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name:
            raise ValueError(f"{file.name}: the path {name!r} leads out of the folder")
        if number >= MAX_FILES or size > left:
            raise ValueError(f"{file.name}: holds more than {MAX_FILES:,} files or {MAX_BYTES:,} bytes")
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
    """Copy at most so many bytes, whatever was declared; returns how many there were."""
    num_bytes = 0
    while chunk := stream.read(CHUNK_BYTES):
        num_bytes += len(chunk)
        if num_bytes > most:
            raise ValueError(f"{name}: holds more than {MAX_BYTES:,} bytes")
        target.write(chunk)
    return num_bytes
