"""What a model is, as plain values. Imports no torch, so that a plan or `--help` stays fast."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hybrid_models.shapes import BACKBONE_SHAPES, LAYOUT_SHAPES, feature_shape, sequence_shape

CELLS = ("rnn_tanh", "irnn", "gru", "lstm", "bigru", "bilstm")
"""Kinds of recurrence; `bi` reads the sequence in both directions."""
MERGES = ("serial",)
"""How the RNN joins the CNN."""
READOUTS = ("last", "mean", "flatten_all")
"""How the sequence of states becomes one vector."""
FC_WIDTHS = {"-": (), "128": (128,), "512": (512,), "512-512": (512, 512), "1024-512": (1024, 512)}
"""Widths of the dense layers between feature and logits."""
MAX_STEPS = 1024
"""Longest sequence."""
MAX_FLATTENED = 16_384
"""Widest vector of the `flatten_all` readout."""
MAX_ENCODED = 8_192
"""Widest feature that the encoder-decoder takes."""


class ConfigError(ValueError):
    """A model configuration does not hold together.

    Attributes:
        faults: One line each: what was expected, what was found.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults: tuple[str, ...] = faults

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, ...]]:
        """Survive pickling with all faults."""
        return type(self), self.faults


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One classifier. Settings that do not apply stay None.

    Raises:
        ConfigError: With every fault at once.
    """

    backbone: str
    """Convolutional part; cnn4."""
    cnn_bn: bool
    """Whether each convolution is followed by batch normalisation (after its ReLU)."""
    cnn_dropout: float
    """Share of values dropped after each pooling; 0 to below 1."""
    enc_on: bool
    """Whether an encoder-decoder stands between CNN and RNN."""
    rnn: str
    """Cell and direction: none, rnn_tanh, irnn, gru, lstm, bigru, bilstm."""
    fc: str
    """Dense layers before the logits: - (none), 128, 512, 512-512, 1024-512."""
    dropout: float
    """Share of values dropped before the logits and after each dense layer; 0 to below 1."""
    pool_head: str | None = None
    """How the map becomes a vector: flatten or gap (mean over positions). Only without an RNN."""
    enc_depth: int | None = None
    """Dense layers from feature to code, and again from code to feature; at least 1. Only with enc_on."""
    enc_code: int | None = None
    """Width of the code; at least 1. Only with enc_on."""
    enc_bn: bool | None = None
    """Whether each of these layers is followed by batch normalisation. Only with enc_on."""
    nodes: int | None = None
    """Width of one direction's state; at least 1. Only with an RNN."""
    depth: int | None = None
    """Recurrent layers; at least 1. Only with an RNN."""
    layout: str | None = None
    """From map to sequence: flat_scalar, flat_chunk, single_step, positions, rows, cols, channels (RNN only)."""
    chunk: int | None = None
    """Features per step; at least 1. Only with layout flat_chunk."""
    merge: str | None = None
    """How the RNN joins the CNN: serial (the head sees the RNN alone). Only with an RNN."""
    readout: str | None = None
    """How states become a vector: last, mean, flatten_all. Only with an RNN."""
    rnn_bn: bool | None = None
    """Whether that vector is batch-normalised. Only with an RNN."""
    init: str = "torch"
    """Initial weights: torch, or keras (Glorot, orthogonal, forget-gate bias 1, one bias per gate)."""
    bn_style: str = "torch"
    """Batch normalisation: torch (momentum 0.1, eps 1e-5) or keras (0.01, 1e-3)."""
    input_channels: int
    """Channels of an image; at least 1."""
    input_height: int
    """Rows of an image; at least 1."""
    input_width: int
    """Columns of an image; at least 1."""
    num_classes: int
    """Number of logits; at least 2."""

    def __post_init__(self) -> None:
        """Collect all faults."""
        faults = [*self._type_faults()] or [*self._activity_faults()] or [*self._shape_faults()]
        if faults:
            raise ConfigError(*faults)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Make a configuration from plain values.

        Raises:
            ConfigError: Unknown, missing or faulty settings.
        """
        known = {field.name: field for field in fields(cls)}
        faults = []
        for name in data:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=2)
                hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
                faults.append(f"{name}: expected a setting of a model, found an unknown name ({hint})")
        # Required is what has no default; the dataclass itself would name only its own constructor.
        required = set(known) - set(vars(cls))
        faults += [f"{name}: expected a value, found none" for name in known if name in required and name not in data]
        if faults:
            raise ConfigError(*faults)
        return cls(**data)

    def _type_faults(self) -> list[str]:
        faults = []
        for name, allowed in _NAMES.items():
            value = getattr(self, name)
            if value not in allowed and not (value is None and name in _OPTIONAL):
                faults.append(f"{name}: expected one of {', '.join(allowed)}, found {value!r}")
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if (type(value) is not int or value < least) and not (value is None and name in _OPTIONAL):
                faults.append(f"{name}: expected a whole number of at least {least}, found {value!r}")
        for name in ("cnn_bn", "enc_on", "enc_bn", "rnn_bn"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (value is None and name in _OPTIONAL):
                faults.append(f"{name}: expected true or false, found {value!r}")
        for name in ("cnn_dropout", "dropout"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
                faults.append(f"{name}: expected a share of at least 0 and below 1, found {value!r}")
        return faults

    def _activity_faults(self) -> list[str]:
        active = {
            **dict.fromkeys(("enc_depth", "enc_code", "enc_bn"), (self.enc_on, "enc_on is true")),
            **dict.fromkeys(
                ("nodes", "depth", "layout", "merge", "readout", "rnn_bn"), (self.rnn != "none", "rnn is not none")
            ),
            "chunk": (self.layout == "flat_chunk", "layout is flat_chunk"),
            "pool_head": (self.rnn == "none", "rnn is none"),
        }
        faults = []
        for name, (is_active, reason) in active.items():
            value = getattr(self, name)
            if is_active and value is None:
                faults.append(f"{name}: expected a value because {reason}, found none")
            elif not is_active and value is not None:
                faults.append(f"{name}: expected no value unless {reason}, found {value!r}")
        if self.layout == "single_step" and (self.readout != "last" or self.rnn.startswith("bi")):
            faults.append(
                f"layout: single_step expects one direction and readout last, found {self.rnn} and {self.readout}"
            )
        return faults

    def _shape_faults(self) -> list[str]:
        faults = []
        channels, height, width = feature_shape(self)
        size = channels * height * width
        if self.enc_on and size > MAX_ENCODED:
            faults.append(f"enc_on: expected a feature of at most {MAX_ENCODED} values, found {size}")
        shape = sequence_shape(self)
        if shape is not None and shape[0] > MAX_STEPS:
            faults.append(f"layout: expected at most {MAX_STEPS} steps, found {shape[0]} with {self.layout}")
        elif shape is not None and self.readout == "flatten_all" and self.nodes is not None:
            flattened = shape[0] * self.nodes * (2 if self.rnn.startswith("bi") else 1)
            if flattened > MAX_FLATTENED:
                faults.append(f"readout: expected flatten_all of at most {MAX_FLATTENED} values, found {flattened}")
        return faults


_NAMES: dict[str, tuple[str, ...]] = {
    "backbone": tuple(BACKBONE_SHAPES),
    "rnn": ("none", *CELLS),
    "fc": tuple(FC_WIDTHS),
    "pool_head": ("flatten", "gap"),
    "layout": tuple(LAYOUT_SHAPES),
    "merge": MERGES,
    "readout": READOUTS,
    "init": ("torch", "keras"),
    "bn_style": ("torch", "keras"),
}
_COUNTS = {
    "enc_depth": 1,
    "enc_code": 1,
    "nodes": 1,
    "depth": 1,
    "chunk": 1,
    "input_channels": 1,
    "input_height": 1,
    "input_width": 1,
    "num_classes": 2,
}
_OPTIONAL = {field.name for field in fields(ModelConfig) if field.default is None}
