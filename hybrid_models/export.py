"""Model -> a program that runs without this package."""

from __future__ import annotations

import copy
import warnings

import torch

from hybrid_models.classifier import HybridClassifier


def export_program(model: HybridClassifier) -> torch.export.ExportedProgram:
    """Trace a model for any batch size from 1.

    Tracing runs each recurrent step once (torch infers shapes step by step): about half a minute for 1,024 steps in two
    directions.

    Args:
        model: Left as it is; the program evaluates (no dropout, running statistics).

    Returns:
        Program of images (B, C, H, W) -> logits (B, num_classes).
    """
    config = model.config
    # Without gradients to prepare, tracing takes about half the time.
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    weight = next(frozen.parameters())
    images_BCHW = weight.new_zeros(2, config.input_channels, config.input_height, config.input_width)
    with warnings.catch_warnings():
        # torch's RNNs keep a plain list of their own parameters; tracing it is harmless.
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights", category=UserWarning)
        return torch.export.export(
            frozen, (images_BCHW,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
        )
