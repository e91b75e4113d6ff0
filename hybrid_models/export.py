"""Exports a model as a program that runs without this package."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn


def export_program(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Trace a model with `torch.export` for any batch size.

    Tracing runs each recurrent step once to infer shapes, which takes 15 to 30 seconds for 1,024 bidirectional steps.

    Args:
        model: The model, which is left unchanged. The program runs in evaluation mode.
        example: Input with at least two images in its first dimension; a size of one would become fixed.

    Returns:
        A program with the model's input and output, for batches of any size.
    """
    # Tracing is faster without gradients.
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    with warnings.catch_warnings():
        # torch's RNNs keep a plain list of their own parameters; tracing it is harmless.
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights", category=UserWarning)
        batch = torch.export.Dim("batch", min=1)
        return torch.export.export(frozen, (example,), dynamic_shapes=({0: batch},), strict=False)
