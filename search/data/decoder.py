"""Decoding while training: the images of a streamed set, batch by batch, a few batches ahead of their use.

An image is cropped anywhere to train, in the middle to score. The places are drawn from the generator that also draws
the epoch's order, batch by batch and in one thread, so that an epoch that is run again has the same pixels bit for bit,
however many threads decode.

Shapes: B batch, H height, W width, C channels (3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.data.stream import StreamedSet, resized_side

AHEAD = 2
"""Batches that are decoded, or waiting to be, beside the one that is used: one would leave threads idle at its end."""
SLICE = 8
"""Images that a thread decodes at a time."""
NUM_SAMPLED = 2048
"""Images that stand for a streamed set where it is measured."""
CHUNK = 64
"""Of these, so many are decoded at once."""


class Decoder:
    """Decodes batches in threads, always a few ahead of their use.

    Args:
        images: The set.
        device: Where the batches are wanted.
        num_threads: None takes as many as torch has in this process: the cores that the trial was given.
    """

    def __init__(self, images: StreamedSet, device: torch.device, num_threads: int | None = None) -> None:
        self._images = images
        self._device = device
        self._num_threads = num_threads or max(1, torch.get_num_threads())

    def __call__(
        self, batches: Iterable[Tensor], generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[Tensor]:
        """Decode batches in their order.

        Args:
            batches: Positions in the set, (B,) each; taken as they are needed.
            generator: Draws where each image is cropped; None crops in the middle.
            first: Batches before this one are passed over; what they draw is drawn all the same.

        Yields:
            (B, H, W, C) uint8, on the device.

        Raises:
            ImageError: A file is missing or damaged.
        """
        pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="decoder")
        waiting: deque[_Batch] = deque()
        try:
            for position, rows in enumerate(batches):
                corners = self._draw_corners(len(rows), generator)
                if position < first:
                    continue
                waiting.append(self._begin(pool, rows, corners))
                if len(waiting) > AHEAD:
                    yield self._finish(waiting.popleft())
            while waiting:
                yield self._finish(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _draw_corners(self, num_images: int, generator: torch.Generator | None) -> Tensor:
        """Top and left of each crop, (B, 2)."""
        room = resized_side(self._images.crop) - self._images.crop
        if generator is None:
            return torch.full((num_images, 2), room // 2)
        return torch.randint(room + 1, (num_images, 2), generator=generator)

    def _begin(self, pool: ThreadPoolExecutor, rows: Tensor, corners: Tensor) -> _Batch:
        crop = self._images.crop
        pixels = torch.empty((len(rows), crop, crop, 3), dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        places = list(zip(rows.tolist(), corners.tolist(), strict=True))
        jobs = [
            pool.submit(self._fill, pixels[start : start + SLICE].numpy(), places[start : start + SLICE])
            for start in range(0, len(places), SLICE)
        ]
        return _Batch(pixels, jobs)

    def _fill(self, pixels: NDArray[np.uint8], places: list[tuple[int, list[int]]]) -> None:
        for position, (row, (top, left)) in enumerate(places):
            pixels[position] = self._images.read(row, top, left)

    def _finish(self, batch: _Batch) -> Tensor:
        for job in batch.jobs:
            job.result()
        return batch.pixels.to(self._device, non_blocking=True)


@dataclass(frozen=True)
class _Batch:
    pixels: Tensor
    jobs: list[Future[None]]


def sample(images: StreamedSet, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Decode evenly spaced images of some rows, at most 2,048, cropped in the middle, in chunks (n, H, W, 3)."""
    chosen = torch.tensor(rows[np.unique(np.linspace(0, len(rows) - 1, NUM_SAMPLED).astype(int))])
    for pixels in Decoder(images, torch.device("cpu"))(torch.split(chosen, CHUNK)):
        yield pixels.numpy()
