"""Decode the images of a streamed set in threads, a few batches in advance.

Images are cropped at random positions in training and at the centre in evaluation. The positions are drawn in one
thread from the generator of the epoch's order, so a repeated epoch has identical pixels whatever the number of decoding
threads.

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
"""Number of batches decoded in advance: with one, threads would be idle at the end of each batch."""
SLICE = 8
"""Images per thread task."""
NUM_SAMPLED = 2048
"""Number of images that represent a streamed set in its statistics."""
CHUNK = 64
"""Number of sampled images decoded at a time."""


class Decoder:
    """Decodes batches in threads, a few batches in advance.

    Args:
        images: The streamed set.
        device: Device of the returned batches.
        num_threads: Number of decoding threads; None: torch's thread count, which is the number of cores of the trial.
    """

    def __init__(self, images: StreamedSet, device: torch.device, num_threads: int | None = None) -> None:
        self._images = images
        self._device = device
        self._num_threads = num_threads or max(1, torch.get_num_threads())

    def __call__(
        self, batches: Iterable[Tensor], generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[Tensor]:
        """Yield decoded batches in the given order.

        Args:
            batches: Positions in the set, (B,) per batch; consumed lazily.
            generator: Draws the crop positions; None crops at the centre.
            first: Index of the first batch to decode. Crop positions of skipped batches are still drawn.

        Yields:
            Pixels (B, H, W, C) uint8, on the device.

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
        """Draw the top and left position of each crop, (B, 2)."""
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
    """Decode at most 2,048 evenly spaced images, cropped at the centre, in chunks (n, H, W, 3)."""
    chosen = torch.tensor(rows[np.unique(np.linspace(0, len(rows) - 1, NUM_SAMPLED).astype(int))])
    for pixels in Decoder(images, torch.device("cpu"))(torch.split(chosen, CHUNK)):
        yield pixels.numpy()
