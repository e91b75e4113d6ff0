"""Rows of a layer table: output shape, parameters and multiply-adds of each kind of layer. Imports no torch.

Shapes are written as in papers: maps as H, W, C; sequences as steps, features.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_models.config.patch_shapes import GATES, MapShape


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of a layer table."""

    kind: str
    """Name of the layer; Keras' name if it has one."""
    output: tuple[int, ...] = ()
    """Output shape without the batch dimension."""
    torch: int = 0
    """Parameters that torch trains."""
    keras: int = 0
    """Parameters as Keras' `summary()` counts them: with running statistics, and one bias per gate."""
    macs: int = 0
    """Multiply-adds for one image."""


KERAS_NAMES = {"rnn_tanh": "SimpleRNN", "irnn": "IRNN", "gru": "GRU", "lstm": "LSTM", "convlstm": "ConvLSTM2D"}
"""Cell -> name in the layer table."""


def hwc(shape: MapShape) -> tuple[int, int, int]:
    """Return a map's shape (C, H, W) as (H, W, C).

    >>> hwc((3, 32, 24))
    (32, 24, 3)
    """
    return shape[1], shape[2], shape[0]


def convolution(in_channels: int, shape: MapShape, *, kernel: int = 3, bias: bool = True) -> Layer:
    """Return the row of a convolution whose output map has shape (C, H, W)."""
    weights = kernel**2 * in_channels * shape[0]
    count = weights + bias * shape[0]
    return Layer(kind="Conv2D", output=hwc(shape), torch=count, keras=count, macs=weights * shape[1] * shape[2])


def batch_norm(output: tuple[int, ...]) -> Layer:
    """Return the row of a batch normalisation per channel or feature."""
    return Layer(kind="BatchNormalization", output=output, torch=2 * output[-1], keras=4 * output[-1])


def dense(in_features: int, out_features: int) -> Layer:
    """Return the row of a dense layer with a bias."""
    count = (in_features + 1) * out_features
    return Layer(kind="Dense", output=(out_features,), torch=count, keras=count, macs=in_features * out_features)


def recurrent(cell: str, features: int, nodes: int, num_reads: int, *, directions: int = 1) -> Layer:
    """Return the row of one recurrent layer.

    Args:
        cell: A cell that reads vectors, named without `bi`.
        features: Number of features per step.
        nodes: Width of the state of one direction.
        num_reads: Total number of steps over all sequences of an image.
        directions: 1 or 2.
    """
    kernels = directions * GATES[cell] * nodes * (features + nodes)
    biases = directions * GATES[cell] * nodes
    # torch has two biases per gate; Keras has two only in the GRU, where they are not redundant.
    keras_biases = 2 * biases if cell == "gru" else biases
    return Layer(
        kind=KERAS_NAMES[cell],
        torch=kernels + 2 * biases,
        keras=kernels + keras_biases,
        macs=num_reads * kernels,
    )


def conv_lstm(channels: int, hidden: int, num_reads: int, frame: int, *, has_peepholes: bool) -> Layer:
    """Return the row of one bidirectional ConvLSTM layer.

    Args:
        channels: Channels of a frame.
        hidden: Channels of the state of one direction.
        num_reads: Total number of frames over all sequences of an image.
        frame: Side of a square frame.
        has_peepholes: Whether to count peepholes, three per state value.
    """
    kernels, area = 4 * 9 * hidden * (channels + hidden), frame**2
    count = 2 * (kernels + 4 * hidden + 3 * hidden * area * has_peepholes)
    return Layer(kind=KERAS_NAMES["convlstm"], torch=count, keras=count, macs=2 * num_reads * kernels * area)
