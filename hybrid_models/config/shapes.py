"""Computes the shapes inside a model without building it. Imports no torch.

Shapes: C channels, H height, W width, L steps of a sequence, F features of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hybrid_models.config.patch_shapes import MapShape, patch_steps, renet_steps
from hybrid_models.settings import ModelSettings


@dataclass(frozen=True)
class Block:
    """3x3 convolutions that keep the size, and optional pooling that halves it. The output can be tapped."""

    widths: tuple[int, ...]
    """Output channels of each convolution."""
    pool: bool = True


PLAIN_WIDTHS = (32, 64, 128, 128, 256, 256, 256, 256)
"""Output channels of the convolutions of `plain`, of which the first `n_conv` are used."""
RESNET20_WIDTHS = (16, 32, 64)
"""Output channels of the three stages of `resnet20`."""
RESNET20_BLOCKS = 3
"""Number of residual blocks per stage, two convolutions each."""
_CNN6 = (Block((32, 64)), Block((128, 128)), Block((256, 256)))
_VGG9 = {
    "vgg_a": (Block((64,)), Block((128,)), Block((256, 256)), Block((512, 512), pool=False)),
    "fed": _CNN6,
    "narrow": (Block((64, 64)), Block((128, 128)), Block((256, 256))),
}


def _plain(config: ModelSettings) -> tuple[Block, ...]:
    widths = PLAIN_WIDTHS[: config.n_conv or 0]
    # Pooling follows each pair of convolutions; a single last one is a block without pooling.
    return tuple(Block(pair, pool=len(pair) == 2) for pair in (widths[i : i + 2] for i in range(0, len(widths), 2)))


BLOCKS: dict[str, Callable[[ModelSettings], tuple[Block, ...]]] = {
    "cnn4": lambda _: tuple(Block((width,)) for width in (32, 64, 128, 256)),
    "cnn6": lambda _: _CNN6,
    "vgg9": lambda config: _VGG9[config.vgg_reading],
    "yincnn": lambda _: (Block((32, 32)), Block((64, 64))),
    "plain": _plain,
}
"""Backbone -> function that returns its chain of blocks.

Reference: cnn4 is Woo, Kim, Choi (2023), Table 1. cnn6, yincnn and plain follow the papers' descriptions, which give no
widths. vgg9 is VGG-A without its last block and two of its poolings; `fed` is the variant used in federated learning.
"""
SAME_POOLING = ("cnn4",)
"""Backbones whose pooling keeps an odd row or column; the others drop it."""
STRIPS = 3
"""Number of overlapping strips of half the height that tsn divides an image into."""
AUTOENCODER_WIDTHS = (12, 24, 48)
"""Output channels of the autoencoder's 4x4 convolutions, each of which halves the sides."""

LAYOUT_SHAPES: dict[str, Callable[[int, int, int, int], tuple[int, int]]] = {
    "flat_scalar": lambda c, h, w, _: (h * w * c, 1),
    "flat_chunk": lambda c, h, w, chunk: (math.ceil(h * w * c / chunk), chunk),
    "single_step": lambda c, h, w, _: (1, h * w * c),
    "positions": lambda c, h, w, _: (h * w, c),
    "rows": lambda c, h, w, _: (h, w * c),
    "cols": lambda c, h, w, _: (w, h * c),
    "channels": lambda c, h, w, _: (c, h * w),
}
"""Layout -> function from C, H, W of the feature map and chunk to the shape (L, F) of the sequence."""
FLAT_LAYOUTS = ("flat_scalar", "flat_chunk", "single_step")
"""Layouts that read the flattened map."""
PATCH_LAYOUTS = ("patches_bidir", "renet4")
"""Layouts that scan a grid of patches in several directions instead of reading one sequence."""


def fc_widths(fc: str) -> tuple[int, ...]:
    """Return the widths of the dense layers that `fc` names; "-" stands for no layer.

    >>> fc_widths("1024-512")
    (1024, 512)
    """
    return () if fc == "-" else tuple(int(width) for width in fc.split("-"))


def encoder_widths(depth: int, code: int) -> tuple[int, ...]:
    """Return the hidden widths of the encoder-decoder: code * 2^(depth-1), ..., code, and mirrored back.

    >>> encoder_widths(depth=3, code=16)
    (64, 32, 16, 32, 64)
    """
    down = [code * 2 ** (depth - 1 - index) for index in range(depth)]
    return (*down, *down[-2::-1])


def volume(shape: MapShape) -> int:
    """Return the number of values in a map."""
    return math.prod(shape)


def image_shape(config: ModelSettings) -> MapShape:
    """Return the shape of the backbone's input: the image, or its wavelet bands."""
    channels, height, width = config.input_channels, config.input_height, config.input_width
    if config.wavelet == "none":
        return channels, height, width
    num_bands = 4 if config.wavelet == "haar_all" else 1
    return num_bands * channels, math.ceil(height / 2), math.ceil(width / 2)


def stage_shapes(config: ModelSettings) -> tuple[MapShape, ...]:
    """Return the shape of the map after each block or stage; a side of 0 means that the image is too small."""
    _, height, width = image_shape(config)
    shapes: list[MapShape] = []
    if config.backbone == "resnet20":
        for channels in RESNET20_WIDTHS:
            shapes.append((channels, height, width))
            height, width = math.ceil(height / 2), math.ceil(width / 2)
    elif config.backbone in BLOCKS:
        odd = 1 if config.backbone in SAME_POOLING else 0
        for block in BLOCKS[config.backbone](config):
            if block.pool:
                height, width = (height + odd) // 2, (width + odd) // 2
            shapes.append((block.widths[-1], height, width))
    return tuple(shapes)


def feature_shape(config: ModelSettings) -> MapShape:
    """Return the shape of the backbone's output; the encoder-decoder keeps it."""
    return (image_shape(config), *stage_shapes(config))[-1]


TAPS: dict[str, slice] = {"all": slice(None), "last2": slice(-2, None), "first": slice(1)}
"""Value of `taps` -> the blocks or stages that are tapped."""


def tap_shapes(config: ModelSettings) -> tuple[MapShape, ...]:
    """Return the shapes of the tapped maps that patch RNNs read; empty unless merge is taps."""
    return stage_shapes(config)[TAPS[config.taps]] if config.taps is not None else ()


def sequence_shape(config: ModelSettings) -> tuple[int, int] | None:
    """Return the shape (L, F) of the RNN's sequence; None without an RNN, or if it scans patches."""
    if config.layout not in LAYOUT_SHAPES:
        return None
    return LAYOUT_SHAPES[config.layout](*feature_shape(config), config.chunk or 0)


@dataclass(frozen=True)
class RnnSettings:
    """The RNN settings of a validated configuration, none of them None."""

    cell: str
    nodes: int
    depth: int
    patch: int
    """Side of a patch; 1 if the RNN does not read patches."""


def rnn_settings(config: ModelSettings) -> RnnSettings:
    """Return the RNN settings of a configuration that has an RNN."""
    assert config.rnn is not None
    assert config.nodes is not None
    assert config.depth is not None
    return RnnSettings(config.rnn, config.nodes, config.depth, config.patch or 1)


def sequential_steps(config: ModelSettings) -> int:
    """Return the number of recurrent steps that must run one after another.

    Layers run in sequence; directions, columns of patches and taps could run in parallel.
    """
    if config.depth is None:
        return 0
    rnn = rnn_settings(config)
    if (sequence := sequence_shape(config)) is not None:
        return sequence[0] * rnn.depth
    if config.layout == "renet4":
        return renet_steps(feature_shape(config), rnn.patch, rnn.depth)
    scanned = tap_shapes(config) or (feature_shape(config),)
    return max(patch_steps(shape, rnn.patch, rnn.depth, raster=bool(config.raster)) for shape in scanned)
