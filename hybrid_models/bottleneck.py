"""Encoder-decoder between CNN and RNN.

Shapes: B batch, C channels, H height, W width, D = H * W * C.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from hybrid_models.layouts import Flatten
from hybrid_models.norm import batch_norm_1d


class DenseBlock(nn.Module):
    """Dense layer, ReLU, batch normalisation.

    Args:
        in_features: Width of the vector that comes in.
        out_features: Width of the vector that goes out.
        bn_style: Style of the batch normalisation, None for none.
    """

    def __init__(self, in_features: int, out_features: int, bn_style: str | None) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, out_features)
        self.norm = batch_norm_1d(out_features, bn_style) if bn_style is not None else nn.Identity()

    def forward(self, feats_BD: Tensor) -> Tensor:
        """Vector (B, in_features) -> (B, out_features)."""
        out: Tensor = self.norm(torch.relu(self.dense(feats_BD)))
        return out


class Bottleneck(nn.Module):
    """Dense layers down to a code and up again, over the whole flattened map.

    Widths are code * 2^(depth-1), ..., code, and mirrored back; the last is D, so the map keeps its shape.

    Args:
        map_shape: C, H and W of the map.
        depth: Dense layers down to the code.
        code: Width of the code.
        bn_style: Style of the batch normalisation, None for none.

    Reference:
        Woo, Kim, Choi (2023), Table 1, rows 15-22.
    """

    def __init__(self, map_shape: tuple[int, int, int], depth: int, code: int, bn_style: str | None) -> None:
        super().__init__()
        self.map_shape = map_shape
        self.flatten = Flatten(map_shape)
        size = self.flatten.size
        down = [code * 2 ** (depth - 1 - index) for index in range(depth)]
        widths = [size, *down, *down[-2::-1], size]
        self.layers = nn.Sequential(*(DenseBlock(before, after, bn_style) for before, after in pairwise(widths)))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) -> map of the same shape, its memory channels-last."""
        channels, height, width = self.map_shape
        feats_BD = self.layers(self.flatten(map_BCHW))
        out: Tensor = feats_BD.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        return out
