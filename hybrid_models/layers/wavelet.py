"""A one-level Haar wavelet filter.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Haar(nn.Module):
    """One level of the orthonormal Haar transform, equal to PyWavelets' `dwt2(image, "haar")`.

    Args:
        all_bands: Whether to return the horizontal, vertical and diagonal details after the low-pass band, each with
            all channels of the image (PyWavelets' cA, cH, cV, cD).
    """

    def __init__(self, all_bands: bool) -> None:
        super().__init__()
        self.all_bands = all_bands

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C or 4C, ceil(H/2), ceil(W/2)); an odd last row or column is repeated."""
        height, width = images_BCHW.shape[2:]
        if height % 2 or width % 2:
            images_BCHW = F.pad(images_BCHW, (0, width % 2, 0, height % 2), mode="replicate")
        upper, lower = images_BCHW[:, :, 0::2], images_BCHW[:, :, 1::2]
        low, high = (upper + lower) / 2, (upper - lower) / 2
        smooth = low[..., 0::2] + low[..., 1::2]
        if not self.all_bands:
            return smooth
        horizontal = high[..., 0::2] + high[..., 1::2]
        vertical, diagonal = low[..., 0::2] - low[..., 1::2], high[..., 0::2] - high[..., 1::2]
        return torch.cat((smooth, horizontal, vertical, diagonal), dim=1)
