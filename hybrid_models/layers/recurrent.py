"""Recurrent layers of every cell except ConvLSTM, with one interface.

Shapes: B batch, L steps, F features of a step, N states of a step (nodes, twice that in two directions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from hybrid_models.layers.precision import full_precision


@dataclass(frozen=True)
class Cell:
    """Specification of a cell."""

    make: Callable[..., nn.RNNBase]
    """Class of the torch module."""
    bidirectional: bool = False
    """Whether the sequence is also read backward."""
    nonlinearity: str | None = None
    """Nonlinearity of the simple RNN: tanh or relu."""


CELLS: dict[str, Cell] = {
    "rnn_tanh": Cell(nn.RNN, nonlinearity="tanh"),
    "irnn": Cell(nn.RNN, nonlinearity="relu"),
    "gru": Cell(nn.GRU),
    "lstm": Cell(nn.LSTM),
    "bigru": Cell(nn.GRU, bidirectional=True),
    "bilstm": Cell(nn.LSTM, bidirectional=True),
}
"""Name -> cell. `irnn` is a ReLU RNN initialised with the identity (Le, Jaitly, Hinton 2015); see `init`."""


class Recurrence(nn.Module):
    """A stack of recurrent layers with zero initial states.

    Computes in its parameters' precision even under autocast, because errors of bfloat16 states accumulate over many
    steps.

    Args:
        cell: A key of `CELLS`.
        in_features: Features of a step.
        nodes: Width of the state of one direction.
        depth: Number of layers.
        bidirectional: Whether a cell without `bi` in its name is also run backward.
    """

    def __init__(self, cell: str, in_features: int, nodes: int, depth: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        kind = CELLS[cell]
        self.cell = cell
        bidirectional = bidirectional or kind.bidirectional
        self.num_directions = 2 if bidirectional else 1
        self.width = nodes * self.num_directions
        options = {} if kind.nonlinearity is None else {"nonlinearity": kind.nonlinearity}
        # One bidirectional call: on CPUs, oneDNN's fused LSTM is faster than two calls, time-major input, or a loop.
        self.layers = kind.make(in_features, nodes, depth, batch_first=True, bidirectional=bidirectional, **options)

    def forward(self, tokens_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """Call `scan`."""
        return self.scan(tokens_BLF)

    def scan(self, tokens_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """Read a sequence from zero states.

        Args:
            tokens_BLF: Sequence (B, L, F).

        Returns:
            States of the last layer at every step (B, L, N), and its final states (B, N). The final states concatenate
            the forward state at the last step and the backward state at the first step.
        """
        with full_precision(tokens_BLF):
            states_BLN, carry = self.layers(tokens_BLF.to(next(self.layers.parameters()).dtype))
        final = carry[0] if self.cell in {"lstm", "bilstm"} else carry
        final_BN = final[-self.num_directions :].transpose(0, 1).reshape(-1, self.width)
        return states_BLN, final_BN
