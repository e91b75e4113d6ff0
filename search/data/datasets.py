"""Select the images of a study: settings, table of sources, test set and size limit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.caltech101 import caltech101_manifest, fetch_caltech101, scan_caltech101
from search.data.checking import unknown_classes
from search.data.cifar10 import cifar10_manifest, fetch_cifar10, scan_cifar10
from search.data.digits import digits_manifest, scan_digits
from search.data.errors import DataError, LayoutError
from search.data.files import reason_of
from search.data.folder import folder_manifest, scan_folder
from search.data.imagenet import fetch_imagenet, find_imagenet, imagenet_manifest, scan_imagenet
from search.data.listing import Listing, Part, Use, balanced_rows
from search.data.notes import notes_on
from search.data.npz import npz_manifest, scan_npz
from search.data.splits import SplitConfig, split
from search.data.stream import CROP, resized_side
from search.data.tiny_imagenet import fetch_tiny_imagenet, scan_tiny_imagenet, tiny_imagenet_manifest
from search.text.printable import printable

FIXED_SEED = 0
"""Seed that selects the held-out test images and the images kept by `limit`, the same for every study and block."""


TESTS = ("auto", "official", "held-out")
MAX_SIDE = 4096
"""Largest side of an input image in pixels."""


def default_cache_dir() -> Path:
    """Return the cache folder of decoded images: $HYBRID_SEARCH_CACHE, else ~/.cache/hybrid-search."""
    return Path(os.environ.get("HYBRID_SEARCH_CACHE") or "~/.cache/hybrid-search").expanduser()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Functions and properties of one kind of data set."""

    manifest: Callable[[Path, Use], Iterable[str]]
    """Returns lines that change whenever the content changes, without decoding images."""
    scan: Callable[[Path, int | None, Use], Listing]
    """Lists the images below a root, to be decoded at the given size."""
    fetch: Callable[[Path], None] | None = None
    """Downloads the images into a root unless they exist; None if the source cannot be downloaded."""
    on_disk: bool = True
    """Whether the images are read from a folder; False for embedded ones."""
    needs_root: bool = False
    """Whether the user must set `data.root`."""
    streamed_from: Callable[[Path], Path | None] | None = None
    """For streamed sources (see `stream.py`), returns the folder below a root that image names are relative to; None if
    the images are decoded in advance."""


SOURCES = {
    "digits": Source(manifest=lambda *_: digits_manifest(), scan=lambda _, size, __: scan_digits(size), on_disk=False),
    "cifar10": Source(manifest=cifar10_manifest, scan=scan_cifar10, fetch=fetch_cifar10),
    "caltech101": Source(manifest=caltech101_manifest, scan=scan_caltech101, fetch=fetch_caltech101),
    "tiny-imagenet": Source(manifest=tiny_imagenet_manifest, scan=scan_tiny_imagenet, fetch=fetch_tiny_imagenet),
    "imagenet": Source(
        manifest=imagenet_manifest, scan=scan_imagenet, fetch=fetch_imagenet, streamed_from=find_imagenet
    ),
    "folder": Source(manifest=folder_manifest, scan=scan_folder, needs_root=True),
    "npz": Source(manifest=npz_manifest, scan=scan_npz, needs_root=True),
}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images are used, at which size and how many."""

    name: str
    """digits (embedded in scikit-learn), cifar10, caltech101, tiny-imagenet, imagenet, folder (own images in class
    folders, or with a table of labels), or npz (own arrays)."""
    root: str | None = None
    """Folder of the images, or file for npz; required for both, unused for digits. Unset: downloads/ in the cache."""
    image_size: int | None = None
    """Side in pixels of the square that every image is resized to. Unset: original sizes, which must all be equal. For
    imagenet: side of the crop from an image resized to 8/7 of it, random in training; unset: 224, from 256."""
    limit: int | None = None
    """Largest number of training images, balanced over the classes; the other parts are reduced by the same ratio."""
    classes: tuple[str, ...] = ()
    """Names of the classes to keep; empty: all. For folder, folders with these names below root are always classes."""
    top_classes: int | None = None
    """Number of classes to keep, those with the most training images; ties are resolved by name. Unset: all."""
    test: str = "auto"
    """official (the source's own test set), held-out (test_fraction of the training images, stratified; an official
    test set is not used), or auto (official if available, else held-out)."""
    test_fraction: float = 1 / 3
    """Fraction of the training images held out for the test, rounded up; above 0 and below 1."""
    download: bool = False
    """Whether to download missing images, for sources that support it."""

    def __post_init__(self) -> None:
        """Check the values and report all faults at once."""
        object.__setattr__(self, "classes", tuple(self.classes))  # JSON has lists, not tuples
        faults = []
        if self.name not in SOURCES:
            faults.append(f"name must be one of {', '.join(SOURCES)}, got {self.name!r}")
        elif SOURCES[self.name].needs_root and not self.root:
            kind = "file" if self.name == "npz" else "folder"
            faults.append(f"root must name the {kind} of the images for {self.name}, got {self.root!r}")
        if self.image_size is not None and not 1 <= self.image_size <= MAX_SIDE:
            faults.append(f"image_size must be from 1 to {MAX_SIDE:,} pixels, got {self.image_size!r}")
        if self.limit is not None and self.limit < 2:
            faults.append(f"limit must be at least 2, got {self.limit!r}")
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes):
            faults.append(f"classes must be at least 2 different ones, got {', '.join(self.classes)}")
        if self.top_classes is not None and self.top_classes < 2:
            faults.append(f"top_classes must be at least 2, got {self.top_classes!r}")
        if self.test not in TESTS:
            faults.append(f"test must be one of {', '.join(TESTS)}, got {self.test!r}")
        if not 0 < self.test_fraction < 1:
            faults.append(f"test_fraction must be above 0 and below 1, got {self.test_fraction!r}")
        if faults:
            raise DataError(*faults)

    @property
    def streamed(self) -> bool:
        """Whether images are decoded on demand instead of in advance."""
        return SOURCES[self.name].streamed_from is not None

    @property
    def place(self) -> Path | None:
        """Folder that the names of streamed images are relative to; None if images are decoded in advance."""
        find = SOURCES[self.name].streamed_from
        return None if find is None else find(self.folder)

    @property
    def use(self) -> Use:
        """The classes and parts that the study needs."""
        return Use(classes=self.classes, needs_test=self.test != "held-out")

    @property
    def folder(self) -> Path:
        """The root as a path, default applied."""
        return Path(self.root).expanduser() if self.root else default_cache_dir() / "downloads"


def fetch(config: DataConfig) -> None:
    """Download a data set unless it exists; does nothing for sources without a download.

    Raises:
        FetchError: The download failed.
        LayoutError: A file or folder cannot be read.
    """
    download = SOURCES[config.name].fetch
    if download is not None:
        try:
            download(config.folder)
        except OSError as error:
            raise _unreadable(config, error) from error


def manifest(config: DataConfig) -> str:
    """Compute the cache key: a digest of everything that determines the decoded arrays, without decoding.

    The digest does not depend on the location or dates of the files. An image file that is replaced by another one of
    exactly the same size may not be detected (see `to_manifest`).

    Raises:
        LayoutError: The images are missing or have an unknown layout.
    """
    settings = dataclasses.asdict(config)
    for name in ("root", "download"):
        del settings[name]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    try:
        for line in SOURCES[config.name].manifest(config.folder, config.use):
            digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    except OSError as error:
        raise _unreadable(config, error) from error
    return digest.hexdigest()[:32]


def _unreadable(config: DataConfig, error: OSError) -> LayoutError:
    place = printable(str(error.filename or getattr(error, "path", config.folder)))
    fix = "fix its permissions" if isinstance(error, PermissionError) else "restore it, or remove it"
    return LayoutError(f"data.root {place}: cannot be read ({reason_of(error)}); {fix}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """The classes and parts of a data set, ready for decoding."""

    classes: tuple[str, ...]
    train: Part
    val: Part | None
    """The source's own validation set, the same for every block; None: each block draws one from `train`."""
    test: Part
    notes: tuple[str, ...]
    """Remarks on how the folders were interpreted where their names leave a choice."""
    num_ignored: int
    """Number of files among the images that are not images."""
    left_out: Mapping[str, int]
    """Folders beside the classes that are not used -> number of images in them."""


def scan(config: DataConfig) -> Dataset:
    """List the images of a data set after selecting classes, test set and limit; decodes no images.

    Raises:
        LayoutError: The images are missing or have an unknown layout.
        ClassMissingError: A class is missing from the training or the test set.
        DataError: The source has no official test set, or too few classes or images for the settings.
    """
    size = resized_side(config.image_size or CROP) if config.streamed else config.image_size
    try:
        listing = SOURCES[config.name].scan(config.folder, size, config.use)
    except OSError as error:
        raise _unreadable(config, error) from error
    return select(listing, config)


def select(listing: Listing, config: DataConfig) -> Dataset:
    """Apply the settings to a listing: select classes, then the test set, then the limit.

    Raises:
        ClassMissingError: A class is missing from the training or the test set.
        DataError: The source has no official test set, or too few classes or images for the settings.
    """
    if config.classes:
        listing = _keep_classes(listing, _named_classes(listing, config.classes))
    if config.top_classes is not None:
        listing = _keep_classes(listing, _top_classes(listing, config.top_classes))
    train, val, test = listing.train, listing.val, listing.test
    if test is None and config.test == "official":
        raise DataError(f"data.test: {config.name} has no official test part here; use held-out or auto")
    is_held_out = test is None or config.test == "held-out"
    if test is None or is_held_out:
        held_out = SplitConfig(method="stratified", fraction=config.test_fraction)
        rows = split(train.labels, held_out, FIXED_SEED, listing.classes, ("training", "the test"))
        train, test = train.take(rows[0]), train.take(rows[1])
    if config.limit is not None:
        share = min(1.0, config.limit / len(train.labels))
        parts = {"training": train, "validation": val, "test": test}
        numbers = {name: round(share * len(part.labels)) for name, part in parts.items() if part is not None}
        numbers["training"] = config.limit
        for name, number in numbers.items():
            if number < len(listing.classes):
                every = "both parts" if val is None else "every part"
                raise DataError(
                    f"data.limit must leave an image of each of the {len(listing.classes)} classes in {every}, "
                    f"got {config.limit}, which leaves {number} {name} images"
                )
        train, test = _limited(train, numbers["training"]), _limited(test, numbers["test"])
        val = None if val is None else _limited(val, numbers["validation"])
    return Dataset(
        classes=listing.classes,
        train=train,
        val=val,
        test=test,
        notes=tuple(
            notes_on(
                listing,
                is_held_out=is_held_out,
                is_asked_for=config.test == "held-out",
                fraction=config.test_fraction,
            )
        ),
        num_ignored=listing.num_ignored,
        left_out=listing.left_out,
    )


def _limited(part: Part, number: int) -> Part:
    return part.take(balanced_rows(part.labels, number, FIXED_SEED))


def _named_classes(listing: Listing, names: tuple[str, ...]) -> NDArray[np.int64]:
    unknown_classes(names, listing.classes)
    return np.array(sorted(listing.classes.index(name) for name in names))


def _top_classes(listing: Listing, number: int) -> NDArray[np.int64]:
    if number > len(listing.classes):
        raise DataError(
            f"data.top_classes must be at most the {len(listing.classes)} classes of the data set, got {number}"
        )
    counts = np.bincount(listing.train.labels, minlength=len(listing.classes))
    return np.sort(np.argsort(-counts, kind="stable")[:number])


def _keep_classes(listing: Listing, kept: NDArray[np.int64]) -> Listing:
    """Keep the given classes, in their original order."""
    new_labels = np.full(len(listing.classes), -1)
    new_labels[kept] = np.arange(len(kept))

    def keep(part: Part) -> Part:
        labels = new_labels[part.labels]
        return dataclasses.replace(part.take(np.flatnonzero(labels >= 0)), labels=labels[labels >= 0])

    return dataclasses.replace(
        listing,
        classes=tuple(listing.classes[label] for label in kept),
        train=keep(listing.train),
        val=None if listing.val is None else keep(listing.val),
        test=None if listing.test is None else keep(listing.test),
    )
