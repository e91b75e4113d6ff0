"""Counts the parameters of a built model by two conventions. `config.arithmetic` computes them without building it.

keras_total = torch_trainable + running mean and variance of every batch normalisation
              - the second bias (`bias_hh`) of every LSTM and simple RNN.
"""

from __future__ import annotations

from torch import nn


def torch_trainable(model: nn.Module) -> int:
    """Return the number of values in `model.parameters()`.

    Both biases of a recurrent layer are counted, even if `init: keras` has frozen the second one, so that the number
    depends on the architecture only.
    """
    return sum(weight.numel() for weight in model.parameters())


def keras_total(model: nn.Module) -> int:
    """Return the total of Keras' `summary()`. GRUs are counted with `reset_after=True`, the default of TensorFlow 2."""
    total = torch_trainable(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            total += 2 * module.num_features
        elif isinstance(module, nn.LSTM | nn.RNN):
            total -= sum(weight.numel() for name, weight in module.named_parameters() if name.startswith("bias_hh"))
    return total
