"""CIFAR-10, read from the official files or from a copy in class folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.cifar10_files import OFFICIAL, read_official
from search.data.errors import LayoutError
from search.data.fetching import Archive, download, fetching, unpack
from search.data.folder import folder_manifest, has_parts, scan_folder
from search.data.images import resize
from search.data.layout import at, describe_folder
from search.data.listing import Listing, Part, Use

ARCHIVE = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    algorithm="sha256",
    digest="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
COPY = "cifar10"


def find_cifar10(root: Path) -> Path | None:
    """Return the official folder, else a folder with train/ and test/; None if neither is found."""
    for folder in (root / OFFICIAL, root):
        if folder.name == OFFICIAL and folder.is_dir():
            return folder
    return next((folder for folder in (root / COPY, root) if has_parts(folder)), None)


def _need_cifar10(root: Path) -> Path:
    place = find_cifar10(root)
    if place is None:
        raise LayoutError(
            f"{at(root)}: looked for {OFFICIAL}/, {COPY}/{{train,test}}/<class>/ or {{train,test}}/<class>/; "
            f"{describe_folder(root)}; fix data.root, or download the official files with data.download=true"
        )
    return place


def cifar10_manifest(root: Path, use: Use) -> Iterator[str]:
    """Yield the lines of the content manifest; digests of the official files are checked later, on reading."""
    place = _need_cifar10(root)
    if place.name != OFFICIAL:
        yield from folder_manifest(place, use)
        return
    for path in sorted(place.iterdir()):
        yield f"{OFFICIAL}/{path.name} {path.stat().st_size}"


def scan_cifar10(root: Path, size: int | None, use: Use) -> Listing:
    """List the images of the official files or of the copy in class folders.

    Raises:
        LayoutError: Neither is found, or an official file is damaged.
    """
    place = _need_cifar10(root)
    if place.name != OFFICIAL:
        return scan_folder(place, size, use)
    try:
        classes, train, test = read_official(place)
    except (OSError, ValueError) as error:
        raise LayoutError(
            f"{at(place)}: the official files are incomplete or damaged, their digests do not match; "
            f"{describe_folder(place)}; remove this folder and download them again with data.download=true"
        ) from error
    return Listing(
        classes=classes,
        train=_make_part("train", *train, size),
        test=_make_part("test", *test, size),
    )


def _make_part(name: str, pixels: NDArray[np.uint8], labels: list[int], size: int | None) -> Part:
    return Part(
        ids=tuple(f"{name}/{position:05d}" for position in range(len(labels))),
        labels=np.array(labels, dtype=np.int64),
        read=lambda position: resize(pixels[position], size),
    )


def fetch_cifar10(root: Path) -> None:
    """Download the official files into a folder unless the images already exist.

    Raises:
        FetchError: The network is unavailable, the download is refused or damaged, or the folder is not writable.
    """
    if find_cifar10(root) is not None:
        return
    by_hand = f"copy {ARCHIVE.name} of {ARCHIVE.url} there and unpack it, so that {root / OFFICIAL} exists"
    with fetching("cifar10", root, by_hand) as beside:
        if find_cifar10(root) is not None:  # another process has finished the download
            return
        unpack(download(ARCHIVE, beside), beside / "unpacked")
        (beside / "unpacked" / OFFICIAL).rename(root / OFFICIAL)
