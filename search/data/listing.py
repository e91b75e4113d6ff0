"""What a data set holds, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a study asks for: faults in the rest of a source are none."""

    classes: tuple[str, ...] = ()
    """Only these; empty: all."""
    needs_test: bool = True
    """Whether the source's own test part is used, if it has one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Images that belong together, in a fixed order."""

    ids: tuple[str, ...]
    """Name of each image: its path below the root, or its position in the source."""
    labels: NDArray[np.int64]
    """Class index of each image, (N,)."""
    read: Callable[[int], NDArray[np.uint8]]
    """Decodes the image at a position, (H, W, 3); called from several threads."""
    brightest: list[int] = field(default_factory=list)
    """Highest value of each 16-bit image that was decoded so far; whole sets of less than 16 bits show in it."""

    def take(self, rows: NDArray[np.int64]) -> Part:
        """Keep some of the images."""
        read = self.read
        return Part(
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            read=lambda position: read(int(rows[position])),
            brightest=self.brightest,
        )

    def join(self, other: Part) -> Part:
        """This part's images and then another's."""
        number, first, second = len(self.labels), self.read, other.read
        return Part(
            ids=self.ids + other.ids,
            labels=np.concatenate([self.labels, other.labels]),
            read=lambda position: first(position) if position < number else second(position - number),
            brightest=self.brightest,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """A data set's classes and parts."""

    classes: tuple[str, ...]
    train: Part
    val: Part | None = None
    """A validation part that is the source's own; None: it is drawn from the training images."""
    test: Part | None
    """None where the source has no official test part."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Part -> its folder below the root; empty where there are none."""
    num_ignored: int = 0
    """Files among the images that are not images."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Folders beside the classes that are none -> images in them."""
    merged: Mapping[str, int] = field(default_factory=dict)
    """Classes whose images lie in several folders below the class's own -> how many."""


def class_counts(labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    """Images per class."""
    numbers = np.bincount(labels, minlength=len(classes))
    return {name: int(number) for name, number in zip(classes, numbers, strict=True)}


def balanced_rows(labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Draw `limit` images with equally many of each class; classes that have too few give all they have.

    Returns:
        Sorted positions; all of them where `limit` is not smaller than the set.
    """
    if limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    # Each image's position in the queue of its class; taking the front of all queues first is the equal share.
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        queue = order[labels[order] == label]
        turn[queue] = np.arange(len(queue))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:limit])
