"""Computes the shapes of layers that read patches. Imports no torch.

Shapes: C channels, H height, W width, L steps of a sequence, F features of a step.
"""

from __future__ import annotations

GATES = {"rnn_tanh": 1, "irnn": 1, "gru": 3, "lstm": 4, "convlstm": 4}
"""Cell that reads patches -> number of gates."""

MapShape = tuple[int, int, int]
"""C, H and W."""


def patch_fault(map_shape: MapShape, patch: int, depth: int = 1) -> str | None:
    """Return why a map cannot be divided into patches, or None. Maps are not padded.

    Args:
        map_shape: C, H and W.
        patch: Side of a patch.
        depth: Number of ReNet layers, each of which divides the sides by `patch`; 1 for a patch RNN.
    """
    _, height, width = map_shape
    for layer in range(1, depth + 1):
        where = f"the {height}x{width} map" + (f" that layer {layer} reads" if depth > 1 else "")
        if min(height, width) < patch:
            return f"{where} is smaller than a patch of {patch}x{patch}"
        if height % patch or width % patch:
            return f"{where} cannot be divided into patches of {patch}x{patch}"
        height, width = height // patch, width // patch
    return None


def patch_sequence(map_shape: MapShape, patch: int, *, raster: bool) -> tuple[int, int]:
    """Return the shape (L, F) of a patch RNN's sequence: a column of patches, or the whole grid with `raster`."""
    channels, height, width = map_shape
    num_rows, num_columns = height // patch, width // patch
    return num_rows * num_columns if raster else num_rows, patch * patch * channels


def patch_width(cell: str, map_shape: MapShape, patch: int, nodes: int, *, raster: bool) -> int:
    """Return the width of a patch RNN's output: final states of both directions of every sequence."""
    num_columns = 1 if raster else map_shape[2] // patch
    state_size = nodes * patch * patch if cell == "convlstm" else nodes
    return num_columns * 2 * state_size


def patch_steps(map_shape: MapShape, patch: int, depth: int, *, raster: bool) -> int:
    """Return the number of sequential recurrent steps of a patch RNN."""
    return depth * patch_sequence(map_shape, patch, raster=raster)[0]


def renet_shape(map_shape: MapShape, patch: int, nodes: int, depth: int) -> MapShape:
    """Return the shape (C, H, W) of the output of `depth` ReNet layers."""
    _, height, width = map_shape
    return 2 * nodes, height // patch**depth, width // patch**depth


def renet_steps(map_shape: MapShape, patch: int, depth: int) -> int:
    """Return the number of sequential recurrent steps of a ReNet: rows plus columns of every layer's grid."""
    _, height, width = map_shape
    return sum(height // patch**layer + width // patch**layer for layer in range(1, depth + 1))
