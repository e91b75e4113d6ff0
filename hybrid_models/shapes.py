"""Shapes by arithmetic, without building a model or importing torch.

Shapes: C channels, H height, W width, L steps of a sequence, F features of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybrid_models.config import ModelConfig

CNN4_CHANNELS = (32, 64, 128, 256)
"""Output channels of the four blocks of `cnn4`."""


def _cnn4_shape(height: int, width: int) -> tuple[int, int, int]:
    for _ in CNN4_CHANNELS:
        # 'same' pooling keeps the odd row or column.
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return CNN4_CHANNELS[-1], height, width


BACKBONE_SHAPES: dict[str, Callable[[int, int], tuple[int, int, int]]] = {"cnn4": _cnn4_shape}
"""Image height and width -> feature map (C, H, W)."""

LAYOUT_SHAPES: dict[str, Callable[[int, int, int, int], tuple[int, int]]] = {
    "flat_scalar": lambda c, h, w, _: (h * w * c, 1),
    "flat_chunk": lambda c, h, w, chunk: (math.ceil(h * w * c / chunk), chunk),
    "single_step": lambda c, h, w, _: (1, h * w * c),
    "positions": lambda c, h, w, _: (h * w, c),
    "rows": lambda c, h, w, _: (h, w * c),
    "cols": lambda c, h, w, _: (w, h * c),
    "channels": lambda c, h, w, _: (c, h * w),
}
"""Feature map C, H, W and chunk -> sequence (L, F)."""


def feature_shape(config: ModelConfig) -> tuple[int, int, int]:
    """Shape (C, H, W) of the map that leaves the backbone; the encoder-decoder keeps it."""
    return BACKBONE_SHAPES[config.backbone](config.input_height, config.input_width)


def sequence_shape(config: ModelConfig) -> tuple[int, int] | None:
    """Shape (L, F) of the sequence that the RNN reads; None without an RNN."""
    if config.layout is None:
        return None
    return LAYOUT_SHAPES[config.layout](*feature_shape(config), config.chunk or 0)


def sequential_steps(config: ModelConfig) -> int:
    """Recurrent steps that cannot run in parallel: length times depth (two directions run side by side)."""
    shape = sequence_shape(config)
    return 0 if shape is None else shape[0] * (config.depth or 0)
