"""Validation rules of model configurations: values, settings that do not apply, combinations, sizes.

Each fault is one line: setting, what was expected, what was found. Imports no torch.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from hybrid_models.config.arithmetic import num_parameters
from hybrid_models.config.patch_shapes import patch_fault, patch_sequence
from hybrid_models.config.shapes import (
    AUTOENCODER_WIDTHS,
    BLOCKS,
    LAYOUT_SHAPES,
    PATCH_LAYOUTS,
    PLAIN_WIDTHS,
    TAPS,
    feature_shape,
    image_shape,
    sequence_shape,
    tap_shapes,
    volume,
)
from hybrid_models.settings import ModelSettings

MAX_STEPS = 1024
"""Maximum number of steps of a sequence."""
MAX_FLATTENED = 16_384
"""Maximum width of the flatten_all readout, steps times nodes."""
MAX_ENCODED = 8_192
"""Maximum width of the encoder-decoder's input."""
MAX_PARAMETERS = 60_000_000
"""Maximum number of parameters of a model."""
MAX_DEPTH = 64
"""Maximum number of layers of an RNN or of half an encoder-decoder, which bounds the cost of counting layers."""
MIN_STRIP = 8
"""Minimum number of rows and columns of a tsn strip, which cnn6 halves three times."""

NAMES: dict[str, tuple[str, ...]] = {
    "family": ("hybrid", "autoencoder", "tsn"),
    "wavelet": ("none", "haar_ll", "haar_all"),
    "backbone": ("none", "cnn4", "cnn6", "vgg9", "resnet20", "yincnn", "plain"),
    "pool_head": ("flatten", "gap"),
    "rnn": ("none", "rnn_tanh", "irnn", "gru", "lstm", "bigru", "bilstm", "convlstm"),
    "merge": ("serial", "sum", "concat", "taps"),
    "taps": tuple(TAPS),
    "layout": (*LAYOUT_SHAPES, *PATCH_LAYOUTS),
    "readout": ("last", "mean", "flatten_all", "per_step"),
    "peephole": ("none", "printed", "original"),
    "init": ("torch", "keras"),
    "bn_style": ("torch", "keras"),
    "bn_order": ("after_relu", "before_relu"),
    "vgg_reading": ("vgg_a", "fed", "narrow"),
    "shortcut": ("A", "B", "keras"),
    "enc_output": ("relu", "linear"),
    "sum_branch": ("relu", "linear"),
}
"""Setting -> its allowed names."""
_LEAST = {
    **dict.fromkeys(("enc_code", "chunk", "patch", "nodes"), 1),
    **dict.fromkeys(("input_channels", "input_height", "input_width"), 1),
    "num_classes": 2,
}
_FLAGS = ("cnn_bn", "enc_on", "enc_bn", "raster", "rnn_bn")
_SHARES = ("cnn_dropout", "dropout", "recon_weight")
_NEVER_NONE = (
    *("family", "wavelet", "init", "bn_style", "bn_order", "vgg_reading", "shortcut", "enc_output", "sum_branch"),
    *("input_channels", "input_height", "input_width", "num_classes"),
)


def value_faults(config: ModelSettings) -> Iterator[str]:
    """Yield the faults of single settings."""
    for name, expected, is_right in _expectations():
        value = getattr(config, name)
        if not is_right(value) and not (value is None and name not in _NEVER_NONE):
            found = "null" if value is None else f"{value!r:.80}"
            yield f"{name}: expected {expected}, found {found}"


def _expectations() -> Iterator[tuple[str, str, Callable[[Any], bool]]]:
    for name, words in NAMES.items():
        yield name, f"one of {', '.join(words)}", words.__contains__
    for name, least in _LEAST.items():
        yield name, f"a whole number of at least {least}", functools.partial(_is_count, least=least)
    for name in ("enc_depth", "depth"):
        yield name, f"a whole number from 1 to {MAX_DEPTH}", functools.partial(_is_count, least=1, most=MAX_DEPTH)
    most = len(PLAIN_WIDTHS)
    yield "n_conv", f"a whole number from 2 to {most}", functools.partial(_is_count, least=2, most=most)
    for name in _FLAGS:
        yield name, "true or false", lambda value: isinstance(value, bool)
    for name in _SHARES:
        yield name, "a share of at least 0 and below 1", _is_share
    yield "fc", "- or widths such as 512 or 1024-512", lambda value: type(value) is str and bool(_FC.fullmatch(value))


def _is_count(value: Any, least: int, most: float = math.inf) -> bool:  # noqa: ANN401 - whatever somebody wrote
    return type(value) is int and least <= value <= most


def _is_share(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


_FC = re.compile(r"-|[1-9][0-9]{0,7}(-[1-9][0-9]{0,7}){0,31}")


def _is_hybrid(config: ModelSettings) -> bool:
    return config.family == "hybrid"


def _has_rnn(config: ModelSettings) -> bool:
    return config.rnn not in (None, "none")


def _has_cnn(config: ModelSettings) -> bool:
    return config.backbone not in (None, "none")


def _has_sequence(config: ModelSettings) -> bool:
    return config.layout in LAYOUT_SHAPES and config.merge != "taps" and config.rnn != "convlstm"


Rule = tuple[Callable[["ModelSettings"], bool], str]
_HYBRID: Rule = (_is_hybrid, "family is hybrid")
_RNN: Rule = (_has_rnn, "rnn is not none")
_ENC: Rule = (lambda config: config.enc_on is True, "enc_on is true")
_CHAIN: Rule = (lambda config: config.backbone in BLOCKS, "backbone is neither none nor resnet20")
ACTIVE: dict[str, Rule] = {
    "backbone": _HYBRID,
    "rnn": _HYBRID,
    "fc": _HYBRID,
    "dropout": _HYBRID,
    "recon_weight": (lambda config: config.family == "autoencoder", "family is autoencoder"),
    "n_conv": (lambda config: config.backbone == "plain", "backbone is plain"),
    "cnn_bn": _CHAIN,
    "cnn_dropout": _CHAIN,
    "enc_on": (_has_cnn, "backbone is not none"),
    "enc_depth": _ENC,
    "enc_code": _ENC,
    "enc_bn": _ENC,
    "merge": _RNN,
    "nodes": _RNN,
    "depth": _RNN,
    "pool_head": (
        lambda config: _has_cnn(config) and (config.rnn == "none" or config.merge in ("sum", "concat", "taps")),
        "backbone is not none, and rnn is none or merge is not serial",
    ),
    "taps": (lambda config: config.merge == "taps", "merge is taps"),
    "raster": (lambda config: config.merge == "taps", "merge is taps"),
    "layout": (
        lambda config: _has_rnn(config) and config.merge in ("serial", "sum", "concat"),
        "rnn is not none and merge is not taps",
    ),
    "chunk": (lambda config: config.layout == "flat_chunk", "layout is flat_chunk"),
    "patch": (
        lambda config: config.merge == "taps" or config.layout in PATCH_LAYOUTS,
        "merge is taps, or layout is patches_bidir or renet4",
    ),
    "readout": (_has_sequence, "rnn is neither none nor convlstm, and layout is that of a sequence"),
    "rnn_bn": (
        lambda config: _has_rnn(config) and config.layout != "renet4" and config.readout != "per_step",
        "rnn is not none, layout is not renet4 and readout is not per_step",
    ),
    "peephole": (lambda config: config.rnn == "convlstm", "rnn is convlstm"),
}
"""Setting -> condition under which it applies, as a test and in words."""
_DECIDING = ("backbone", "rnn", "enc_on", "merge", "layout", "readout")
"""Settings that determine which others apply."""


def activity_faults(config: ModelSettings) -> Iterator[str]:
    """Yield a fault for each setting that applies but is missing, and for each that is set but does not apply."""
    if config.family != "hybrid" and config.wavelet != "none":
        yield f"wavelet: expected none unless family is hybrid, found {config.wavelet!r}"
    faults = {name: fault for name in ACTIVE if (fault := _activity_fault(config, name))}
    missing = [name for name in faults if getattr(config, name) is None]
    # If a deciding setting is missing, faults of the settings that depend on it would mislead.
    yield from (faults[name] for name in (missing if any(name in _DECIDING for name in missing) else faults))


def _activity_fault(config: ModelSettings, name: str) -> str | None:
    applies, words = ACTIVE[name]
    value = getattr(config, name)
    if value is None and applies(config):
        return f"{name}: expected a value because {words}, found none"
    if value is not None and not applies(config):
        return f"{name}: expected no value unless {words}, found {value!r}"
    return None


def combination_faults(config: ModelSettings) -> Iterator[str]:
    """Yield the faults of combinations that are invalid for images of any size."""
    rnn, layout, merge = config.rnn or "none", config.layout, config.merge
    scan = "merge taps" if merge == "taps" else f"layout {layout}"
    if config.backbone == "none" and rnn == "none":
        yield "rnn: expected a recurrence because backbone is none, found 'none'"
    if rnn == "convlstm" and merge != "taps" and layout != "patches_bidir":
        yield f"rnn: expected convlstm only with merge taps or layout patches_bidir, found layout {layout}"
    if rnn.startswith("bi") and (merge == "taps" or layout in PATCH_LAYOUTS):
        yield f"rnn: expected {rnn.removeprefix('bi')} because {scan} already reads both directions, found {rnn!r}"
    if config.backbone == "none" and merge not in (None, "serial"):
        yield f"merge: expected serial because backbone is none, found {merge!r}"
    if layout == "single_step" and (config.readout != "last" or rnn.startswith("bi")):
        yield f"layout: single_step expects one direction and readout last, found {rnn} and {config.readout}"
    if config.readout == "per_step" and merge != "serial":
        yield f"merge: expected serial because readout is per_step, found {merge!r}"
    if config.backbone == "none" and config.wavelet == "none" and layout == "channels":
        yield "layout: expected a value other than channels without a backbone (few and long steps), found 'channels'"


def shape_faults(config: ModelSettings) -> Iterator[str]:
    """Yield the faults that depend on the size of the images."""
    faults = list(_FAMILY_FAULTS[config.family](config))
    yield from faults
    if not faults and (found := num_parameters(config)) > MAX_PARAMETERS:
        yield f"model: expected at most {MAX_PARAMETERS} parameters, found {found}"


def _autoencoder_faults(config: ModelSettings) -> Iterator[str]:
    height, width = config.input_height, config.input_width
    factor = 2 ** len(AUTOENCODER_WIDTHS)
    if height % factor or width % factor:
        yield f"family: autoencoder expects images with sides divisible by {factor}, found {height}x{width}"


def _tsn_faults(config: ModelSettings) -> Iterator[str]:
    height, width = config.input_height, config.input_width
    if height < 2 * MIN_STRIP or width < MIN_STRIP:
        yield f"family: tsn expects images of at least {2 * MIN_STRIP}x{MIN_STRIP}, found {height}x{width}"


def _hybrid_faults(config: ModelSettings) -> Iterator[str]:
    if too_small := _pooling_fault(config):
        yield too_small  # the shapes of the following layers are undefined
        return
    size = volume(feature_shape(config))
    if config.enc_on and size > MAX_ENCODED:
        yield f"enc_on: expected a feature of at most {MAX_ENCODED} values, found {size}"
    if (sequence := sequence_shape(config)) is not None and config.nodes is not None:
        num_steps = sequence[0]
        if num_steps > MAX_STEPS:
            yield f"layout: expected at most {MAX_STEPS} steps, found {num_steps} with {config.layout}"
        elif config.readout == "flatten_all" and num_steps * config.nodes > MAX_FLATTENED:
            yield (
                f"readout: expected flatten_all of at most {MAX_FLATTENED} steps x nodes, "
                f"found {num_steps} x {config.nodes}"
            )
    if config.patch is not None:
        yield from _patch_faults(config, config.patch)


def _pooling_fault(config: ModelSettings) -> str | None:
    if 0 not in feature_shape(config):
        return None
    assert config.backbone is not None
    num_pools = sum(block.pool for block in BLOCKS[config.backbone](config))
    _, height, width = image_shape(config)
    after = "" if config.wavelet == "none" else f" after the wavelet filter {config.wavelet}"
    least = 2**num_pools
    return (
        f"backbone: expected images of at least {least}x{least}{after} for the {num_pools} poolings of "
        f"{config.backbone}, found {height}x{width}"
    )


def _patch_faults(config: ModelSettings, patch: int) -> Iterator[str]:
    num_layers = config.depth or 1 if config.layout == "renet4" else 1
    for shape in tap_shapes(config) or (feature_shape(config),):
        if fault := patch_fault(shape, patch, num_layers):
            yield f"patch: expected a divisor of the map's sides, found {patch}: {fault}"
        elif config.raster and (num_steps := patch_sequence(shape, patch, raster=True)[0]) > MAX_STEPS:
            yield f"raster: expected at most {MAX_STEPS} patches in a sequence, found {num_steps}"


_FAMILY_FAULTS: dict[str, Callable[[ModelSettings], Iterator[str]]] = {
    "hybrid": _hybrid_faults,
    "autoencoder": _autoencoder_faults,
    "tsn": _tsn_faults,
}
