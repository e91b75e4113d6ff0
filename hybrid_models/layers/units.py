"""A layer with activation and batch normalisation, the unit of CNNs and encoder-decoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Unit(nn.Module):
    """A convolution or dense layer with ReLU and batch normalisation.

    Args:
        layer: The convolution or dense layer.
        norm: The normalisation; None for no normalisation.
        norm_first: Whether normalisation precedes the ReLU.
        relu: Whether the unit has a ReLU.
    """

    def __init__(
        self, layer: nn.Module, norm: nn.Module | None = None, *, norm_first: bool = False, relu: bool = True
    ) -> None:
        super().__init__()
        self.layer = layer
        self.norm = nn.Identity() if norm is None else norm
        self.norm_first, self.relu = norm_first, relu

    def forward(self, values: Tensor) -> Tensor:
        """Apply the unit to maps or vectors; shapes are those of `layer`."""
        out: Tensor = self.layer(values)
        if self.norm_first:
            out = self.norm(out)
        if self.relu:
            out = torch.relu(out)
        return out if self.norm_first else self.norm(out)
