"""Caltech-101: photographs of 101 kinds of objects, 31 to 800 of each, without an official test part.

Reference: Fei-Fei, Fergus and Perona 2004, https://data.caltech.edu/records/mzrjq-6wc02.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from search.data.errors import LayoutError
from search.data.fetching import Archive, download, fetching, unpack
from search.data.folder import Trees, check_trees, describe_folder, to_listing, to_manifest, walk
from search.data.listing import Listing

ARCHIVE = Archive(
    url="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
    algorithm="md5",
    digest="3138e1922a9193bfa496528edbbc45d0",
)
"""As torchvision knows it."""
INNER = "caltech-101/101_ObjectCategories.tar.gz"
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
    for folder in (root / "caltech101" / IMAGES, root / IMAGES):
        if folder.is_dir():
            return folder
    return root if any((root / name).is_dir() for name in SURE_SIGNS) else None


def _trees(root: Path) -> tuple[Path, Trees]:
    place = find_caltech101(root)
    if place is None:
        raise LayoutError(
            f"data.root {root}: looked for {KNOWN}; {describe_folder(root)}; mend data.root, or fetch the official "
            "files with data.download=true"
        )
    trees = {".": walk(place, leave_out=(BACKGROUND,))}
    check_trees(place, trees, KNOWN)
    return place, trees


def caltech101_manifest(root: Path) -> Iterator[str]:
    """Name what decides the content, cheaply."""
    return to_manifest(*_trees(root))


def scan_caltech101(root: Path, size: int | None) -> Listing:
    """List the classes without the background.

    Raises:
        LayoutError: They are not there.
    """
    return to_listing(*_trees(root), size)


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
