"""How what the RNN has read joins the CNN's feature map.

Shapes: B batch, C channels, H height, W width, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Serial(nn.Module):
    """The head sees what the RNN has read and nothing else.

    Args:
        read_width: Width of the RNN's vector.
        map_shape: C, H and W of the map.
    """

    def __init__(self, read_width: int, map_shape: tuple[int, int, int]) -> None:  # noqa: ARG002
        super().__init__()
        self.width = read_width

    def forward(self, read_BD: Tensor, map_BCHW: Tensor) -> Tensor:  # noqa: ARG002
        """Vector (B, D) of the RNN and the map (B, C, H, W) -> vector (B, width)."""
        return read_BD


MERGES: dict[str, Callable[[int, tuple[int, int, int]], Serial]] = {"serial": Serial}
"""Name -> maker."""
