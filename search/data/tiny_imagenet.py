"""Tiny ImageNet: 200 classes of ImageNet at 64x64, 500 training and 50 validation images of each.

The labels of its own test folder were never given out, so the official validation images are the test part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from search.data.errors import FetchError, LayoutError
from search.data.folder import Tree, Trees, check_trees, describe_folder, is_image, to_listing, to_manifest, walk
from search.data.listing import Listing
from search.data.words import read_words

FOLDER = "tiny-imagenet-200"
ANNOTATIONS = "val_annotations.txt"
KNOWN = f"{FOLDER}/ or itself with train/<wnid>/images/ and val/images/ beside val/{ANNOTATIONS}, or val/<wnid>/"
BY_HAND = f"fetch http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it, so that {FOLDER}/train lies there"
"""Its owners give out the archive, torchvision does not."""


def find_tiny_imagenet(root: Path) -> Path | None:
    """Say where train/ and val/ are; None where they are not."""
    places = (root / FOLDER, root)
    return next((place for place in places if (place / "train").is_dir() and (place / "val").is_dir()), None)


def _trees(root: Path) -> tuple[Path, Trees]:
    place = find_tiny_imagenet(root)
    if place is None:
        raise LayoutError(
            f"data.root {root}: looked for {KNOWN}; {describe_folder(root)}; {BY_HAND}, or mend data.root"
        )
    train = walk(place / "train")
    annotated = (place / "val" / ANNOTATIONS).is_file()
    trees = {"train": train, "val": _read_annotated(place / "val") if annotated else walk(place / "val")}
    check_trees(place, trees, KNOWN)
    return place, trees


def _read_annotated(folder: Path) -> Tree:
    """Read the validation images, all in one folder, with the classes that the list gives them."""
    images = folder / "images"
    if not images.is_dir():
        raise LayoutError(f"data.root {folder}: looked for images/ beside {ANNOTATIONS}; {describe_folder(folder)}")
    names = {entry.name for entry in os.scandir(images) if is_image(entry.name)}
    files: dict[str, list[str]] = {}
    missing = []
    for line in (folder / ANNOTATIONS).read_text(encoding="utf-8").splitlines():
        name, wnid, *_ = [*line.split(), "", ""]
        if name in names:
            files.setdefault(wnid, []).append(f"images/{name}")
        elif name:
            missing.append(name)
    if missing:
        raise LayoutError(
            f"data.root {images}: {len(missing)} images of {ANNOTATIONS} are missing, {missing[0]} the first; "
            "unpack the archive again"
        )
    num_listed = sum(len(found) for found in files.values())
    return Tree(
        files={wnid: tuple(sorted(found)) for wnid, found in files.items()}, num_ignored=len(names) - num_listed
    )


def _words(place: Path, trees: Trees) -> dict[str, str]:
    return read_words([place / "words.txt"], trees["train"].files)


def tiny_imagenet_manifest(root: Path) -> Iterator[str]:
    """Name what decides the content, cheaply."""
    place, trees = _trees(root)
    yield from to_manifest(place, trees)
    yield from _words(place, trees).values()


def scan_tiny_imagenet(root: Path, size: int | None) -> Listing:
    """List the training images and, as the test part, the official validation images.

    Classes are in the order of their WordNet identifiers and bear their words, if words.txt is there.

    Raises:
        LayoutError: They are not there, or not in the official form.
    """
    place, trees = _trees(root)
    return to_listing(place, trees, size, _words(place, trees))


def fetch_tiny_imagenet(root: Path) -> None:
    """Say how to get the images, unless they are there.

    Raises:
        FetchError: They are not.
    """
    if find_tiny_imagenet(root) is None:
        raise FetchError(f"data tiny-imagenet: cannot be fetched for you; {BY_HAND}: {root}")
