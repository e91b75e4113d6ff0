"""A layer with its activation and batch normalisation: what CNNs and encoder-decoders are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Unit(nn.Module):
    """A convolution or dense layer, ReLU, batch normalisation.

    Args:
        layer: The convolution or dense layer.
        norm: The normalisation, None for none.
        norm_first: Whether it stands before the ReLU.
        relu: Whether there is a ReLU at all.
    """

    def __init__(
        self, layer: nn.Module, norm: nn.Module | None = None, *, norm_first: bool = False, relu: bool = True
    ) -> None:
        super().__init__()
        self.layer = layer
        self.norm = nn.Identity() if norm is None else norm
        self.norm_first, self.relu = norm_first, relu

    def forward(self, values: Tensor) -> Tensor:
        """Map or vector, as the layer takes it -> as the layer gives it."""
        out: Tensor = self.layer(values)
        if self.norm_first:
            out = self.norm(out)
        if self.relu:
            out = torch.relu(out)
        return out if self.norm_first else self.norm(out)
