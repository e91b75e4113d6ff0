"""Recurrences over patches of a map: the patch RNN (Yin et al. 2019) and ReNet (Visin et al. 2015).

Shapes: B batch, C channels, H height, W width, I and J rows and columns of patches, P side of a patch, L steps,
F = P * P * C features of a patch in the order (h, w, c), N features of a state, D width of a vector.
"""

from __future__ import annotations

from torch import Tensor, nn

from hybrid_models.config.patch_shapes import GATES, MapShape, patch_fault, patch_sequence, patch_width, renet_shape
from hybrid_models.layers.conv_lstm import ConvLSTM
from hybrid_models.layers.norm import batch_norm_1d
from hybrid_models.layers.recurrent import Recurrence


class PatchRNN(nn.Module):
    """A bidirectional recurrence over the patches of a map, which returns its final states.

    Each column of patches is a sequence from top to bottom; all columns share weights (Yin et al. 2019, eq. 1 and 2).
    The output concatenates the columns, each with its forward and its backward state. States of a ConvLSTM are
    flattened in (h, w, c) order, so that both directions are adjacent at each position.

    Args:
        cell: A key of `patch_shapes.GATES`.
        map_shape: C, H and W.
        patch: Side of a patch; divides H and W.
        nodes: Width of the state of one direction; for a ConvLSTM, its channels.
        depth: Number of recurrent layers; each but the last passes its whole sequence on.
        raster: Whether to read all patches, row by row, as one sequence instead of columns.
        peephole: Peephole variant of a ConvLSTM; see `conv_lstm.PEEPHOLES`.
        bn_style: A key of `norm.BN_STYLES` to normalise the output; None for no normalisation.

    Raises:
        ValueError: The cell cannot read patches, or `patch` does not divide the map.
    """

    def __init__(
        self,
        cell: str,
        map_shape: MapShape,
        patch: int,
        nodes: int,
        *,
        depth: int = 1,
        raster: bool = False,
        peephole: str | None = None,
        bn_style: str | None = None,
    ) -> None:
        super().__init__()
        _check(cell, map_shape, patch)
        self.patch, self.raster, self.frame = patch, raster, (map_shape[0], patch, patch)
        self.width = patch_width(cell, map_shape, patch, nodes, raster=raster)
        self.shape = patch_sequence(map_shape, patch, raster=raster)
        self.recurrence: Recurrence | ConvLSTM
        if cell == "convlstm":
            self.recurrence = ConvLSTM(
                map_shape[0],
                nodes,
                frame_size=(patch, patch),
                peephole=peephole or "none",
                depth=depth,
                bidirectional=True,
            )
        else:
            self.recurrence = Recurrence(cell, self.shape[1], nodes, depth, bidirectional=True)
        self.norm = None if bn_style is None else batch_norm_1d(self.width, bn_style)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to vectors (B, D)."""
        patches_BIJPPC = cut(map_BCHW, self.patch)
        if not self.raster:
            patches_BIJPPC = patches_BIJPPC.transpose(1, 2)  # patches of a column become consecutive
        if isinstance(self.recurrence, ConvLSTM):
            frames = patches_BIJPPC.permute(0, 1, 2, 5, 3, 4).reshape(-1, self.shape[0], *self.frame)
            final = self.recurrence.final(frames).permute(0, 2, 3, 1)
        else:
            final = self.recurrence.scan(patches_BIJPPC.reshape(-1, *self.shape))[1]
        feats_BD = final.reshape(-1, self.width)
        return feats_BD if self.norm is None else self.norm(feats_BD)


class ReNet(nn.Module):
    """ReNet layers: bidirectional recurrences along columns of patches, then along rows (Visin et al. 2015, section 2).

    Each layer divides the sides of its input by `patch` and returns 2 * nodes channels.

    Args:
        cell: A key of `patch_shapes.GATES` other than convlstm.
        map_shape: C, H and W.
        patch: Side of a patch; divides the sides of every layer's input.
        nodes: Width of the state of one direction.
        depth: Number of layers.

    Raises:
        ValueError: The cell cannot read vectors, or `patch` does not divide a layer's input.
    """

    def __init__(self, cell: str, map_shape: MapShape, patch: int, nodes: int, *, depth: int = 1) -> None:
        super().__init__()
        _check(cell, map_shape, patch, depth, without="convlstm")
        self.patch = patch
        self.shape = renet_shape(map_shape, patch, nodes, depth)
        channels = [map_shape[0], *[2 * nodes] * (depth - 1)]
        widths = [patch * patch * c for c in channels]
        self.vertical = nn.ModuleList(Recurrence(cell, f, nodes, 1, bidirectional=True) for f in widths)
        self.horizontal = nn.ModuleList(Recurrence(cell, 2 * nodes, nodes, 1, bidirectional=True) for _ in widths)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 2 * nodes, H / patch**depth, W / patch**depth) in channels-last memory."""
        for vertical, horizontal in zip(self.vertical, self.horizontal, strict=True):
            columns_BJIF = cut(map_BCHW, self.patch).transpose(1, 2).flatten(3)
            rows_BIJN = _sweep(vertical, columns_BJIF).transpose(1, 2)
            map_BCHW = _sweep(horizontal, rows_BIJN).permute(0, 3, 1, 2)
        return map_BCHW


def cut(map_BCHW: Tensor, patch: int) -> Tensor:
    """Return a view of a map (B, C, H, W) as patches (B, I, J, P, P, C): grid rows and columns, then (h, w, c)."""
    num_channels, height, width = map_BCHW.shape[1:]
    grid_BCIPJP = map_BCHW.view(-1, num_channels, height // patch, patch, width // patch, patch)
    return grid_BCIPJP.permute(0, 2, 4, 3, 5, 1)


def _sweep(recurrence: nn.Module, lines: Tensor) -> Tensor:
    """Run a recurrence over every line of a grid, from (B, lines, L, F) to (B, lines, L, N)."""
    states, _ = recurrence(lines.reshape(-1, *lines.shape[2:]))
    swept: Tensor = states.view(-1, *lines.shape[1:3], states.shape[-1])
    return swept


def _check(cell: str, map_shape: MapShape, patch: int, depth: int = 1, without: str | None = None) -> None:
    cells = [name for name in GATES if name != without]
    if cell not in cells:
        raise ValueError(f"cell must be one of {', '.join(cells)}, got {cell!r}")
    if fault := patch_fault(map_shape, patch, depth):
        raise ValueError(f"{fault}; choose another patch")
