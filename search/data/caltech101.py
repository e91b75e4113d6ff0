"""Caltech-101: photographs of 101 object classes, 31 to 800 per class, without an official test set.

Reference: Fei-Fei, Fergus and Perona 2004, https://data.caltech.edu/records/mzrjq-6wc02.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from search.data.errors import LayoutError
from search.data.fetching import Archive, download, fetching, unpack
from search.data.folder import choose_trees, to_listing, to_manifest
from search.data.layout import at, describe_folder, subfolders
from search.data.listing import Listing, Use
from search.data.walk import Trees, walk
from search.text.printable import printable

ARCHIVE = Archive(
    url="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
    algorithm="md5",
    digest="3138e1922a9193bfa496528edbbc45d0",
)
"""The same archive and digest as in torchvision."""
PACKED = "101_ObjectCategories.tar.gz"
INNER = f"caltech-101/{PACKED}"
"""The images within the archive; the outlines beside them are not used."""
IMAGES = "101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"
"""A folder of background images beside the classes; torchvision and published results exclude it."""
SURE_SIGNS = ("airplanes", "Motorbikes", "Faces", "Leopards")
"""Class names that identify a folder as Caltech-101."""
KNOWN = (
    f"caltech101/{IMAGES}/<class>/, {IMAGES}/<class>/, or the class folders themselves ({', '.join(SURE_SIGNS)}, ...)"
)


def find_caltech101(root: Path) -> Path | None:
    """Return the folder that holds the class folders, or None if it is not found."""
    for folder in (*(outer / IMAGES for outer in _outer(root)), root / IMAGES):
        if folder.is_dir():
            return folder
    # Otherwise the class folders may lie in the root or in a folder named after the data set.
    places = (root, *_outer(root))
    return next((place for place in places if any((place / name).is_dir() for name in SURE_SIGNS)), None)


def _outer(root: Path) -> list[Path]:
    """Return the folders named after the data set, such as caltech101, caltech-101 or Caltech_101."""
    names = subfolders(root) if root.is_dir() else []
    return [root / name for name in names if re.sub(r"[\W_]+", "", name.casefold()) == "caltech101"]


def _trees(root: Path, use: Use) -> tuple[Path, Trees]:
    place = find_caltech101(root)
    if place is None:
        packed = next((path for outer in (root, *_outer(root)) if (path := outer / PACKED).is_file()), None)
        fix = f"unpack {printable(str(packed))} where it is" if packed else "fix data.root"
        raise LayoutError(
            f"{at(root)}: looked for {KNOWN}; {describe_folder(root)}; {fix}, or download the official files with "
            "data.download=true"
        )
    trees = {"train": walk(place, ".", leave_out=(BACKGROUND,))}
    return place, choose_trees(place, trees, use, KNOWN)


def caltech101_manifest(root: Path, use: Use) -> Iterator[str]:
    """Yield the lines of the content manifest (see `to_manifest`) without decoding images."""
    return to_manifest(*_trees(root, use))


def scan_caltech101(root: Path, size: int | None, use: Use) -> Listing:
    """List the images of all classes except the background class.

    Raises:
        LayoutError: The images are missing.
    """
    return to_listing(*_trees(root, use), size)


def fetch_caltech101(root: Path) -> None:
    """Download the official files into a folder unless the images already exist.

    Raises:
        FetchError: The network is unavailable, the download is refused or damaged, or the folder is not writable.
    """
    if find_caltech101(root) is not None:
        return
    hint = f"unpack {ARCHIVE.name} of https://data.caltech.edu/records/mzrjq-6wc02 so that {root / IMAGES} exists"
    with fetching("caltech101", root, hint) as beside:
        if find_caltech101(root) is not None:  # another process has finished the download
            return
        unpack(download(ARCHIVE, beside), beside / "outer")
        unpack(beside / "outer" / INNER, beside / "caltech101")
        (beside / "caltech101").rename(root / "caltech101")
