"""Draw training and validation parts of a labelled set from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data.errors import ClassMissingError, DataError
from search.text.counted import counted

METHODS = ("random", "stratified", "none")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How training images are split into a training and a validation part, for data sets without a validation set."""

    method: str = "stratified"
    """random (uniform draw), stratified (same class proportions in both parts), or none (no validation part)."""
    fraction: float = 0.3
    """Fraction of the images used for validation; above 0 and below 1. Ignored and set to 0 for none."""

    def __post_init__(self) -> None:
        """Check the values and report all faults at once."""
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
        """Ratio of validation to training images; None without a validation part."""
        return self.fraction / (1 - self.fraction) if self.fraction else None


def second_size(num_images: int, config: SplitConfig, num_fixed: int = 0) -> int:
    """Return the number of images in the second part; arguments as for `split`.

    >>> second_size(2703, SplitConfig(fraction=0.1))
    271
    """
    if num_fixed:
        return num_fixed
    return math.ceil(num_images * config.fraction - 1e-9)  # 0.07 of 100 is 7; floating point would give 8


def split(
    labels: NDArray[np.int64],
    config: SplitConfig,
    seed: int,
    classes: Sequence[str] = (),
    parts: tuple[str, str] = ("training", "validation"),
    num_fixed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split a labelled set into two parts.

    For every method, the second part has `fraction * N` images, rounded up as in scikit-learn's `train_test_split`.

    Args:
        labels: Class index of each image, (N,).
        config: Method and fraction.
        seed: Seed of the draw.
        classes: Class names for error messages.
        parts: Names of the two parts for error messages.
        num_fixed: If not 0, the last `num_fixed` images are the second part: the data set's own validation set.

    Returns:
        Sorted positions of the first and of the second part; the second is empty for the method none.

    Raises:
        ClassMissingError: A class has no image in one of the parts.
        DataError: The second part is fixed, and the settings request another split.
    """
    if num_fixed:
        if config != SplitConfig():
            asked = config.method if config.method == "none" else f"{config.method}, fraction {config.fraction:g}"
            raise DataError(
                f"split: the data set has its own {parts[1]} part, {counted(num_fixed, 'image')}, but split requests "
                f"another one ({asked}); remove split, or move the folder of that part out of data.root"
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
    """Give each class its proportion rounded down; remaining places go to the largest remainders, ties at random."""
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
        f"split: class {classes[label] if classes else label} must be in both parts, got "
        f"{counted(counts[0][label], 'image')} for {parts[0]} and {counts[1][label]} for {parts[1]}; add images of "
        f"this class, or {mend}"
        for label in range(num_classes)
        if not (counts[0][label] and counts[1][label])
    ]
    if faults:
        raise ClassMissingError(*faults)
