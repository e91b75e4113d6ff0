"""Normalise and augment batches of images on the device.

Shapes: B batch, C channels (3), H height, W width, N images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.data.decoder import sample
from search.data.errors import DataError
from search.data.store import Images
from search.data.stream import StreamedSet

CHUNK = 1024
"""Number of images summed per step."""


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Constants of the normalisation `(pixel / 255 - mean) / std`, one per channel."""

    method: str
    """global, channel, half or unit."""
    mean: tuple[float, float, float]
    """Mean of each channel, from 0 to 1."""
    std: tuple[float, float, float]
    """Standard deviation of each channel, above 0."""


def fit_normaliser(images: Images, rows: NDArray[np.int64], method: str) -> Normaliser:
    """Compute the normalisation constants from the training images.

    Of a streamed set, 2,048 evenly spaced training images are used.

    Args:
        images: The image set.
        rows: Positions of the training images in the set.
        method: global (one mean and standard deviation for all pixels and channels), channel (one per channel), half
            ((x - 0.5) / 0.5) or unit (x / 255).

    Raises:
        DataError: The method is unknown, or the standard deviation is 0.
    """
    fixed = {"half": (0.5, 0.5), "unit": (0.0, 1.0)}
    if method in fixed:
        mean, std = fixed[method]
        return Normaliser(method=method, mean=(mean,) * 3, std=(std,) * 3)
    if method not in {"global", "channel"}:
        raise DataError(f"normalise must be one of global, channel, half, unit, got {method!r}")
    sums, squares, num_pixels = _channel_sums(_chunks(images, rows))
    if method == "global":
        sums, squares, num_pixels = sums.sum(keepdims=True), squares.sum(keepdims=True), num_pixels * 3
    means = sums / num_pixels
    stds = np.sqrt(squares / num_pixels - means**2)
    if not (stds > 0).all():
        raise DataError(
            f"normalise: {method} divides by the deviation of the pixels, which is 0 here; use half or unit"
        )
    red, green, blue = np.broadcast_to(np.stack([means, stds]) / 255, (2, 3)).T.tolist()
    return Normaliser(method=method, mean=(red[0], green[0], blue[0]), std=(red[1], green[1], blue[1]))


def _chunks(images: Images, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels in chunks (n, H, W, 3) without copying the whole set."""
    if isinstance(images, StreamedSet):
        yield from sample(images, rows)
        return
    for start in range(0, len(rows), CHUNK):
        yield images.pixels[rows[start : start + CHUNK]]


def _channel_sums(chunks: Iterator[NDArray[np.uint8]]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int]:
    """Return exact per-channel sums of the pixels and of their squares, (3,) each, and the number of pixels."""
    sums, squares = np.zeros((2, 3), dtype=np.uint64)
    num_pixels = 0
    for pixels in chunks:
        lines = pixels.reshape(-1, pixels.shape[2] * 3)
        sums += lines.sum(axis=0, dtype=np.uint64).reshape(-1, 3).sum(axis=0)
        squares += np.square(lines, dtype=np.uint16).sum(axis=0, dtype=np.uint64).reshape(-1, 3).sum(axis=0)
        num_pixels += lines.size // 3
    return sums, squares, num_pixels


def prepare(pixels_BHWC: Tensor, normaliser: Normaliser, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normalise stored pixels.

    Args:
        pixels_BHWC: uint8, contiguous, on any device.
        normaliser: The normalisation constants.
        dtype: Data type of the result.

    Returns:
        Images of shape (B, C, H, W) in channels_last memory format.
    """
    batch, height, width, channels = pixels_BHWC.shape
    scales = [1 / (255 * std) for std in normaliser.std]
    shifts = [-mean / std for mean, std in zip(normaliser.mean, normaliser.std, strict=True)]
    # Created on the CPU and copied asynchronously: torch.tensor(device=...) would wait for all pending GPU work.
    constants_2C = torch.tensor([scales, shifts], dtype=dtype).to(pixels_BHWC.device, non_blocking=True)
    scale, shift = constants_2C.repeat(1, width)
    # Each image row is processed as one line: a last axis of only three channels would not vectorise on the CPU.
    lines = pixels_BHWC.reshape(batch, height, width * channels).to(dtype)
    lines = torch.addcmul(shift, lines, scale)
    return lines.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def augment(images_BCHW: Tensor, method: str, generator: torch.Generator) -> Tensor:
    """Apply a random augmentation to each image of a batch.

    Args:
        images_BCHW: Normalised images in channels_last memory format.
        method: none; hflip (horizontal flip with probability 1/2); hvflip (also a vertical flip with probability 1/2);
            crop_hflip (random shift by up to 1/8 of the side, 4 pixels at 32, then hflip); crop_hflip_cutout (also a
            square of 1/4 of the side, 8 pixels at 32, erased around a random centre). Empty areas are filled with 0,
            which is the mean colour under global and channel normalisation.
        generator: A CPU generator, so that the augmentation is the same on every device. How far it advances depends
            only on the method and B.

    Returns:
        Images of shape (B, C, H, W) in channels_last memory format.

    Raises:
        DataError: The method is unknown.
    """
    if method not in METHODS:
        raise DataError(f"augment must be one of {', '.join(METHODS)}, got {method!r}")
    for step in METHODS[method]:
        images_BCHW = step(images_BCHW, generator)
    return images_BCHW


def _flip(images_BCHW: Tensor, dim: int, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(images_BCHW), generator=generator) < 0.5
    chosen = chosen.to(images_BCHW.device, non_blocking=True).reshape(-1, 1, 1, 1)
    return torch.where(chosen, images_BCHW.flip(dim), images_BCHW)


def _hflip(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    return _flip(images_BCHW, 3, generator)


def _vflip(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    return _flip(images_BCHW, 2, generator)


def _crop(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Zero-pad each image on all sides and crop it at a random position to its original size."""
    batch, channels, height, width = images_BCHW.shape
    pad_h, pad_w = _share(height, 8), _share(width, 8)
    padded = images_BCHW.new_zeros(batch, height + 2 * pad_h, width + 2 * pad_w, channels)
    padded[:, pad_h : pad_h + height, pad_w : pad_w + width] = images_BCHW.permute(0, 2, 3, 1)
    top = torch.randint(2 * pad_h + 1, (batch,), generator=generator).to(padded.device, non_blocking=True)
    left = torch.randint(2 * pad_w + 1, (batch,), generator=generator).to(padded.device, non_blocking=True)
    # A view of all windows: selecting one per image then copies whole rows.
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    return windows[torch.arange(batch, device=padded.device), top, left].permute(0, 3, 1, 2)


def _cutout(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Erase a random square, possibly partly outside the image (DeVries and Taylor 2017, arXiv:1708.04552)."""
    batch, channels, height, width = images_BCHW.shape
    rows_BH, cols_BW = (
        _stretch(torch.randint(side, (batch, 1), generator=generator), side)
        .to(device=images_BCHW.device, non_blocking=True)
        .to(images_BCHW.dtype)
        for side in (height, width)
    )
    kept = 1 - rows_BH[:, :, None] * cols_BW.repeat_interleave(channels, dim=1)[:, None, :]
    lines = images_BCHW.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    return (lines * kept).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _stretch(centre_B1: Tensor, side: int) -> Tensor:
    """Return a mask (B, side) of the positions along a side that lie within the square."""
    length = _share(side, 4)
    start = centre_B1 - length // 2
    position = torch.arange(side)
    return (position >= start) & (position < start + length)


def _share(side: int, divisor: int) -> int:
    return max(1, side // divisor)


Step = Callable[[Tensor, torch.Generator], Tensor]
METHODS: dict[str, tuple[Step, ...]] = {
    "none": (),
    "hflip": (_hflip,),
    "hvflip": (_hflip, _vflip),
    "crop_hflip": (_crop, _hflip),
    "crop_hflip_cutout": (_crop, _hflip, _cutout),
}
