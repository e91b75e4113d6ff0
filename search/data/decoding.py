"""Decode the images of a set in threads; faults are collected and reported in one line per kind."""

from __future__ import annotations

import math
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from search.data.errors import ImageError, UnreadableError, some, unreadable_lines
from search.data.listing import Part
from search.text.printable import printable

CHUNK_BYTES = 1 << 22
"""Size of a chunk; small enough to remain in the processor's cache until it is written."""
SLICE = 32
"""Images per thread task; with fewer, the overhead per task exceeds the decoding of a small image."""
MAX_THREADS = 4
"""More threads would wait for the interpreter lock: a quarter of the decoding of a small image runs in Python."""
MAX_FAULTS = 1000
"""Number of unreadable images after which decoding stops."""


class Faults:
    """Collects the faults of decoded images. Faults may be added from several threads.

    Args:
        shape: Shape (H, W, 3) that every image must have.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._unreadable: list[UnreadableError] = []
        self._sizes: list[tuple[str, tuple[int, ...]]] = []
        self.num_read = 0
        """Number of images decoded so far."""

    @property
    def number(self) -> int:
        """Number of faults."""
        return len(self._unreadable) + len(self._sizes)

    def add(self, error: UnreadableError) -> None:
        """Add an image that cannot be read."""
        self._unreadable.append(error)

    def add_size(self, name: str, shape: tuple[int, ...]) -> None:
        """Add an image with a different shape, (H, W, 3)."""
        self._sizes.append((name, shape))

    def refuse(self) -> None:
        """Raise an error if there are faults.

        Raises:
            ImageError: Contains one line per kind of fault.
        """
        lines = unreadable_lines(self._unreadable)
        if self._sizes:
            lines.append(self._size_line())
        if lines:
            raise ImageError(*lines)

    def _size_line(self) -> str:
        first = _size(self._shape)
        if len(self._sizes) == 1:
            name, shape = self._sizes[0]
            found = f"got {_size(shape)} for {printable(name)} and {first} for the first image"
        else:
            sizes = Counter(shape for _, shape in self._sizes)
            of_size = {shape: name for name, shape in sorted(self._sizes, reverse=True)}
            # Ties are ordered by name, as the order of the threads is random.
            common = sorted(sizes, key=lambda shape: (-sizes[shape], of_size[shape]))
            examples = [f"{_size(shape)} ({sizes[shape]:,} images, {of_size[shape]})" for shape in common]
            found = (
                f"got {first} for the first image and other sizes for {len(self._sizes):,} of the {self.num_read:,} "
                f"read: {some(examples)}{' sizes' if len(examples) > 3 else ''}"
            )
        return f"data.image_size must be set where images differ in size, {found}; set it, such as to 32 or 64"


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"


def decode(part: Part, shape: tuple[int, ...], faults: Faults) -> Iterator[NDArray[np.uint8]]:
    """Yield the decoded images of a part in chunks (n, H, W, 3); after a fault, only collect further faults.

    A chunk is valid only until the chunk after the next is requested, as buffers are reused.

    Args:
        part: The images.
        shape: Shape (H, W, 3) that every image must have.
        faults: Receives unreadable images and other shapes; decoding stops after `MAX_FAULTS`.
    """

    def fill(first: int, pixels: NDArray[np.uint8]) -> None:
        for row, place in enumerate(pixels, first):
            try:
                image = part.read(row)
            except UnreadableError as error:
                faults.add(error)
                continue
            if image.shape == shape:
                place[...] = image
            else:
                faults.add_size(part.ids[row], image.shape)

    at_a_time = max(1, min(SLICE, CHUNK_BYTES // (8 * math.prod(shape))))
    per_chunk = at_a_time * max(8, CHUNK_BYTES // (at_a_time * math.prod(shape)))
    buffers = [np.empty((per_chunk, *shape), dtype=np.uint8) for _ in range(2)]
    waiting: deque[tuple[NDArray[np.uint8], list[Future[None]]]] = deque()

    def finish() -> Iterator[NDArray[np.uint8]]:
        pixels, jobs = waiting.popleft()
        for job in jobs:
            job.result()
        faults.num_read += len(pixels)
        if not faults.number:
            yield pixels

    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for number, first in enumerate(range(0, len(part.labels), per_chunk)):
            if faults.number >= MAX_FAULTS:
                break
            pixels = buffers[number % 2][: len(part.labels) - first]
            starts = range(0, len(pixels), at_a_time)
            jobs = [pool.submit(fill, first + start, pixels[start : start + at_a_time]) for start in starts]
            waiting.append((pixels, jobs))
            if number:
                yield from finish()
        while waiting:
            yield from finish()
