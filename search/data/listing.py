"""The images, labels and classes of a data set before decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Use:
    """The classes and parts that a study needs; faults in the others are ignored."""

    classes: tuple[str, ...] = ()
    """Class names; empty: all."""
    needs_test: bool = True
    """Whether the source's own test set is used, if there is one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Images of one part in a fixed order."""

    ids: tuple[str, ...]
    """Name of each image: its path below the root, or its position in the source."""
    labels: NDArray[np.int64]
    """Class index of each image, (N,)."""
    read: Callable[[int], NDArray[np.uint8]]
    """Decodes the image at a position, (H, W, 3); must be thread-safe."""
    brightest: list[int] = field(default_factory=list)
    """Highest value of each 16-bit image decoded so far, to detect sets that use fewer bits."""

    def take(self, rows: NDArray[np.int64]) -> Part:
        """Return the part restricted to the given positions."""
        read = self.read
        return Part(
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            read=lambda position: read(int(rows[position])),
            brightest=self.brightest,
        )

    def join(self, other: Part) -> Part:
        """Return the images of this part followed by those of another."""
        number, first, second = len(self.labels), self.read, other.read
        return Part(
            ids=self.ids + other.ids,
            labels=np.concatenate([self.labels, other.labels]),
            read=lambda position: first(position) if position < number else second(position - number),
            brightest=self.brightest,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """The classes and parts of a data set."""

    classes: tuple[str, ...]
    train: Part
    val: Part | None = None
    """The source's own validation set; None if it is drawn from the training images."""
    test: Part | None
    """None if the source has no official test set."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Part -> its folder below the root; empty if the source has no folders."""
    table: str = ""
    """Name of the table that the classes are read from; empty if folders give the classes."""
    num_ignored: int = 0
    """Number of files among the images that are not images."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Folders beside the classes that are not used -> number of images in them."""
    merged: Mapping[str, int] = field(default_factory=dict)
    """Classes whose images lie in several subfolders -> number of subfolders."""


def class_counts(labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    """Return the number of images per class."""
    numbers = np.bincount(labels, minlength=len(classes))
    return {name: int(number) for name, number in zip(classes, numbers, strict=True)}


def balanced_rows(labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Draw `limit` images, balanced over the classes; small classes contribute all their images.

    Args:
        labels: Class index of each image, (N,).
        limit: Number of images to draw.
        seed: Seed of the draw.

    Returns:
        Sorted positions; all positions if `limit` is at least N.
    """
    if limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    # Rank of each image within its class; taking the lowest ranks of all classes first balances them.
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        queue = order[labels[order] == label]
        turn[queue] = np.arange(len(queue))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:limit])
