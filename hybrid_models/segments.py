"""The tsn family: a shared CNN over strips of the image, whose class scores are averaged. No recurrence.

Shapes: B batch, S strips, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybrid_models.backbones.cnn import Backbone, conv_blocks
from hybrid_models.config.model import ModelConfig
from hybrid_models.config.shapes import BLOCKS, STRIPS
from hybrid_models.layers.heads import Head
from hybrid_models.layers.layouts import GlobalPool

DROPOUT = 0.5
"""Dropout probability before the class scores; our choice, as the paper gives none."""


class SegmentConsensus(nn.Module):
    """A cnn6 with normalisation, shared by three overlapping strips of half the image's height.

    Create it with `build`, which also initialises the weights.

    Args:
        config: A configuration of the family tsn.

    Reference:
        Wang et al. (2016), average consensus over three segments of a video.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        blocks = BLOCKS["cnn6"](config)
        self.backbone = Backbone(conv_blocks(config.input_channels, blocks, bn_style=config.bn_style))
        self.pool = GlobalPool()
        self.head = Head(blocks[-1].widths[-1], (), DROPOUT, config.num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Compute logits (B, K) from normalised images (B, C, H, W)."""
        map_BCHW, _ = self.backbone(torch.cat(strips(images_BCHW)))
        scores_BK: Tensor = self.head(self.pool(map_BCHW))
        return scores_BK.reshape(STRIPS, -1, scores_BK.shape[1]).mean(dim=0)


def strips(images_BCHW: Tensor) -> list[Tensor]:
    """Return the top, middle and bottom strips (B, C, H // 2, W) of images; of 32 rows: 0-15, 8-23, 16-31."""
    height = images_BCHW.shape[2]
    length = height // 2
    starts = [index * (height - length) // (STRIPS - 1) for index in range(STRIPS)]
    return [images_BCHW[:, :, start : start + length] for start in starts]
