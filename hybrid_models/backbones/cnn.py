"""Backbones: chains of convolution blocks from an image to a feature map.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from hybrid_models.backbones.residual import resnet20_stages
from hybrid_models.config.model import ModelConfig
from hybrid_models.config.shapes import BLOCKS, SAME_POOLING, TAPS, Block, image_shape
from hybrid_models.layers.norm import batch_norm_2d
from hybrid_models.layers.units import Unit


class Backbone(nn.ModuleList):
    """A sequence of blocks that also returns intermediate maps; without a block, the image is the feature map.

    Args:
        blocks: The blocks, applied in order.
        tapped: Selects the blocks whose maps are returned in addition to the last map.
    """

    def __init__(self, blocks: Iterable[nn.Module], tapped: slice | None = None) -> None:
        super().__init__(blocks)
        self.tapped = frozenset(range(len(self))[tapped]) if tapped is not None else frozenset()

    def forward(self, map_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the feature map (B, C', H', W') of images (B, C, H, W), and the tapped maps in order."""
        taps = []
        for index, block in enumerate(self):
            map_BCHW = block(map_BCHW)
            if index in self.tapped:
                taps.append(map_BCHW)
        return map_BCHW, taps


def make_backbone(config: ModelConfig) -> Backbone:
    """Build the backbone that `config.backbone` names; its input has the shape `shapes.image_shape(config)`."""
    tapped = None if config.taps is None else TAPS[config.taps]
    return Backbone(_blocks(config), tapped)


def _blocks(config: ModelConfig) -> list[nn.Sequential]:
    in_channels = image_shape(config)[0]
    if config.backbone == "resnet20":
        return resnet20_stages(in_channels, config.shortcut, config.bn_style)
    if config.backbone not in BLOCKS:
        return []
    return conv_blocks(
        in_channels,
        BLOCKS[config.backbone](config),
        bn_style=config.bn_style if config.cnn_bn else None,
        norm_first=config.bn_order == "before_relu",
        dropout=config.cnn_dropout or 0.0,
        same_pooling=config.backbone in SAME_POOLING,
    )


def conv_blocks(
    in_channels: int,
    blocks: Sequence[Block],
    *,
    bn_style: str | None,
    norm_first: bool = False,
    dropout: float = 0.0,
    same_pooling: bool = False,
) -> list[nn.Sequential]:
    """Build blocks of 3x3 convolutions, optional 2x2 max pooling, and dropout.

    Args:
        in_channels: Channels of the input map.
        blocks: Channels of the convolutions of each block, and whether it pools.
        bn_style: Style of the batch normalisation after each convolution; None for no normalisation.
        norm_first: Whether normalisation precedes the ReLU.
        dropout: Probability of dropping a value at the end of each block.
        same_pooling: Whether pooling keeps an odd last row or column, so that a 1x1 map remains 1x1.
    """
    made = []
    for block in blocks:
        parts: list[nn.Module] = []
        for width in block.widths:
            conv = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
            norm = None if bn_style is None else batch_norm_2d(width, bn_style)
            parts.append(Unit(conv, norm, norm_first=norm_first))
            in_channels = width
        if block.pool:
            parts.append(nn.MaxPool2d(2, ceil_mode=same_pooling))
        if dropout:
            parts.append(nn.Dropout(dropout))
        made.append(nn.Sequential(*parts))
    return made
