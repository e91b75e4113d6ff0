"""Batches of stored pixels: shuffled for training, in order for scoring.

On the CPU a batch is gathered from the mapped file, so that no process holds a copy of the data. On any other device
the whole set is moved once per process and indexed there, if it fits. A streamed set is decoded as it is needed.

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
"""Positions of each batch (B,) -> its pixels (B, H, W, C), on the device. The generator draws what loading has of
chance; None where there shall be none. The number is that of the first batch that is wanted."""

_resident: weakref.WeakKeyDictionary[ImageSet, dict[torch.device, Tensor]] = weakref.WeakKeyDictionary()
"""Sets that lie on a device, for as long as the set itself is in use."""


class _Gatherer:
    """Fetches any images of a set, by position."""

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
    """Move a set to a device once per process; None on the CPU, and where it would fill half of what is free."""
    if device.type == "cpu":
        return None
    held = _resident.setdefault(images, {})
    if device not in held:
        if device.type == "cuda" and images.pixels.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
            return None
        held[device] = torch.tensor(images.pixels, device=device)
    return held[device]


class TrainBatches:
    """The training part, in another order each epoch; every image once.

    All batches have `batch_size` images and the last one what is left. If one image is left over it joins the batch
    before: batch normalisation has nothing to normalise over in a batch of one.

    Args:
        images: The set.
        rows: Positions of the training part in it.
        batch_size: Images per batch.
        device: Where the batches are wanted.
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
        """Batches per epoch."""
        return len(self._bounds)

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Args:
            generator: On the CPU, so that every device draws the same order, and of a streamed set the same crops.
            first: Batches before this one are passed over; the others are what they are without that.
        """
        order = torch.randperm(len(self._rows), generator=generator)
        rows, labels = self._rows[order], self._labels[order.to(self._labels.device)]
        batches = self._fetch((rows[start:stop] for start, stop in self._bounds), generator, first)
        for (start, stop), pixels in zip(self._bounds[first:], batches, strict=True):
            yield pixels, labels[start:stop]


class EvalBatches:
    """A part in its own order.

    Args:
        images: The set.
        rows: Positions of the part in it.
        batch_size: Images per batch; the last one has what is left.
        device: Where the batches are wanted.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64], batch_size: int, device: torch.device) -> None:
        self._rows = torch.tensor(rows)
        self._labels = torch.tensor(images.labels[rows], device=device)
        self._fetch = _make_fetch(images, device)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._rows) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches."""
        batches = self._fetch(torch.split(self._rows, self._batch_size), None, 0)
        yield from zip(batches, torch.split(self._labels, self._batch_size), strict=True)
