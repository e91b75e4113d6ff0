"""Convolutional parts: image -> feature map.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from hybrid_models.config import ModelConfig
from hybrid_models.norm import batch_norm_2d
from hybrid_models.shapes import CNN4_CHANNELS


class ConvBlock(nn.Module):
    """3x3 convolution, ReLU, batch normalisation, 2x2 pooling, dropout.

    Args:
        in_channels: Channels of the map that comes in.
        out_channels: Channels of the map that goes out.
        bn_style: Style of the batch normalisation, None for none.
        dropout: Share of values dropped after pooling.
    """

    def __init__(self, in_channels: int, out_channels: int, bn_style: str | None, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm = batch_norm_2d(out_channels, bn_style) if bn_style is not None else nn.Identity()
        # 'same' pooling: an odd row or column is kept, a 1x1 map stays 1x1.
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.drop = nn.Dropout(dropout)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) -> (B, out_channels, ceil(H/2), ceil(W/2))."""
        out: Tensor = self.drop(self.pool(self.norm(torch.relu(self.conv(map_BCHW)))))
        return out


def make_cnn4(config: ModelConfig) -> nn.Module:
    """Four blocks of 32, 64, 128 and 256 channels.

    Reference: Woo, Kim, Choi (2023), Table 1, rows 1-13. ReLU is not in the table; it sits inside the convolutions.
    """
    bn_style = config.bn_style if config.cnn_bn else None
    widths = (config.input_channels, *CNN4_CHANNELS)
    return nn.Sequential(
        *(
            ConvBlock(in_channels, out_channels, bn_style, config.cnn_dropout)
            for in_channels, out_channels in pairwise(widths)
        )
    )


BACKBONES: dict[str, Callable[[ModelConfig], nn.Module]] = {"cnn4": make_cnn4}
"""Name -> maker. The map's shape stands in `shapes.BACKBONE_SHAPES`."""
