"""The dense encoder-decoder between CNN and RNN.

Shapes: B batch, C channels, H height, W width, D = H * W * C.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from hybrid_models.config.model import ModelConfig
from hybrid_models.config.patch_shapes import MapShape
from hybrid_models.config.shapes import encoder_widths, feature_shape
from hybrid_models.layers.layouts import Flatten
from hybrid_models.layers.norm import batch_norm_1d
from hybrid_models.layers.units import Unit


class Bottleneck(nn.Module):
    """An encoder-decoder of dense layers over the flattened map.

    Its widths are code * 2^(depth-1), ..., code, and mirrored back; the last is D, so that the map keeps its shape.

    Args:
        map_shape: C, H and W of the map.
        depth: Number of dense layers from the map to the code.
        code: Width of the code.
        bn_style: Style of the batch normalisation of each layer; None for no normalisation.
        norm_first: Whether normalisation precedes the ReLU.
        relu_output: Whether the last layer has a ReLU.

    Reference:
        Woo, Kim, Choi (2023), Table 1, rows 15-22.
    """

    def __init__(
        self,
        map_shape: MapShape,
        depth: int,
        code: int,
        bn_style: str | None,
        *,
        norm_first: bool = False,
        relu_output: bool = True,
    ) -> None:
        super().__init__()
        self.map_shape = map_shape
        self.flatten = Flatten(map_shape)
        size = self.flatten.size
        widths = [size, *encoder_widths(depth, code), size]
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            norm = None if bn_style is None else batch_norm_1d(after, bn_style)
            relu = relu_output or len(self.layers) < len(widths) - 2
            self.layers.append(Unit(nn.Linear(before, after), norm, norm_first=norm_first, relu=relu))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to a map of the same shape in channels-last memory."""
        channels, height, width = self.map_shape
        feats_BD = self.layers(self.flatten(map_BCHW))
        out: Tensor = feats_BD.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        return out


def make_bottleneck(config: ModelConfig) -> nn.Module:
    """Build the encoder-decoder of a configuration, or an identity if it has none."""
    if config.enc_depth is None or config.enc_code is None:
        return nn.Identity()
    return Bottleneck(
        feature_shape(config),
        config.enc_depth,
        config.enc_code,
        config.bn_style if config.enc_bn else None,
        norm_first=config.bn_order == "before_relu",
        relu_output=config.enc_output == "relu",
    )
