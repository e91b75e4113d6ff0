"""One row of a layer table for each kind of layer: output, parameters, FLOPs. Imports no torch.

Shapes in the table are those of papers: maps as H, W, C; sequences as steps, features.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_models.config.patch_shapes import GATES, MapShape


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of a layer table."""

    kind: str
    """Keras' name where it has one."""
    output: tuple[int, ...] = ()
    """Shape without the batch."""
    torch: int = 0
    """Parameters that torch trains."""
    keras: int = 0
    """Parameters as Keras' `summary()` counts them: with running statistics, with one bias per gate."""
    flops: int = 0
    """Two per multiply-add, for one image."""


KERAS_NAMES = {"rnn_tanh": "SimpleRNN", "irnn": "IRNN", "gru": "GRU", "lstm": "LSTM", "convlstm": "ConvLSTM2D"}
"""Cell -> name in the table."""


def hwc(shape: MapShape) -> tuple[int, int, int]:
    """Map C, H, W -> as papers write it."""
    return shape[1], shape[2], shape[0]


def convolution(in_channels: int, shape: MapShape, *, kernel: int = 3, bias: bool = True) -> Layer:
    """Convolution to a map of this shape."""
    weights = kernel**2 * in_channels * shape[0]
    count = weights + bias * shape[0]
    return Layer(kind="Conv2D", output=hwc(shape), torch=count, keras=count, flops=2 * weights * shape[1] * shape[2])


def batch_norm(output: tuple[int, ...]) -> Layer:
    """Batch normalisation per channel or feature."""
    return Layer(kind="BatchNormalization", output=output, torch=2 * output[-1], keras=4 * output[-1])


def dense(in_features: int, out_features: int) -> Layer:
    """Dense layer with a bias."""
    count = (in_features + 1) * out_features
    return Layer(kind="Dense", output=(out_features,), torch=count, keras=count, flops=2 * in_features * out_features)


def recurrent(cell: str, features: int, nodes: int, num_reads: int, *, directions: int = 1) -> Layer:
    """One recurrent layer, in one direction or both.

    Args:
        cell: One that reads vectors, without `bi`.
        features: Of a step.
        nodes: Width of one direction's state.
        num_reads: Steps of all sequences of an image together.
        directions: 1 or 2.
    """
    kernels = directions * GATES[cell] * nodes * (features + nodes)
    biases = directions * GATES[cell] * nodes
    # torch has two biases per gate; Keras has the second only in the GRU, where the two differ.
    keras_biases = 2 * biases if cell == "gru" else biases
    return Layer(
        kind=KERAS_NAMES[cell],
        torch=kernels + 2 * biases,
        keras=kernels + keras_biases,
        flops=2 * num_reads * kernels,
    )


def conv_lstm(channels: int, hidden: int, num_reads: int, frame: int, *, has_peepholes: bool) -> Layer:
    """One ConvLSTM layer in both directions.

    Args:
        channels: Of a frame.
        hidden: Channels of one direction's state.
        num_reads: Frames of all sequences of an image together.
        frame: Side of a frame.
        has_peepholes: Three per state value.
    """
    kernels, area = 4 * 9 * hidden * (channels + hidden), frame**2
    count = 2 * (kernels + 4 * hidden + 3 * hidden * area * has_peepholes)
    return Layer(kind=KERAS_NAMES["convlstm"], torch=count, keras=count, flops=2 * 2 * num_reads * kernels * area)
