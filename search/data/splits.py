"""Training and validation parts of a labelled set, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data.errors import ClassMissingError, DataError

METHODS = ("random", "stratified", "none")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How the training images are divided into a training and a validation part, where the data set has none."""

    method: str = "stratified"
    """random (plain draw), stratified (each class keeps its share), or none (every image trains, none validates)."""
    fraction: float = 0.3
    """Share of the images that validates; between 0 and 1, both excluded. Under none it is 0, whatever is given."""

    def __post_init__(self) -> None:
        """Refuse values that no split can have, all at once."""
        if self.method == "none":
            object.__setattr__(self, "fraction", 0.0)
            return
        faults = []
        if self.method not in METHODS:
            faults.append(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if not 0 < self.fraction < 1:
            faults.append(f"fraction must be above 0 and below 1, got {self.fraction!r}")
        if faults:
            raise DataError(*faults)

    @property
    def ratio(self) -> float | None:
        """Images that validate over images that train; None where nothing validates."""
        return self.fraction / (1 - self.fraction) if self.fraction else None


def second_size(num_images: int, config: SplitConfig, num_fixed: int = 0) -> int:
    """How many of the images the second part has; arguments as of `split`."""
    if num_fixed:
        return num_fixed
    return math.ceil(num_images * config.fraction - 1e-9)  # 0.07 of 100 is 7, not the 8 of the floats


def split(
    labels: NDArray[np.int64],
    config: SplitConfig,
    seed: int,
    classes: Sequence[str] = (),
    parts: tuple[str, str] = ("training", "validation"),
    num_fixed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a labelled set in two.

    The second part has `fraction * N` images, rounded up as scikit-learn's `train_test_split` does, whatever the
    method: 0.3 of 50,000 is 15,000, and 0.1 of 2,703 is 271.

    Args:
        labels: One class index per image, (N,).
        config: Method and share.
        seed: The same seed gives the same parts.
        classes: Class names, for the words of a fault.
        parts: What the two parts are called, for the words of a fault.
        num_fixed: The last so many images are the second part, whatever the seed: the data set brings it along. 0
            draws it.

    Returns:
        Sorted positions of the first and of the second part; the second is empty under the method none.

    Raises:
        ClassMissingError: A class has no image in one of the parts.
        DataError: The second part is fixed, and the settings ask for another one.
    """
    if num_fixed:
        if config != SplitConfig():
            asked = config.method if config.method == "none" else f"{config.method}, fraction {config.fraction:g}"
            raise DataError(
                f"split: the data set has a {parts[1]} part of its own, {num_fixed:,} images, and split asks for "
                f"another one ({asked}); remove split, or move that part's folder away from data.root"
            )
        return np.arange(len(labels) - num_fixed), np.arange(len(labels) - num_fixed, len(labels))
    if config.method == "none":
        return np.arange(len(labels)), np.arange(0)
    rng = np.random.default_rng(seed)
    num_second = second_size(len(labels), config)
    draw = {"random": _draw_random, "stratified": _draw_stratified}[config.method]
    in_second = draw(labels, num_second, rng)
    first, second = np.flatnonzero(~in_second), np.flatnonzero(in_second)
    mend = "change the share" if config.method == "stratified" else "split stratified"
    _refuse_missing(labels, (first, second), classes, parts, mend)
    return first, second


def _draw_random(labels: NDArray[np.int64], num_second: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[rng.permutation(len(labels))[:num_second]] = True
    return chosen


def _draw_stratified(labels: NDArray[np.int64], num_second: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Give each class its share rounded down, and the places left over to the largest remainders, ties by lot."""
    counts = np.bincount(labels)
    shares = counts * (num_second / max(1, len(labels)))
    quotas = np.floor(shares + 1e-9).astype(np.int64)
    lot = rng.permutation(len(counts))
    by_remainder = lot[np.argsort(-(shares - quotas)[lot].round(9), kind="stable")]
    quotas[by_remainder[: num_second - int(quotas.sum())]] += 1
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:quota]] = True
    return chosen


def _refuse_missing(
    labels: NDArray[np.int64],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    classes: Sequence[str],
    parts: tuple[str, str],
    mend: str,
) -> None:
    if not len(labels):
        raise ClassMissingError("split: there are no images")
    num_classes = max(len(classes), int(labels.max()) + 1)
    counts = [np.bincount(labels[part], minlength=num_classes) for part in rows]
    faults = [
        f"split: class {classes[label] if classes else label} must be in both parts, got {counts[0][label]} images for "
        f"{parts[0]} and {counts[1][label]} for {parts[1]}; add images of it, or {mend}"
        for label in range(num_classes)
        if not (counts[0][label] and counts[1][label])
    ]
    if faults:
        raise ClassMissingError(*faults)
