"""A trained model combined with its preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Deployed(nn.Module):
    """A module from uint8 images to class probabilities.

    Args:
        model: The trained model.
        mean: Mean of each channel; pixels are normalised as (pixel / 255 - mean) / std.
        std: Standard deviation of each channel.
        image_size: Height and width of the images; None: as the model's `config` says.
    """

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        config: Any = getattr(model, "config", None)
        self.image_size = image_size or (config.input_height, config.input_width)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))

    def forward(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        """Compute class probabilities of a batch of images.

        Args:
            pixels_BHWC: uint8 RGB images, (B, H, W, 3).

        Returns:
            Class probabilities, (B, num_classes).
        """
        images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() / 255
        logits_BC: torch.Tensor = self.model((images_BCHW - self.mean) / self.std)
        return logits_BC.softmax(dim=1)
