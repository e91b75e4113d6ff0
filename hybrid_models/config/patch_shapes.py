"""Shapes of patch readers by arithmetic, without torch.

Shapes: C channels, H height, W width, L steps of a sequence, F features of a step.
"""

from __future__ import annotations

GATES = {"rnn_tanh": 1, "irnn": 1, "gru": 3, "lstm": 4, "convlstm": 4}
"""Cells that read patches -> their gates."""

MapShape = tuple[int, int, int]
"""C, H and W."""


def patch_fault(map_shape: MapShape, patch: int, depth: int = 1) -> str | None:
    """Why a map cannot be cut into patches, or None. Maps are not padded.

    Args:
        map_shape: C, H and W.
        patch: Side of a patch.
        depth: ReNet layers, each of which divides the sides by `patch`; 1 for a patch RNN of any depth.
    """
    _, height, width = map_shape
    for layer in range(1, depth + 1):
        where = f"the {height}x{width} map" + (f" that layer {layer} reads" if depth > 1 else "")
        if min(height, width) < patch:
            return f"{where} is smaller than a patch of {patch}x{patch}"
        if height % patch or width % patch:
            return f"{where} does not divide into patches of {patch}x{patch}"
        height, width = height // patch, width // patch
    return None


def patch_sequence(map_shape: MapShape, patch: int, *, raster: bool) -> tuple[int, int]:
    """Sequence (L, F) that a patch RNN reads: a column of patches, or with `raster` the whole grid of them."""
    channels, height, width = map_shape
    num_rows, num_columns = height // patch, width // patch
    return num_rows * num_columns if raster else num_rows, patch * patch * channels


def patch_width(cell: str, map_shape: MapShape, patch: int, nodes: int, *, raster: bool) -> int:
    """Features of a patch RNN: final states of both directions, of every column or of the one sequence."""
    num_columns = 1 if raster else map_shape[2] // patch
    state_size = nodes * patch * patch if cell == "convlstm" else nodes
    return num_columns * 2 * state_size


def patch_steps(map_shape: MapShape, patch: int, depth: int, *, raster: bool) -> int:
    """Recurrent steps of a patch RNN that cannot run in parallel."""
    return depth * patch_sequence(map_shape, patch, raster=raster)[0]


def renet_shape(map_shape: MapShape, patch: int, nodes: int, depth: int) -> MapShape:
    """Map (C, H, W) that leaves `depth` ReNet layers."""
    _, height, width = map_shape
    return 2 * nodes, height // patch**depth, width // patch**depth


def renet_steps(map_shape: MapShape, patch: int, depth: int) -> int:
    """Recurrent steps of a ReNet that cannot run in parallel: down every layer's grid, then across it."""
    _, height, width = map_shape
    return sum(height // patch**layer + width // patch**layer for layer in range(1, depth + 1))
