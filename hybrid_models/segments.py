"""The tsn family: strips of the image, one shared CNN, mean of the class scores. No recurrence.

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
"""Share of values dropped before the class scores [O]."""


class SegmentConsensus(nn.Module):
    """Overlapping strips of half the image's height (of 32 rows: 0-15, 8-23, 16-31) share one cnn6 with normalisation.

    Args:
        config: Of family tsn. Make it with `build`, which also draws the weights.

    Reference:
        Wang et al. (2016), average consensus over three segments; there of a video.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        blocks = BLOCKS["cnn6"](config)
        self.backbone = Backbone(conv_blocks(config.input_channels, blocks, bn_style=config.bn_style))
        self.pool = GlobalPool()
        self.head = Head(blocks[-1].widths[-1], (), DROPOUT, config.num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W), normalised -> logits (B, K)."""
        map_BCHW, _ = self.backbone(torch.cat(strips(images_BCHW)))
        scores_BK: Tensor = self.head(self.pool(map_BCHW))
        return scores_BK.reshape(STRIPS, -1, scores_BK.shape[1]).mean(dim=0)


def strips(images_BCHW: Tensor) -> list[Tensor]:
    """Images (B, C, H, W) -> top, middle and bottom strip (B, C, H // 2, W)."""
    height = images_BCHW.shape[2]
    length = height // 2
    starts = [index * (height - length) // (STRIPS - 1) for index in range(STRIPS)]
    return [images_BCHW[:, :, start : start + length] for start in starts]
