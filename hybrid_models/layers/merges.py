"""Merges: combine CNN and RNN features into the head's input, a vector of `width` values.

Shapes: B batch, C channels, H height, W width, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hybrid_models.config.model import ModelConfig
from hybrid_models.config.shapes import feature_shape, tap_shapes
from hybrid_models.layers.layouts import POOL_HEADS
from hybrid_models.layers.readers import make_patch_reader, make_reader


class Pooled(nn.Module):
    """Features of the CNN only."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.pool_head is not None
        self.pool, self.width = POOL_HEADS[config.pool_head](feature_shape(config))

    def forward(self, map_BCHW: Tensor, taps: list[Tensor]) -> Tensor:  # noqa: ARG002
        """Compute vectors (B, D) from a feature map (B, C, H, W)."""
        out: Tensor = self.pool(map_BCHW)
        return out


class Serial(nn.Module):
    """Features of an RNN that reads the CNN's map."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reader = make_reader(config)
        self.width = self.reader.width

    def forward(self, map_BCHW: Tensor, taps: list[Tensor]) -> Tensor:  # noqa: ARG002
        """Compute vectors (B, D), or (B, L, D) with readout per_step, from a feature map (B, C, H, W)."""
        out: Tensor = self.reader(map_BCHW)
        return out


class Sum(nn.Module):
    """Sum of the RNN's vector and a dense projection of the CNN's vector.

    Reference: Yilmaz et al., model 3 ("skip").
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reader = make_reader(config)
        self.pooled = Pooled(config)
        self.width = self.reader.width
        self.branch = nn.Linear(self.pooled.width, self.width)
        self.relu = config.sum_branch == "relu"

    def forward(self, map_BCHW: Tensor, taps: list[Tensor]) -> Tensor:
        """Compute vectors (B, D) from a feature map (B, C, H, W)."""
        branch_BD: Tensor = self.branch(self.pooled(map_BCHW, taps))
        if self.relu:
            branch_BD = torch.relu(branch_BD)
        out: Tensor = self.reader(map_BCHW) + branch_BD
        return out


class Concat(nn.Module):
    """Concatenation of the CNN's and the RNN's vectors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reader = make_reader(config)
        self.pooled = Pooled(config)
        self.width = self.pooled.width + self.reader.width

    def forward(self, map_BCHW: Tensor, taps: list[Tensor]) -> Tensor:
        """Compute vectors (B, D) from a feature map (B, C, H, W)."""
        return torch.cat((self.pooled(map_BCHW, taps), self.reader(map_BCHW)), dim=1)


class Taps(nn.Module):
    """Concatenation of the CNN's vector and the vectors of patch RNNs over its intermediate maps.

    Reference: Yin, Zhang, Shao (2019), Fig. 1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        readers = [make_patch_reader(config, shape) for shape in tap_shapes(config)]
        self.readers = nn.ModuleList(readers)
        self.pooled = Pooled(config)
        self.width = self.pooled.width + sum(reader.width for reader in readers)

    def forward(self, map_BCHW: Tensor, taps: list[Tensor]) -> Tensor:
        """Compute vectors (B, D) from a feature map (B, C, H, W) and the tapped maps."""
        read = [reader(tap_BCHW) for reader, tap_BCHW in zip(self.readers, taps, strict=True)]
        return torch.cat((self.pooled(map_BCHW, taps), *read), dim=1)


MERGES: dict[str, Callable[[ModelConfig], Pooled | Serial | Sum | Concat | Taps]] = {
    "none": Pooled,
    "serial": Serial,
    "sum": Sum,
    "concat": Concat,
    "taps": Taps,
}
"""Value of `merge`, or none -> class of the module."""
