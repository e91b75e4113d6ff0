"""Streamed sets: their images stay in their files, nothing of them is decoded ahead and nothing is kept.

An image is squeezed into a square and a smaller square is cropped out of it (see `decoder.py`).

Shapes: H height, W width, N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.images import read_image

CROP, RESIZED = 224, 256
"""Sides in pixels; other crops keep this proportion."""


def resized_side(crop: int) -> int:
    """Side of the square that an image is squeezed into before a crop of this side."""
    return round(crop * RESIZED / CROP)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedSet:
    """One part of a data set whose images stay in their files. The arrays are read-only views of files."""

    place: Path
    """Folder that the names are relative to."""
    crop: int
    """Side in pixels of what a batch has of an image."""
    labels: NDArray[np.int64]
    """(N,)."""
    ids: NDArray[np.str_]
    """Name of each image, its path below the folder, (N,)."""
    ids_digest: str
    """Of the names in their order: two sets with the same are paired image by image."""

    def read(self, row: int, top: int, left: int) -> NDArray[np.uint8]:
        """Decode one image and crop it, (H, W, 3).

        Raises:
            ImageError: The file is missing or damaged.
        """
        side = resized_side(self.crop)
        return read_image(f"{self.place}/{self.ids[row]}", (side, side))[top : top + self.crop, left : left + self.crop]
