"""Convolutional parts: image -> feature map.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from hybrid_models.config import ModelConfig
from hybrid_models.norm import batch_norm_2d
from hybrid_models.residual import resnet20_stages
from hybrid_models.shapes import BLOCKS, SAME_POOLING, Block, image_shape
from hybrid_models.units import Unit


class Backbone(nn.Sequential):
    """Blocks one after another. Each block's map may be tapped; without a block the image itself is the map."""

    def maps(self, images_BCHW: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) -> themselves, then the map (B, C', H', W') after each block."""
        maps = [images_BCHW]
        for block in self:
            maps.append(block(maps[-1]))
        return maps


def conv_block(
    in_channels: int,
    block: Block,
    *,
    bn_style: str | None,
    norm_first: bool = False,
    dropout: float = 0.0,
    same_pooling: bool = False,
) -> nn.Sequential:
    """3x3 convolutions, then perhaps 2x2 pooling, then dropout.

    Args:
        in_channels: Channels of the map that comes in.
        block: Widths, and whether to pool.
        bn_style: Style of the batch normalisation of each convolution, None for none.
        norm_first: Whether it stands before the ReLU.
        dropout: Share of values dropped at the end.
        same_pooling: Whether pooling keeps an odd row or column (a 1x1 map then stays 1x1).
    """
    parts: list[nn.Module] = []
    for before, after in pairwise((in_channels, *block.widths)):
        norm = None if bn_style is None else batch_norm_2d(after, bn_style)
        parts.append(Unit(nn.Conv2d(before, after, kernel_size=3, padding=1), norm, norm_first=norm_first))
    if block.pool:
        parts.append(nn.MaxPool2d(2, ceil_mode=same_pooling))
    if dropout:
        parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


def make_backbone(config: ModelConfig) -> Backbone:
    """Assemble what `config.backbone` names; it takes a map of `shapes.image_shape`."""
    in_channels = image_shape(config)[0]
    if config.backbone == "none":
        return Backbone()
    if config.backbone == "resnet20":
        return Backbone(*resnet20_stages(in_channels, config.shortcut, config.bn_style))
    blocks = BLOCKS[config.backbone](config)
    channels = (in_channels, *(block.widths[-1] for block in blocks))
    return Backbone(
        *(
            conv_block(
                before,
                block,
                bn_style=config.bn_style if config.cnn_bn else None,
                norm_first=config.bn_order == "before_relu",
                dropout=config.cnn_dropout or 0.0,
                same_pooling=config.backbone in SAME_POOLING,
            )
            for before, block in zip(channels, blocks, strict=False)
        )
    )
