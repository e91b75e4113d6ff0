"""Layers, parameters and FLOPs by arithmetic, without building a model or importing torch.

FLOPs are two per multiply-add of convolutions, dense layers and recurrences, for one image on its way to the logits.
Biases, activations, normalisation, pooling and a ConvLSTM's peepholes are not counted; a 'same' convolution counts its
padding. The autoencoder's decoder has none: classifying does not run it.

Shapes in the table are those of papers: maps as H, W, C; sequences as steps, features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hybrid_models.shapes import (
    BLOCKS,
    RESNET20_BLOCKS,
    SAME_POOLING,
    Block,
    Shape,
    fc_widths,
    feature_shape,
    image_shape,
    renet_shapes,
    sequence_shape,
    stage_shapes,
    tap_shapes,
    volume,
)

if TYPE_CHECKING:
    from hybrid_models.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of a layer table."""

    kind: str
    """Keras' name where it has one."""
    output: tuple[int, ...]
    """Shape without the batch."""
    torch: int = 0
    """Parameters that torch trains."""
    keras: int = 0
    """Parameters as Keras' `summary()` counts them: with running statistics, with one bias per gate."""
    flops: int = 0


def num_parameters(config: ModelConfig) -> int:
    """Values in `parameters()` of the model."""
    return sum(layer.torch for layer in layers(config))


def num_parameters_keras(config: ModelConfig) -> int:
    """Parameters of the model as Keras counts them."""
    return sum(layer.keras for layer in layers(config))


def flops_per_image(config: ModelConfig) -> int:
    """Two per multiply-add from one image to its logits."""
    return sum(layer.flops for layer in layers(config))


def layers(config: ModelConfig) -> Iterator[Layer]:
    """List the layers in the order in which an image passes them."""
    yield Layer(kind="Input", output=_hwc((config.input_channels, config.input_height, config.input_width)))
    yield from FAMILY_LAYERS[config.family](config)
    yield Layer(kind="Softmax", output=(config.num_classes,))


def _hwc(shape: Shape) -> tuple[int, int, int]:
    return shape[1], shape[2], shape[0]


# One kind of layer each.


def _convolution(in_channels: int, shape: Shape, *, kernel: int = 3, bias: bool = True) -> Layer:
    weights = kernel**2 * in_channels * shape[0]
    count = weights + bias * shape[0]
    return Layer(kind="Conv2D", output=_hwc(shape), torch=count, keras=count, flops=2 * weights * shape[1] * shape[2])


def _norm(output: tuple[int, ...]) -> Layer:
    return Layer(kind="BatchNormalization", output=output, torch=2 * output[-1], keras=4 * output[-1])


def _dense(in_features: int, out_features: int) -> Layer:
    count = (in_features + 1) * out_features
    return Layer(kind="Dense", output=(out_features,), torch=count, keras=count, flops=2 * in_features * out_features)


def _dropout(share: float | None, output: tuple[int, ...]) -> Iterator[Layer]:
    if share:
        yield Layer(kind="Dropout", output=output)


GATES = {"rnn_tanh": 1, "irnn": 1, "gru": 3, "lstm": 4}
"""Cell -> kernels of one step."""
KERAS_NAMES = {"rnn_tanh": "SimpleRNN", "irnn": "IRNN", "gru": "GRU", "lstm": "LSTM", "convlstm": "ConvLSTM2D"}
"""Cell -> name in the table."""


def _scan(kind: str, cell: str, features: int, nodes: int, steps: int, *, directions: int = 1) -> Layer:
    """One recurrent layer over `steps` steps, all sequences of an image together."""
    kernels, biases = (directions * GATES[cell] * nodes * count for count in (features + nodes, 1))
    # torch has two biases; Keras has the second only in the GRU, where it is not redundant.
    keras_biases = 2 * biases if cell == "gru" else biases
    return Layer(
        kind=kind, output=(), torch=kernels + 2 * biases, keras=kernels + keras_biases, flops=2 * steps * kernels
    )


def _conv_scan(kind: str, channels: int, hidden: int, steps: int, patch: int, peepholes: bool) -> Layer:
    """One bidirectional ConvLSTM layer over frames of patch x patch."""
    kernels, area = 4 * 9 * hidden * (channels + hidden), patch**2
    count = 2 * (kernels + 4 * hidden + 3 * hidden * area * peepholes)
    return Layer(kind=kind, output=(), torch=count, keras=count, flops=2 * 2 * steps * kernels * area)


# Parts of the hybrid, in the order of the data.


def _chain(blocks: tuple[Block, ...], shape: Shape, *, bn: bool, dropout: float, same: bool = False) -> Iterator[Layer]:
    channels, height, width = shape
    for block in blocks:
        for out_channels in block.widths:
            layer = _convolution(channels, (out_channels, height, width))
            yield layer
            if bn:
                yield _norm(layer.output)
            channels = out_channels
        if block.pool:
            height, width = (height + same) // 2, (width + same) // 2
            yield Layer(kind="MaxPooling2D", output=(height, width, channels))
        yield from _dropout(dropout, (height, width, channels))


def _resnet20(config: ModelConfig) -> Iterator[Layer]:
    bias = config.shortcut == "keras"
    channels = config.input_channels if config.wavelet == "none" else image_shape(config)[0]
    stem: Shape = (stage_shapes(config)[0][0], *image_shape(config)[1:])
    yield from (_convolution(channels, stem, bias=bias), _norm(_hwc(stem)))
    channels = stem[0]
    for shape in stage_shapes(config):
        for _ in range(RESNET20_BLOCKS):
            yield from (_convolution(channels, shape, bias=bias), _norm(_hwc(shape)))
            yield from (_convolution(shape[0], shape, bias=bias), _norm(_hwc(shape)))
            if channels != shape[0] and config.shortcut != "A":
                yield _convolution(channels, shape, kernel=1, bias=bias)
                if config.shortcut == "B":
                    yield _norm(_hwc(shape))
            yield Layer(kind="Add", output=_hwc(shape))
            channels = shape[0]


def _backbone(config: ModelConfig) -> Iterator[Layer]:
    if config.wavelet != "none":
        yield Layer(kind="Haar", output=_hwc(image_shape(config)))
    if config.backbone == "resnet20":
        yield from _resnet20(config)
    elif config.backbone in BLOCKS:
        yield from _chain(
            BLOCKS[config.backbone](config),
            image_shape(config),
            bn=bool(config.cnn_bn),
            dropout=config.cnn_dropout or 0.0,
            same=config.backbone in SAME_POOLING,
        )


def _bottleneck(config: ModelConfig) -> Iterator[Layer]:
    if config.enc_depth is None or config.enc_code is None:
        return
    size = volume(feature_shape(config))
    yield Layer(kind="Flatten", output=(size,))
    before = size
    for width in (*encoder_widths(config.enc_depth, config.enc_code), size):
        yield _dense(before, width)
        if config.enc_bn:
            yield _norm((width,))
        before = width


def encoder_widths(depth: int, code: int) -> tuple[int, ...]:
    """Hidden widths of the encoder-decoder: code * 2^(depth-1), ..., code, and mirrored back."""
    down = [code * 2 ** (depth - 1 - index) for index in range(depth)]
    return (*down, *down[-2::-1])


def _scan_patches(config: ModelConfig, shape: Shape) -> Iterator[Layer]:
    """Both ways along columns of patches, or along the whole grid; the final states side by side."""
    assert config.patch is not None
    assert config.nodes is not None
    assert config.depth is not None
    patch, nodes = config.patch, config.nodes
    rows, columns = shape[1] // patch, shape[2] // patch
    columns, rows = (1, rows * columns) if config.raster else (columns, rows)
    assert config.rnn is not None
    kind = f"PatchRNN({KERAS_NAMES[config.rnn]})"
    channels, area = shape[0], patch**2
    is_conv = config.rnn == "convlstm"
    for index in range(config.depth):
        if is_conv:
            layer = _conv_scan(kind, channels, nodes, rows * columns, patch, config.peephole != "none")
        else:
            features = channels * area if index == 0 else channels
            layer = _scan(kind, config.rnn, features, nodes, rows * columns, directions=2)
        channels = 2 * nodes
        state = (patch, patch, channels) if is_conv else (channels,)
        is_last = index == config.depth - 1
        yield replace(layer, output=(columns * math.prod(state),) if is_last else (columns, rows, *state))
    if config.rnn_bn:
        yield _norm((columns * math.prod(state),))


def _scan_renet(config: ModelConfig) -> Iterator[Layer]:
    assert config.patch is not None
    assert config.nodes is not None
    assert config.depth is not None
    assert config.rnn is not None
    channels = feature_shape(config)[0]
    for shape in renet_shapes(feature_shape(config), config.patch, config.nodes, config.depth):
        kind, steps = f"ReNet({KERAS_NAMES[config.rnn]})", shape[1] * shape[2]
        for features in (channels * config.patch**2, 2 * config.nodes):
            yield replace(_scan(kind, config.rnn, features, config.nodes, steps, directions=2), output=_hwc(shape))
        channels = shape[0]
    yield Layer(kind="Flatten", output=(volume(shape),))


def _scan_sequence(config: ModelConfig, num_steps: int, features: int) -> Iterator[Layer]:
    assert config.nodes is not None
    assert config.depth is not None
    assert config.rnn is not None
    cell = config.rnn.removeprefix("bi")
    directions = 2 if cell != config.rnn else 1
    kind = f"Bidirectional({KERAS_NAMES[cell]})" if directions == 2 else KERAS_NAMES[cell]
    width = directions * config.nodes
    for index in range(config.depth):
        layer = _scan(kind, cell, features, config.nodes, num_steps, directions=directions)
        gives_last = config.readout == "last" and index == config.depth - 1
        yield replace(layer, output=(width,) if gives_last else (num_steps, width))
        features = width
    if config.readout == "mean":
        yield Layer(kind="GlobalAveragePooling1D", output=(width,))
    elif config.readout == "flatten_all":
        width *= num_steps
        yield Layer(kind="Flatten", output=(width,))
    if config.rnn_bn:
        yield _norm((width,))


def _reader(config: ModelConfig) -> Iterator[Layer]:
    shape = feature_shape(config)
    sequence = sequence_shape(config)
    if sequence is None:
        if config.enc_on:
            yield Layer(kind="Reshape", output=_hwc(shape))
        yield from _scan_renet(config) if config.layout == "renet4" else _scan_patches(config, shape)
        return
    if config.layout in FLAT_LAYOUTS and not config.enc_on:
        yield Layer(kind="Flatten", output=(volume(shape),))
    yield Layer(kind="Reshape", output=sequence)
    yield from _scan_sequence(config, *sequence)


FLAT_LAYOUTS = ("flat_scalar", "flat_chunk", "single_step")
"""Layouts that papers draw as a flattening and a reshaping."""


def _pool(config: ModelConfig) -> Iterator[Layer]:
    shape = feature_shape(config)
    if config.pool_head == "gap":
        if config.enc_on:
            yield Layer(kind="Reshape", output=_hwc(shape))
        yield Layer(kind="GlobalAveragePooling2D", output=shape[:1])
    elif not config.enc_on:
        yield Layer(kind="Flatten", output=(volume(shape),))


def _feature(config: ModelConfig) -> Iterator[Layer]:
    """From the backbone's map to the vector (or, per step, the states) that the head takes."""
    if config.merge is None:
        yield from _pool(config)
        return
    shape = feature_shape(config)
    pooled = shape[0] if config.pool_head == "gap" else volume(shape)
    if config.merge == "taps":
        read = [[*_scan_patches(config, tap)] for tap in tap_shapes(config)]
        yield from (layer for tap in read for layer in tap)
        width = sum(tap[-1].output[0] for tap in read)
    else:
        read_layers = [*_reader(config)]
        yield from read_layers
        width = read_layers[-1].output[-1]
    if config.merge == "serial":
        return
    yield from _pool(config)
    if config.merge == "sum":
        yield from (_dense(pooled, width), Layer(kind="Add", output=(width,)))
    else:
        yield Layer(kind="Concatenate", output=(pooled + width,))


def _head(config: ModelConfig, output: tuple[int, ...]) -> Iterator[Layer]:
    """Dense layers to the logits; the same at every step where states come one by one."""
    *steps, before = output
    times = math.prod(steps)

    def dense(width: int) -> Layer:
        layer = _dense(before, width)
        kind = "TimeDistributed(Dense)" if steps else "Dense"
        return replace(layer, kind=kind, output=(*steps, width), flops=times * layer.flops)

    widths = fc_widths(config.fc or "-")
    for width in widths:
        yield dense(width)
        yield from _dropout(config.dropout, (*steps, width))
        before = width
    if not widths:
        yield from _dropout(config.dropout, output)
    yield dense(config.num_classes)


def _hybrid(config: ModelConfig) -> Iterator[Layer]:
    output: tuple[int, ...] = _hwc(image_shape(config))
    for part in (_backbone, _bottleneck, _feature):
        for layer in part(config):
            output = layer.output
            yield layer
    yield from _head(config, output)


# The other families.

STRIPS = 3
"""Strips of an image in tsn."""


def _tsn(config: ModelConfig) -> Iterator[Layer]:
    strip: Shape = (config.input_channels, config.input_height // 2, config.input_width)
    yield Layer(kind="Strips", output=(STRIPS, *_hwc(strip)))
    shared = [*_chain(BLOCKS["cnn6"](config), strip, bn=True, dropout=0.0)]
    width = shared[-1].output[-1]
    shared += [
        Layer(kind="GlobalAveragePooling2D", output=(width,)),
        Layer(kind="Dropout", output=(width,)),
        _dense(width, config.num_classes),
    ]
    for layer in shared:
        yield replace(layer, output=(STRIPS, *layer.output), flops=STRIPS * layer.flops)
    yield Layer(kind="Average", output=(config.num_classes,))


AUTOENCODER_WIDTHS = (12, 24, 48)
"""Channels of the encoder's 4x4 convolutions of stride 2."""


def _autoencoder(config: ModelConfig) -> Iterator[Layer]:
    shapes: list[Shape] = [image_shape(config)]
    for channels in AUTOENCODER_WIDTHS:
        shapes.append((channels, shapes[-1][1] // 2, shapes[-1][2] // 2))
        yield _convolution(shapes[-2][0], shapes[-1], kernel=4)
    for index in range(len(shapes) - 1, 0, -1):
        layer = _convolution(shapes[index][0], shapes[index - 1], kernel=4)
        yield replace(layer, kind="Conv2DTranspose", flops=0)
    code = volume(shapes[-1])
    yield from (Layer(kind="Flatten", output=(code,)), _dense(code, config.num_classes))


FAMILY_LAYERS: dict[str, Callable[[ModelConfig], Iterator[Layer]]] = {
    "hybrid": _hybrid,
    "tsn": _tsn,
    "autoencoder": _autoencoder,
}
"""Family -> its layers between image and softmax."""
