"""Layouts, from a feature map to a sequence, and pooling heads, from a feature map to a vector.

Shapes: B batch, C channels, H height, W width, L steps, F features of a step, D = H * W * C.
Maps are flattened in (h, w, c) order as in Keras; in channels-last memory this is a view.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_models.config.patch_shapes import MapShape
from hybrid_models.config.shapes import LAYOUT_SHAPES, volume


class Flatten(nn.Module):
    """Flatten a map to a vector in (h, w, c) order.

    Args:
        shape: C, H and W of the map.
    """

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.size = volume(shape)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, D)."""
        return map_BCHW.permute(0, 2, 3, 1).reshape(-1, self.size)


class GlobalPool(nn.Module):
    """Average a map over all positions."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C)."""
        return map_BCHW.mean(dim=(2, 3))


_ORDERS: dict[str, tuple[int, int, int, int]] = {
    "rows": (0, 2, 3, 1),
    "cols": (0, 3, 2, 1),
    "channels": (0, 1, 2, 3),
}
"""Layout -> order of the map's axes; (h, w, c) for all others."""


class Layout(nn.Module):
    """Rearrange a map into a sequence of shape (L, F), the attribute `shape`.

    Args:
        name: A key of `shapes.LAYOUT_SHAPES`.
        map_shape: C, H and W of the map.
        chunk: Features per step of the layout flat_chunk.
    """

    def __init__(self, name: str, map_shape: MapShape, chunk: int | None = None) -> None:
        super().__init__()
        self.name = name
        self.order = _ORDERS.get(name, (0, 2, 3, 1))
        self.shape = LAYOUT_SHAPES[name](*map_shape, chunk or 0)
        size = volume(map_shape)
        self.size, self.padding = size, self.shape[0] * self.shape[1] - size

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to a sequence (B, L, F); an incomplete last chunk is padded with zeros."""
        flat_BD = map_BCHW.permute(*self.order).reshape(-1, self.size)
        if self.padding:
            flat_BD = F.pad(flat_BD, (0, self.padding))
        return flat_BD.reshape(-1, *self.shape)


POOL_HEADS: dict[str, Callable[[MapShape], tuple[nn.Module, int]]] = {
    "flatten": lambda shape: (Flatten(shape), volume(shape)),
    "gap": lambda shape: (GlobalPool(), shape[0]),
}
"""Pooling head -> function from a map's shape to the module and the width of its vector."""
