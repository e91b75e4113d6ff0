"""Every recurrence: cells, directions, depth, behind one `scan`.

Shapes: B batch, L steps, F features of a step, N states of a step (nodes, twice that in two directions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from hybrid_models.layers.precision import full_precision


@dataclass(frozen=True)
class Cell:
    """What a cell's name means."""

    make: Callable[..., nn.RNNBase]
    """Maker of the torch module."""
    bidirectional: bool = False
    """Whether the sequence is read from both ends."""
    nonlinearity: str | None = None
    """Of the simple RNN: tanh or relu."""


CELLS: dict[str, Cell] = {
    "rnn_tanh": Cell(nn.RNN, nonlinearity="tanh"),
    "irnn": Cell(nn.RNN, nonlinearity="relu"),
    "gru": Cell(nn.GRU),
    "lstm": Cell(nn.LSTM),
    "bigru": Cell(nn.GRU, bidirectional=True),
    "bilstm": Cell(nn.LSTM, bidirectional=True),
}
"""`irnn` is a ReLU RNN that starts from the identity (Le, Jaitly, Hinton 2015); see `init`."""


class Recurrence(nn.Module):
    """Recurrent layers of one kind, each reading the whole sequence of the one below.

    Runs in its parameters' precision even under autocast: over a thousand steps bfloat16 states would drift.

    Args:
        cell: A key of `CELLS`.
        in_features: Features of a step.
        nodes: Width of one direction's state.
        depth: Number of layers.
        bidirectional: Whether a cell that reads one way reads both ways here.
    """

    def __init__(self, cell: str, in_features: int, nodes: int, depth: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        kind = CELLS[cell]
        self.cell = cell
        bidirectional = bidirectional or kind.bidirectional
        self.num_directions = 2 if bidirectional else 1
        self.width = nodes * self.num_directions
        options = {} if kind.nonlinearity is None else {"nonlinearity": kind.nonlinearity}
        # One bidirectional call: on CPU oneDNN's fused LSTM beats two calls, time-major input and written-out steps.
        self.layers = kind.make(in_features, nodes, depth, batch_first=True, bidirectional=bidirectional, **options)

    def forward(self, tokens_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """Same as `scan`."""
        return self.scan(tokens_BLF)

    def scan(self, tokens_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """Read a sequence from zero states.

        Args:
            tokens_BLF: Sequence (B, L, F).

        Returns:
            States of the last layer at every step (B, L, N), and its final states (B, N): the forward direction's
            after the last step beside the backward direction's after the first.
        """
        with full_precision(tokens_BLF):
            states_BLN, carry = self.layers(tokens_BLF.to(next(self.layers.parameters()).dtype))
        final = carry[0] if self.cell in {"lstm", "bilstm"} else carry
        final_BN = final[-self.num_directions :].transpose(0, 1).reshape(-1, self.width)
        return states_BLN, final_BN
