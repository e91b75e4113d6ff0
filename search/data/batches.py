"""Batches of stored pixels: shuffled for training, in stored order for evaluation.

On the CPU, batches are read from the memory-mapped file, so no process holds a copy of the data. On a GPU, the whole
set is copied to the device once per process and indexed there if it fits. Streamed sets are decoded on demand.

Shapes: B batch, H height, W width, C channels (3), N images.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.data.decoder import Decoder
from search.data.errors import DataError
from search.data.store import Images, ImageSet
from search.data.stream import StreamedSet

Batch = tuple[Tensor, Tensor]
"""Pixels (B, H, W, C) uint8 and labels (B,) int64, on the device."""

Fetch = Callable[[Iterable[Tensor], torch.Generator | None, int], Iterator[Tensor]]
"""Maps the positions of each batch, (B,), to its pixels, (B, H, W, C), on the device.

The generator supplies the randomness of loading (crop positions); None disables it. The number is the index of the
first batch to return.
"""

_resident: weakref.WeakKeyDictionary[ImageSet, dict[torch.device, Tensor]] = weakref.WeakKeyDictionary()
"""Image sets that were copied to a device; an entry lives as long as its set."""


class _Gatherer:
    """Loads the images at given positions of a set."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._images = images
        self._device = device
        self._pixels = _make_resident(images, device)

    def __call__(
        self,
        batches: Iterable[Tensor],
        generator: torch.Generator | None,  # noqa: ARG002
        first: int,
    ) -> Iterator[Tensor]:
        for rows in islice(batches, first, None):
            if self._pixels is not None:
                yield self._pixels.index_select(0, rows.to(self._device, non_blocking=True))
            else:
                pixels = torch.from_numpy(np.take(self._images.pixels, rows.numpy(), axis=0))
                yield pixels.to(self._device, non_blocking=True)


def _make_fetch(images: Images, device: torch.device) -> Fetch:
    return Decoder(images, device) if isinstance(images, StreamedSet) else _Gatherer(images, device)


def _make_resident(images: ImageSet, device: torch.device) -> Tensor | None:
    """Copy a set to the device once per process; return None on the CPU or if it needs over half of the free memory."""
    if device.type == "cpu":
        return None
    held = _resident.setdefault(images, {})
    if device not in held:
        if device.type == "cuda" and images.pixels.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
            return None
        held[device] = torch.tensor(images.pixels, device=device)
    return held[device]


class TrainBatches:
    """Shuffled batches of the training images; every epoch has a new order and visits each image once.

    All batches have `batch_size` images, except that the last one has the remainder. A remainder of one image is added
    to the batch before it, as batch normalisation fails on a single image.

    Args:
        images: The image set.
        rows: Positions of the training images in the set.
        batch_size: Images per batch.
        device: Device of the returned batches.

    Raises:
        DataError: There are fewer than 2 images, or `batch_size` is below 2 or above the number of images.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64], batch_size: int, device: torch.device) -> None:
        if len(rows) < 2 or batch_size < 2:
            raise DataError(f"training needs 2 images and batches of 2 or more, got {len(rows)} and {batch_size}")
        if batch_size > len(rows):
            raise DataError(f"train.batch must be at most the {len(rows)} training images, got {batch_size}")
        self._rows = torch.tensor(rows)
        self._labels = torch.tensor(images.labels[rows], device=device)
        self._fetch = _make_fetch(images, device)
        starts = list(range(0, len(rows), batch_size))
        if len(rows) - starts[-1] == 1:
            del starts[-1]
        self._bounds = tuple(zip(starts, [*starts[1:], len(rows)], strict=True))

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return len(self._bounds)

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Args:
            generator: A CPU generator, so that the order and the crops of a streamed set are the same on every device.
            first: Index of the first batch to yield. Skipping batches does not change the following ones.
        """
        order = torch.randperm(len(self._rows), generator=generator)
        rows, labels = self._rows[order], self._labels[order.to(self._labels.device)]
        batches = self._fetch((rows[start:stop] for start, stop in self._bounds), generator, first)
        for (start, stop), pixels in zip(self._bounds[first:], batches, strict=True):
            yield pixels, labels[start:stop]


class EvalBatches:
    """Batches of the validation or test images in stored order.

    Args:
        images: The image set.
        rows: Positions of the images in the set.
        batch_size: Images per batch; the last batch has the remainder.
        device: Device of the returned batches.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64], batch_size: int, device: torch.device) -> None:
        self._rows = torch.tensor(rows)
        self._labels = torch.tensor(images.labels[rows], device=device)
        self._fetch = _make_fetch(images, device)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self._rows) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches."""
        batches = self._fetch(torch.split(self._rows, self._batch_size), None, 0)
        yield from zip(batches, torch.split(self._labels, self._batch_size), strict=True)
