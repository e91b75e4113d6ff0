"""Computes layers, parameters and multiply-adds of a model without building it. Imports no torch.

Multiply-adds (MACs) of the convolutions, dense layers and recurrences that compute the logits of one image are counted.
Biases, activations, normalisation, pooling, the wavelet filter and a ConvLSTM's peepholes are not counted. A 'same'
convolution counts its padding. The autoencoder's decoder is not counted, because classification does not run it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from hybrid_models.config.layer_kinds import (
    Layer,
    batch_norm,
    conv_lstm,
    convolution,
    dense,
    hwc,
    recurrent,
)
from hybrid_models.config.patch_shapes import MapShape, patch_sequence, renet_shape
from hybrid_models.config.shapes import (
    AUTOENCODER_WIDTHS,
    BLOCKS,
    FLAT_LAYOUTS,
    RESNET20_BLOCKS,
    SAME_POOLING,
    STRIPS,
    Block,
    encoder_widths,
    fc_widths,
    feature_shape,
    image_shape,
    rnn_settings,
    sequence_shape,
    stage_shapes,
    tap_shapes,
    volume,
)
from hybrid_models.settings import ModelSettings


def num_parameters(config: ModelSettings) -> int:
    """Return the number of values in the model's `parameters()`."""
    return sum(layer.torch for layer in layers(config))


def num_parameters_keras(config: ModelSettings) -> int:
    """Return the number of parameters as Keras counts them."""
    return sum(layer.keras for layer in layers(config))


def macs(config: ModelSettings) -> int:
    """Return the multiply-adds for the logits of one image."""
    return sum(layer.macs for layer in layers(config))


def layers(config: ModelSettings) -> Iterator[Layer]:
    """Yield the layers in forward order, parallel branches one after another."""
    yield Layer(kind="Input", output=hwc((config.input_channels, config.input_height, config.input_width)))
    yield from FAMILY_LAYERS[config.family](config)


def _hybrid(config: ModelSettings) -> Iterator[Layer]:
    if config.wavelet != "none":
        yield Layer(kind="Haar", output=hwc(image_shape(config)))
    body = [*_backbone(config), *_bottleneck(config), *_feature(config)]
    yield from body
    yield from _head(config, body[-1].output)


def _backbone(config: ModelSettings) -> Iterator[Layer]:
    if config.backbone == "resnet20":
        yield from _resnet20(config)
    elif config.backbone in BLOCKS:
        yield from _chain(
            BLOCKS[config.backbone](config),
            image_shape(config),
            has_bn=bool(config.cnn_bn),
            dropout=config.cnn_dropout,
            odd=1 if config.backbone in SAME_POOLING else 0,
        )


def _chain(
    blocks: Sequence[Block], shape: MapShape, *, has_bn: bool, dropout: float | None = None, odd: int = 0
) -> Iterator[Layer]:
    channels, height, width = shape
    for block in blocks:
        for out_channels in block.widths:
            yield convolution(channels, (out_channels, height, width))
            if has_bn:
                yield batch_norm((height, width, out_channels))
            channels = out_channels
        if block.pool:
            height, width = (height + odd) // 2, (width + odd) // 2
            yield Layer(kind="MaxPooling2D", output=(height, width, channels))
        yield from _dropout(dropout, (height, width, channels))


def _resnet20(config: ModelSettings) -> Iterator[Layer]:
    has_bias = config.shortcut == "keras"
    in_channels = image_shape(config)[0]
    channels, height, width = stage_shapes(config)[0]
    yield convolution(in_channels, (channels, height, width), bias=has_bias)
    yield batch_norm((height, width, channels))
    for shape in stage_shapes(config):
        for _ in range(RESNET20_BLOCKS):
            for before in (channels, shape[0]):
                yield convolution(before, shape, bias=has_bias)
                yield batch_norm(hwc(shape))
            if channels != shape[0] and config.shortcut != "A":
                yield convolution(channels, shape, kernel=1, bias=has_bias)
                if config.shortcut == "B":
                    yield batch_norm(hwc(shape))
            yield Layer(kind="Add", output=hwc(shape))
            channels = shape[0]


def _bottleneck(config: ModelSettings) -> Iterator[Layer]:
    if config.enc_depth is None or config.enc_code is None:
        return
    size = volume(feature_shape(config))
    yield Layer(kind="Flatten", output=(size,))
    for before, after in pairwise((size, *encoder_widths(config.enc_depth, config.enc_code), size)):
        yield dense(before, after)
        if config.enc_bn:
            yield batch_norm((after,))


def _feature(config: ModelSettings) -> Iterator[Layer]:
    """Yield the layers between the backbone's map and the head's input, a vector or the states of every step."""
    if config.merge is None:
        yield from _pool(config)
        return
    if config.merge == "taps":
        read = [[*_scan_patches(config, shape)] for shape in tap_shapes(config)]
    else:
        read = [[*_reader(config)]]
    yield from (layer for layers in read for layer in layers)
    if config.merge == "serial":
        return
    yield from _pool(config)
    shape, width = feature_shape(config), sum(layers[-1].output[-1] for layers in read)
    pooled_width = shape[0] if config.pool_head == "gap" else volume(shape)
    if config.merge == "sum":
        yield from (dense(pooled_width, width), Layer(kind="Add", output=(width,)))
    else:
        yield Layer(kind="Concatenate", output=(pooled_width + width,))


def _pool(config: ModelSettings) -> Iterator[Layer]:
    shape = feature_shape(config)
    if config.pool_head == "gap":
        yield from _as_map(config)
        yield Layer(kind="GlobalAveragePooling2D", output=shape[:1])
    elif not config.enc_on:
        yield Layer(kind="Flatten", output=(volume(shape),))


def _as_map(config: ModelSettings) -> Iterator[Layer]:
    """Yield the reshape of the encoder-decoder's vector to a map."""
    if config.enc_on:
        yield Layer(kind="Reshape", output=hwc(feature_shape(config)))


def _reader(config: ModelSettings) -> Iterator[Layer]:
    shape, sequence = feature_shape(config), sequence_shape(config)
    if sequence is None:
        yield from _as_map(config)
        yield from _scan_renet(config) if config.layout == "renet4" else _scan_patches(config, shape)
        return
    if config.layout in FLAT_LAYOUTS and not config.enc_on:
        yield Layer(kind="Flatten", output=(volume(shape),))
    yield Layer(kind="Reshape", output=sequence)
    yield from _scan_sequence(config, *sequence)


def _scan_sequence(config: ModelSettings, num_steps: int, features: int) -> Iterator[Layer]:
    rnn = rnn_settings(config)
    cell = rnn.cell.removeprefix("bi")
    directions = 1 if cell == rnn.cell else 2
    width = directions * rnn.nodes
    for index in range(rnn.depth):
        layer = recurrent(cell, features, rnn.nodes, num_steps, directions=directions)
        gives_last = config.readout == "last" and index == rnn.depth - 1
        kind = layer.kind if directions == 1 else f"Bidirectional({layer.kind})"
        yield replace(layer, kind=kind, output=(width,) if gives_last else (num_steps, width))
        features = width
    if config.readout == "mean":
        yield Layer(kind="GlobalAveragePooling1D", output=(width,))
    elif config.readout == "flatten_all":
        width *= num_steps
        yield Layer(kind="Flatten", output=(width,))
    if config.rnn_bn:
        yield batch_norm((width,))


def _scan_patches(config: ModelSettings, shape: MapShape) -> Iterator[Layer]:
    """Yield bidirectional layers over columns of patches, or over the whole grid; final states are concatenated."""
    rnn = rnn_settings(config)
    length, features = patch_sequence(shape, rnn.patch, raster=bool(config.raster))
    num_reads = shape[1] * shape[2] // rnn.patch**2
    num_sequences = num_reads // length
    is_conv = rnn.cell == "convlstm"
    state: tuple[int, ...] = (rnn.patch, rnn.patch, 2 * rnn.nodes) if is_conv else (2 * rnn.nodes,)
    width = num_sequences * math.prod(state)
    for index in range(rnn.depth):
        if is_conv:
            channels, has_peepholes = (shape[0], state[-1])[index > 0], config.peephole != "none"
            layer = conv_lstm(channels, rnn.nodes, num_reads, rnn.patch, has_peepholes=has_peepholes)
        else:
            layer = recurrent(rnn.cell, (features, state[-1])[index > 0], rnn.nodes, num_reads, directions=2)
        output = (width,) if index == rnn.depth - 1 else (num_sequences, length, *state)
        yield replace(layer, kind=f"PatchRNN({layer.kind})", output=output)
    if config.rnn_bn:
        yield batch_norm((width,))


def _scan_renet(config: ModelSettings) -> Iterator[Layer]:
    rnn, shape = rnn_settings(config), feature_shape(config)
    for _ in range(rnn.depth):
        features = shape[0] * rnn.patch**2
        shape = renet_shape(shape, rnn.patch, rnn.nodes, depth=1)
        for before in (features, shape[0]):  # down the columns, then across the rows
            layer = recurrent(rnn.cell, before, rnn.nodes, shape[1] * shape[2], directions=2)
            yield replace(layer, kind=f"ReNet({layer.kind})", output=hwc(shape))
    yield Layer(kind="Flatten", output=(volume(shape),))


def _head(config: ModelSettings, output: tuple[int, ...]) -> Iterator[Layer]:
    """Yield the dense layers to the logits, applied at every step if the input has steps."""
    *steps, before = output
    widths = fc_widths(config.fc or "-")
    if not widths:
        yield from _dropout(config.dropout, output)
    for width in widths:
        yield _per_step(dense(before, width), steps)
        yield from _dropout(config.dropout, (*steps, width))
        before = width
    yield _per_step(dense(before, config.num_classes), steps)
    yield Layer(kind="Softmax", output=(*steps, config.num_classes))
    if steps:
        yield Layer(kind="Average", output=(config.num_classes,))


def _per_step(layer: Layer, steps: Sequence[int]) -> Layer:
    if not steps:
        return layer
    kind, output = f"TimeDistributed({layer.kind})", (*steps, *layer.output)
    return replace(layer, kind=kind, output=output, macs=math.prod(steps) * layer.macs)


def _dropout(share: float | None, output: tuple[int, ...]) -> Iterator[Layer]:
    if share:
        yield Layer(kind="Dropout", output=output)


def _tsn(config: ModelSettings) -> Iterator[Layer]:
    strip = (config.input_channels, config.input_height // 2, config.input_width)
    yield Layer(kind="Strips", output=(STRIPS, *hwc(strip)))
    shared = [*_chain(BLOCKS["cnn6"](config), strip, has_bn=True)]
    width = shared[-1].output[-1]
    pooled = [Layer(kind=kind, output=(width,)) for kind in ("GlobalAveragePooling2D", "Dropout")]
    for layer in (*shared, *pooled, dense(width, config.num_classes)):
        yield replace(layer, output=(STRIPS, *layer.output), macs=STRIPS * layer.macs)
    yield from (Layer(kind=kind, output=(config.num_classes,)) for kind in ("Average", "Softmax"))


def _autoencoder(config: ModelSettings) -> Iterator[Layer]:
    maps = [image_shape(config)]
    for channels in AUTOENCODER_WIDTHS:
        maps.append((channels, maps[-1][1] // 2, maps[-1][2] // 2))
        yield convolution(maps[-2][0], maps[-1], kernel=4)
    for before, after in pairwise(reversed(maps)):
        yield replace(convolution(before[0], after, kernel=4), kind="Conv2DTranspose", macs=0)
    yield Layer(kind="Flatten", output=(volume(maps[-1]),))
    yield from (dense(volume(maps[-1]), config.num_classes), Layer(kind="Softmax", output=(config.num_classes,)))


FAMILY_LAYERS: dict[str, Callable[[ModelSettings], Iterator[Layer]]] = {
    "hybrid": _hybrid,
    "tsn": _tsn,
    "autoencoder": _autoencoder,
}
"""Family -> function that yields its layers from image to class probabilities."""
