"""Tiny ImageNet: 200 classes of ImageNet at 64x64 pixels, 500 training and 50 validation images per class.

The official validation images are the test set, as the labels of the official test images are not public.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from search.data.errors import FetchError, LayoutError
from search.data.files import read_lines
from search.data.folder import choose_trees, to_listing, to_manifest
from search.data.layout import at, describe_folder, subfolders
from search.data.listing import Listing, Use
from search.data.walk import Tree, Trees, is_image, walk
from search.data.words import read_words
from search.text.printable import printable

FOLDER = "tiny-imagenet-200"
ANNOTATIONS = "val_annotations.txt"
KNOWN = f"{FOLDER}/ or itself with train/<wnid>/images/ and val/images/ beside val/{ANNOTATIONS}, or val/<wnid>/"
BY_HAND = (
    f"download http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it, so that {FOLDER}/train exists there"
)
"""The archive is published by its owners; torchvision does not provide it."""


def find_tiny_imagenet(root: Path) -> Path | None:
    """Return the folder that holds train/ and val/, or None if it is not found."""
    places = (root / FOLDER, root / FOLDER / FOLDER, root)
    return next((place for place in places if (place / "train").is_dir() and (place / "val").is_dir()), None)


def _trees(root: Path, use: Use) -> tuple[Path, Trees, dict[str, str]]:
    place = find_tiny_imagenet(root)
    if place is None:
        raise LayoutError(f"{at(root)}: looked for {KNOWN}; {describe_folder(root)}; {BY_HAND}, or fix data.root")
    trees = {"train": walk(place, "train")}
    words = _words(place, trees)
    if use.needs_test:
        trees["test"] = _read_val(place)
    return place, choose_trees(place, trees, use, KNOWN, words), words


def _read_val(place: Path) -> Tree:
    """Read the validation images, either as in the archive or sorted into class folders.

    Scripts that sort them keep the list of labels and an empty images/ folder, or sort within images/.
    """
    val = place / "val"
    images = val / "images"
    loose = images.is_dir() and any(is_image(entry.name) for entry in list(os.scandir(images)))
    classes = [name for name in subfolders(val) if name != "images"]
    if loose and classes and (val / ANNOTATIONS).is_file():
        raise LayoutError(
            f"{at(val)}: there are images both in images/ and in class folders ({len(classes):,}); sort all of them, "
            "or unpack the archive again"
        )
    if (val / ANNOTATIONS).is_file() and not classes and (loose or not (images.is_dir() and subfolders(images))):
        return _read_annotated(place)
    tree = walk(place, "val" if classes or not images.is_dir() else "val/images")
    return replace(tree, files={name: files for name, files in tree.files.items() if files or name != "images"})


def _read_annotated(place: Path) -> Tree:
    """Read the validation images from a single folder, with the classes from the list of labels."""
    folder = place / "val"
    images = folder / "images"
    if not images.is_dir():
        raise LayoutError(f"{at(folder)}: looked for images/ beside {ANNOTATIONS}; {describe_folder(folder)}")
    names = {entry.name for entry in os.scandir(images) if is_image(entry.name)}
    files: dict[str, list[str]] = {}
    missing = []
    for line in read_lines(folder / ANNOTATIONS):
        name, wnid, *_ = [*line.split(), "", ""]
        if name in names:
            files.setdefault(wnid, []).append(f"images/{name}")
        elif name:
            missing.append(name)
    if missing:
        raise LayoutError(
            f"{at(images)}: {len(missing)} images of {ANNOTATIONS} are missing, {printable(missing[0])} the first; "
            "unpack the archive again"
        )
    num_listed = sum(len(found) for found in files.values())
    return Tree(
        folder="val",
        files={wnid: tuple(sorted(found)) for wnid, found in files.items()},
        num_ignored=len(names) - num_listed,
    )


def _words(place: Path, trees: Trees) -> dict[str, str]:
    return read_words([place / "words.txt"], trees["train"].files)


def tiny_imagenet_manifest(root: Path, use: Use) -> Iterator[str]:
    """Yield the lines of the content manifest without decoding images."""
    place, trees, words = _trees(root, use)
    yield from to_manifest(place, trees)
    yield from words.values()


def scan_tiny_imagenet(root: Path, size: int | None, use: Use) -> Listing:
    """List the training images and, as the test set, the official validation images.

    Classes are ordered by WordNet identifier and named by the words in words.txt, if it exists.

    Raises:
        LayoutError: The images are missing or have an unknown layout.
    """
    place, trees, words = _trees(root, use)
    return to_listing(place, trees, size, words)


def fetch_tiny_imagenet(root: Path) -> None:
    """Explain how to download the images unless they exist.

    Raises:
        FetchError: The images do not exist.
    """
    if find_tiny_imagenet(root) is None:
        raise FetchError(f"data tiny-imagenet: cannot be downloaded automatically; {BY_HAND}: {root}")
