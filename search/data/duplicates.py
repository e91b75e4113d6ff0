"""Find images of the test or validation part that are also training images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search.data.errors import some
from search.text.counted import counted


class Duplicates:
    """Digests of decoded images, by part. Files that differ, but decode to the same pixels, count as equal."""

    def __init__(self) -> None:
        self._digests: dict[str, list[bytes]] = {"train": [], "test": []}

    def add(self, part: str, pixels: NDArray[np.uint8]) -> None:
        """Add the next images of train or test, (n, H, W, 3)."""
        self._digests[part] += [hashlib.blake2b(image.data, digest_size=16).digest() for image in pixels]

    def notes(self, ids: Mapping[str, Sequence[str]], num_val: int) -> Iterator[str]:
        """Yield a line for each part that shares images with the training part.

        Args:
            ids: Part -> names of its images, in the order in which they were added.
            num_val: Number of images at the end of train that are the data set's own validation part.
        """
        digests, names = self._digests["train"], ids["train"]
        num_train = len(digests) - num_val
        training: dict[bytes, str] = {}
        for digest, name in zip(digests[:num_train], names, strict=False):
            training.setdefault(digest, name)
        fixed = zip(digests[num_train:], names[num_train:], strict=False)
        for word, images in (("validation", fixed), ("test", zip(self._digests["test"], ids["test"], strict=False))):
            pairs = [f"{name} = {training[digest]}" for digest, name in images if digest in training]
            if pairs:
                also = "is also a training image" if len(pairs) == 1 else "are also training images"
                yield (
                    f"duplicates: {counted(len(pairs), f'{word} image')} {also} ({some(pairs)}); their "
                    "scores show what was memorised, so remove them from one of the parts"
                )
