"""Parameters by two conventions, and the layer table that papers print.

keras_total = torch_trainable + running mean and variance of every batch normalisation
              - the second bias (`bias_hh`) of every LSTM and simple RNN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_models.classifier import HybridClassifier
from hybrid_models.layouts import Flatten, GlobalPool, Layout
from hybrid_models.recurrent import Recurrence
from hybrid_models.shapes import sequential_steps

__all__ = ["keras_total", "layer_table", "sequential_steps", "torch_trainable"]

_ROWS = (nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear, Flatten, GlobalPool, Layout, Recurrence)


def torch_trainable(model: nn.Module) -> int:
    """Values in `model.parameters()`.

    Both biases of a recurrent layer count, whether `init: keras` has frozen the second or not: the number belongs to
    the architecture, not to its initialisation.
    """
    return sum(weight.numel() for weight in model.parameters())


def keras_total(model: nn.Module) -> int:
    """What Keras' `summary()` calls total parameters. GRUs count as `reset_after=True`, the default of TensorFlow 2."""
    total = torch_trainable(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            total += 2 * module.num_features
        elif isinstance(module, nn.LSTM | nn.RNN):
            total -= sum(weight.numel() for name, weight in module.named_parameters() if name.startswith("bias_hh"))
    return total


def layer_table(model: HybridClassifier) -> list[tuple[str, tuple[int, ...], int]]:
    """List the layers in the order in which an image passes them.

    Returns:
        Per layer its name, the shape of its output without the batch (maps as H, W, C; an RNN's readout), and its
        parameters as Keras counts them.
    """
    rows: list[tuple[str, tuple[int, ...], int]] = []
    config = model.config
    handles = [
        module.register_forward_hook(_row_hook(rows, name, module, config.readout)) for name, module in _layers(model)
    ]
    was_training = model.training
    weight = next(model.parameters())
    try:
        model.eval()
        with torch.no_grad():
            model(weight.new_zeros(1, config.input_channels, config.input_height, config.input_width))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return rows


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, _ROWS))


def _row_hook(
    rows: list[tuple[str, tuple[int, ...], int]], name: str, layer: nn.Module, readout: str | None
) -> Callable[[nn.Module, tuple[Tensor, ...], Any], None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor | tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
        shown = output if isinstance(output, Tensor) else output[1 if readout == "last" else 0]
        shape = tuple(shown.shape[1:])
        rows.append((name, (*shape[1:], shape[0]) if len(shape) == 3 else shape, keras_total(layer)))

    return hook
