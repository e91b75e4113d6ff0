"""ImageNet (ILSVRC-2012): 1,281,167 training and 50,000 validation images of 1,000 classes, in class folders.

The official validation images are the test set, as the labels of the official test images are not public. The set is
too large to be decoded in advance, so its images are streamed (see `stream.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from search.data.errors import FetchError, LayoutError
from search.data.folder import NUM_SAMPLED, choose_trees, sample_digests, to_listing
from search.data.layout import at, describe_folder
from search.data.listing import Listing, Use
from search.data.walk import is_image, walk
from search.data.words import read_words

PARTS = ("train", "val")
PLACES = ("imagenet", "ILSVRC/Data/CLS-LOC", ".")
KNOWN = "train/<class>/ and val/<class>/, here or in imagenet/ or ILSVRC/Data/CLS-LOC/"
BY_HAND = (
    "register at https://image-net.org, put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz in data.root, and let torchvision.datasets.ImageNet(root, split='train') and "
    "split='val' unpack them into class folders"
)
"""The licence forbids redistribution."""
FLAT = (
    "the images of val/ lie in it without class folders; torchvision.datasets.ImageNet(root, split='val') makes the "
    "folders from ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz"
)


def find_imagenet(root: Path) -> Path | None:
    """Return the folder that holds train/ and val/, or None if it is not found."""
    places = (root / place for place in PLACES)
    return next((place for place in places if all((place / part).is_dir() for part in PARTS)), None)


def _need_imagenet(root: Path) -> Path:
    place = find_imagenet(root)
    if place is None:
        raise LayoutError(f"{at(root)}: looked for {KNOWN}; {describe_folder(root)}; {BY_HAND}, or fix data.root")
    val = place / "val"
    entries = list(os.scandir(val))
    if not any(entry.is_dir() for entry in entries) and any(is_image(entry.name) for entry in entries):
        raise LayoutError(f"{at(val)}: looked for val/<class>/; {describe_folder(val)}; {FLAT}")
    return place


def imagenet_manifest(root: Path, _: Use | None = None) -> Iterator[str]:
    """Yield the lines of the content manifest: all file names, and digests of a sample of files.

    File sizes are not read: for 1.3 million files this takes minutes on a network disk.
    """
    place = _need_imagenet(root)
    firsts = []
    for part in PARTS:
        for folder in sorted(entry.path for entry in os.scandir(place / part) if entry.is_dir()):
            names = sorted(entry.name for entry in os.scandir(folder) if is_image(entry.name))
            firsts += [Path(folder, name) for name in names[:1]]
            yield f"{part}/{Path(folder).name} {len(names)} {hashlib.sha256(' '.join(names).encode()).hexdigest()}"
    chosen = np.unique(np.linspace(0, len(firsts) - 1, NUM_SAMPLED).astype(int)) if firsts else ()
    yield from sample_digests(firsts[position] for position in chosen)
    wnids = [entry.name for entry in os.scandir(place / "train") if entry.is_dir()]
    yield from _words(root, wnids).values()


def _words(root: Path, wnids: Iterable[str]) -> dict[str, str]:
    """Read the class names from Kaggle's list or from a words.txt in the format of Tiny ImageNet."""
    return read_words([root / "LOC_synset_mapping.txt", root / "words.txt"], sorted(wnids))


def scan_imagenet(root: Path, size: int | None, use: Use) -> Listing:
    """List the training images and, as the test set, the official validation images.

    Args:
        root: Contains the images in one of the known places.
        size: Side in pixels that images are resized to before they are cropped.
        use: The classes and parts that the study needs.

    Raises:
        LayoutError: The images are missing or not in class folders.
    """
    place = _need_imagenet(root)
    trees = {"train": walk(place, "train"), "test": walk(place, "val")}
    words = _words(root, trees["train"].files)
    return to_listing(place, choose_trees(place, trees, use, KNOWN, words), size, words)


def fetch_imagenet(root: Path) -> None:
    """Explain how to download the images unless they exist.

    Raises:
        FetchError: The images do not exist.
    """
    if find_imagenet(root) is None:
        raise FetchError(f"data imagenet: cannot be downloaded automatically; {BY_HAND} ({root})")
