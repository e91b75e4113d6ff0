"""Caltech-101: photographs of 101 kinds of objects, 31 to 800 of each, without an official test part.

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
"""As torchvision knows it."""
PACKED = "101_ObjectCategories.tar.gz"
INNER = f"caltech-101/{PACKED}"
"""The images in it; beside them lie outlines, which nothing here reads."""
IMAGES = "101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"
"""A folder of clutter beside the classes; torchvision and the papers leave it out."""
SURE_SIGNS = ("airplanes", "Motorbikes", "Faces", "Leopards")
"""Classes that tell a folder of Caltech's classes from any other folder of folders."""
KNOWN = (
    f"caltech101/{IMAGES}/<class>/, {IMAGES}/<class>/, or the class folders themselves ({', '.join(SURE_SIGNS)}, ...)"
)


def find_caltech101(root: Path) -> Path | None:
    """Say where the class folders are; None where they are not."""
    for folder in (*(outer / IMAGES for outer in _outer(root)), root / IMAGES):
        if folder.is_dir():
            return folder
    # The class folders themselves, perhaps within a folder of the data set's name.
    places = (root, *_outer(root))
    return next((place for place in places if any((place / name).is_dir() for name in SURE_SIGNS)), None)


def _outer(root: Path) -> list[Path]:
    """Folders that are called as the data set is: caltech101, caltech-101 as its archive unpacks, Caltech_101."""
    names = subfolders(root) if root.is_dir() else []
    return [root / name for name in names if re.sub(r"[\W_]+", "", name.casefold()) == "caltech101"]


def _trees(root: Path, use: Use) -> tuple[Path, Trees]:
    place = find_caltech101(root)
    if place is None:
        packed = next((path for outer in (root, *_outer(root)) if (path := outer / PACKED).is_file()), None)
        fix = f"unpack {printable(str(packed))} where it is" if packed else "fix data.root"
        raise LayoutError(
            f"{at(root)}: looked for {KNOWN}; {describe_folder(root)}; {fix}, or fetch the official files with "
            "data.download=true"
        )
    trees = {"train": walk(place, ".", leave_out=(BACKGROUND,))}
    return place, choose_trees(place, trees, use, KNOWN)


def caltech101_manifest(root: Path, use: Use) -> Iterator[str]:
    """Name what decides the content, cheaply."""
    return to_manifest(*_trees(root, use))


def scan_caltech101(root: Path, size: int | None, use: Use) -> Listing:
    """List the classes without the background.

    Raises:
        LayoutError: They are not there.
    """
    return to_listing(*_trees(root, use), size)


def fetch_caltech101(root: Path) -> None:
    """Download the official files below a folder, unless images are there already.

    Raises:
        FetchError: No network, a refused or damaged download, or a folder that cannot be written.
    """
    if find_caltech101(root) is not None:
        return
    hint = f"unpack {ARCHIVE.name} of https://data.caltech.edu/records/mzrjq-6wc02 so that {root / IMAGES} exists"
    with fetching("caltech101", root, hint) as beside:
        if find_caltech101(root) is not None:  # another process was quicker
            return
        unpack(download(ARCHIVE, beside), beside / "outer")
        unpack(beside / "outer" / INNER, beside / "caltech101")
        (beside / "caltech101").rename(root / "caltech101")
