"""Initial weights, drawn from an explicit generator.

Both styles visit the modules in the order of their names, so that a seed gives the same model in every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from hybrid_models.layers.conv_lstm import ConvLSTM
from hybrid_models.layers.recurrent import Recurrence

Dense = nn.Conv2d | nn.ConvTranspose2d | nn.Linear

IRNN_INPUT_STD = 1e-3
"""Standard deviation of an IRNN's input kernel (Le, Jaitly, Hinton 2015, section 3)."""


def initialise(model: nn.Module, style: str, generator: torch.Generator) -> None:
    """Initialise all weights of a model in place.

    Args:
        model: The model, which is changed in place.
        style: A key of `INITS`.
        generator: Source of the weights, on the CPU; the global generator is left unchanged.
    """
    dense, recurrent = INITS[style]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Dense):
                dense(module, generator)
            elif isinstance(module, Recurrence):
                recurrent(module, generator)
                if module.cell == "irnn":
                    _identity(module, generator)
            elif isinstance(module, ConvLSTM):
                _conv_lstm(module, style, generator)


def _torch_dense(module: Dense, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(module.weight[0].numel())
    module.weight.uniform_(-bound, bound, generator=generator)
    if module.bias is not None:
        module.bias.uniform_(-bound, bound, generator=generator)


def _torch_recurrent(module: Recurrence, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(module.layers.hidden_size)
    for weight in module.layers.parameters():
        weight.uniform_(-bound, bound, generator=generator)


def _keras_dense(module: Dense, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(module.weight, generator=generator)
    if module.bias is not None:
        module.bias.zero_()


def _keras_recurrent(module: Recurrence, generator: torch.Generator) -> None:
    nodes = module.layers.hidden_size
    is_gru = isinstance(module.layers, nn.GRU)
    for name, weight in module.layers.named_parameters():
        if name.startswith("weight_ih"):
            # One draw over all gates, because Keras stores them in one kernel (features, gates * nodes).
            nn.init.xavier_uniform_(weight, generator=generator)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(weight, generator=generator)  # also one matrix over all gates
        else:
            weight.zero_()
            if name.startswith("bias_ih") and isinstance(module.layers, nn.LSTM):
                weight[nodes : 2 * nodes] = 1.0  # gates are i, f, g, o
            if name.startswith("bias_hh") and not is_gru:
                # Keras has one bias per gate. Training the second one as well would double the bias's learning rate.
                weight.requires_grad_(False)


def _identity(module: Recurrence, generator: torch.Generator) -> None:
    for name, weight in module.layers.named_parameters():
        if name.startswith("weight_hh"):
            nn.init.eye_(weight)
        elif name.startswith("weight_ih"):
            nn.init.normal_(weight, std=IRNN_INPUT_STD, generator=generator)
        else:
            weight.zero_()


def _conv_lstm(module: ConvLSTM, style: str, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(module.hidden)
    for name, weight in module.named_parameters():
        if name.startswith("peephole"):
            weight.zero_()
        elif style == "torch":
            weight.uniform_(-bound, bound, generator=generator)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight, generator=generator)
        elif name.startswith("weight_hh"):
            # One draw over all gates, because Keras stores them in one kernel (side, side, hidden, gates * hidden).
            nn.init.orthogonal_(weight, generator=generator)
        else:
            weight.zero_()
            weight[module.hidden : 2 * module.hidden] = 1.0  # gates are i, f, g, o


Draw = tuple[Callable[[Dense, torch.Generator], None], Callable[[Recurrence, torch.Generator], None]]
INITS: dict[str, Draw] = {
    "torch": (_torch_dense, _torch_recurrent),
    "keras": (_keras_dense, _keras_recurrent),
}
"""Style -> initialisation of convolutions and dense layers, and of recurrences."""
