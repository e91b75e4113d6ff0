"""Model -> a program that runs without this package."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn


def export_program(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Trace a model for any batch size from 1.

    Tracing runs each recurrent step once, as torch infers shapes step by step: a quarter to half a minute for 1,024
    steps in two directions.

    Args:
        model: Left as it is; the program evaluates (no dropout, running statistics).
        example: Input with at least two images along its first dimension; one would be taken for a fixed size.

    Returns:
        Program of a batch like the example, of any size, to what the model gives for it.
    """
    # Without gradients to prepare, tracing takes less time.
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    with warnings.catch_warnings():
        # torch's RNNs keep a plain list of their own parameters; tracing it is harmless.
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights", category=UserWarning)
        batch = torch.export.Dim("batch", min=1)
        return torch.export.export(frozen, (example,), dynamic_shapes=({0: batch},), strict=False)
