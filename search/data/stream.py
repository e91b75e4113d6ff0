"""Streamed sets, whose images are decoded on demand from their files and not cached.

Each image is resized to a square, of which a smaller square is cropped (see `decoder.py`).

Shapes: H height, W width, N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.images import read_image

CROP, RESIZED = 224, 256
"""Default sides in pixels; other crops have the same ratio."""


def resized_side(crop: int) -> int:
    """Return the side in pixels that an image is resized to before a crop of the given side.

    >>> resized_side(224)
    256
    """
    return round(crop * RESIZED / CROP)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedSet:
    """One part of a streamed data set. The arrays are read-only memory maps."""

    place: Path
    """Folder that the image names are relative to."""
    crop: int
    """Side in pixels of the cropped images."""
    labels: NDArray[np.int64]
    """Class index of each image, (N,)."""
    ids: NDArray[np.str_]
    """Name of each image, which is its path below the folder, (N,)."""
    ids_digest: str
    """Digest of the names in order; sets with equal digests can be compared image by image."""

    def read(self, row: int, top: int, left: int) -> NDArray[np.uint8]:
        """Decode and crop one image.

        Args:
            row: Position of the image.
            top: First row of the crop, in pixels of the resized image.
            left: First column of the crop.

        Returns:
            Pixels (H, W, 3).

        Raises:
            ImageError: The file is missing or damaged.
        """
        side = resized_side(self.crop)
        return read_image(f"{self.place}/{self.ids[row]}", (side, side))[top : top + self.crop, left : left + self.crop]
