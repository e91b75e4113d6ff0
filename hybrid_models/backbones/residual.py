"""ResNet-20, the residual network for CIFAR-10 with 20 layers.

Shapes: B batch, C channels, H height, W width.

Reference: He, Zhang, Ren, Sun (2016), section 4.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_models.config.shapes import RESNET20_BLOCKS, RESNET20_WIDTHS
from hybrid_models.layers.norm import batch_norm_2d
from hybrid_models.layers.units import Unit


class ZeroPad(nn.Module):
    """Shortcut A: take every other row and column, and add channels of zeros.

    Args:
        num_new: Number of channels to add after the existing ones.
    """

    def __init__(self, num_new: int) -> None:
        super().__init__()
        self.num_new = num_new

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C + num_new, ceil(H/2), ceil(W/2))."""
        return F.pad(map_BCHW[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.num_new))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; normalisation precedes each ReLU, and the last ReLU follows the sum.

    Args:
        in_channels: Channels of the input map.
        out_channels: Channels of the output map; if they differ from `in_channels`, the sides are halved.
        shortcut: A, B or keras; see `ModelConfig.shortcut`.
        bn_style: Style of the batch normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, shortcut: str, bn_style: str) -> None:
        super().__init__()
        stride, bias = (1 if in_channels == out_channels else 2), shortcut == "keras"
        self.first = _conv_unit(in_channels, out_channels, bn_style, stride=stride, bias=bias)
        self.second = _conv_unit(out_channels, out_channels, bn_style, bias=bias, relu=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2 and shortcut == "A":
            self.shortcut = ZeroPad(out_channels - in_channels)
        elif stride == 2:
            projection = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=bias)
            norm = batch_norm_2d(out_channels, bn_style) if shortcut == "B" else None
            self.shortcut = Unit(projection, norm, relu=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H', W'), where H' is H or ceil(H/2)."""
        return torch.relu(self.second(self.first(map_BCHW)) + self.shortcut(map_BCHW))


def _conv_unit(before: int, after: int, bn_style: str, *, stride: int = 1, bias: bool, relu: bool = True) -> Unit:
    conv = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=bias)
    return Unit(conv, batch_norm_2d(after, bn_style), norm_first=True, relu=relu)


def resnet20_stages(in_channels: int, shortcut: str, bn_style: str) -> list[nn.Sequential]:
    """Build the three stages of three blocks; the first starts with a convolution, the others halve the sides."""
    stages: list[nn.Sequential] = []
    channels = RESNET20_WIDTHS[0]
    stem = _conv_unit(in_channels, channels, bn_style, bias=shortcut == "keras")
    for width in RESNET20_WIDTHS:
        before = [channels, *[width] * (RESNET20_BLOCKS - 1)]
        blocks: list[nn.Module] = [ResidualBlock(channels, width, shortcut, bn_style) for channels in before]
        stages.append(nn.Sequential(*blocks) if stages else nn.Sequential(stem, *blocks))
        channels = width
    return stages
