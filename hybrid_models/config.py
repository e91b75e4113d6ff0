"""What a model is, as plain values. Imports no torch, so that a plan or `--help` stays fast."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hybrid_models.rules import activity_faults, combination_faults, shape_faults, value_faults


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
    """One classifier. Settings that do not apply stay None; when each applies stands in `rules.ACTIVE`.

    Raises:
        ConfigError: With every fault at once.
    """

    family: str = "hybrid"
    """hybrid (CNN, RNN or both), autoencoder, or tsn (mean of the class scores of three strips of the image)."""
    wavelet: str = "none"
    """Filter of the image: none, haar_ll (low-pass band, half the size), haar_all (its four bands as channels)."""
    backbone: str | None = None
    """Convolutional part: none, cnn4, cnn6, vgg9, resnet20, yincnn, plain."""
    n_conv: int | None = None
    """Convolutions of plain; 2 to 8."""
    cnn_bn: bool | None = None
    """Whether each convolution has batch normalisation; resnet20 always has it."""
    cnn_dropout: float | None = None
    """Share of values dropped after each block of convolutions; 0 to below 1."""
    pool_head: str | None = None
    """How the CNN's map becomes the vector that reaches the head: flatten, or gap (mean over positions)."""
    enc_on: bool | None = None
    """Whether an encoder-decoder stands behind the CNN."""
    enc_depth: int | None = None
    """Dense layers from feature to code, and again from code to feature; 1 to 64."""
    enc_code: int | None = None
    """Width of the code; at least 1."""
    enc_bn: bool | None = None
    """Whether each of these layers has batch normalisation."""
    rnn: str | None = None
    """Cell and direction: none, rnn_tanh, irnn, gru, lstm, bigru, bilstm, convlstm."""
    merge: str | None = None
    """What the head sees: serial (the RNN alone), sum or concat (RNN and CNN), taps (CNN, and RNNs over its maps)."""
    taps: str | None = None
    """Blocks of the CNN whose maps RNNs read: all, last2, first."""
    layout: str | None = None
    """From map to sequence: flat_scalar, flat_chunk, single_step, positions, rows, cols, channels; or a scan of
    patches: patches_bidir (down and up each column), renet4 (both ways along columns, then along rows)."""
    chunk: int | None = None
    """Features per step of flat_chunk; at least 1."""
    patch: int | None = None
    """Side of a square patch; at least 1, a divisor of the map's sides."""
    raster: bool | None = None
    """Whether a tap reads its whole grid of patches as one sequence, row by row, instead of each column."""
    nodes: int | None = None
    """Width of one direction's state (channels of a ConvLSTM's); at least 1."""
    depth: int | None = None
    """Recurrent layers; 1 to 64."""
    readout: str | None = None
    """From states to a vector: last, mean, flatten_all; or per_step (class probabilities of every step, averaged)."""
    rnn_bn: bool | None = None
    """Whether what the RNN gives is batch-normalised."""
    peephole: str | None = None
    """What a ConvLSTM's gates see of its memory: none, printed (Yin et al.), original (Shi et al.)."""
    fc: str | None = None
    """Dense layers before the logits: - for none, else their widths, such as 512 or 1024-512."""
    dropout: float | None = None
    """Share of values dropped after each of these, or before the logits if there is none; 0 to below 1."""
    recon_weight: float | None = None
    """Weight of the autoencoder's reconstruction error; the class error has the rest. 0 to below 1."""
    init: str = "torch"
    """Initial weights: torch, or keras (Glorot, orthogonal, forget-gate bias 1, one bias per gate)."""
    bn_style: str = "torch"
    """Batch normalisation: torch (momentum 0.1, eps 1e-5) or keras (0.01, 1e-3)."""
    bn_order: str = "after_relu"
    """Where batch normalisation stands in CNN and encoder-decoder: after_relu or before_relu (always in resnet20)."""
    vgg_reading: str = "vgg_a"
    """Which net vgg9 is: vgg_a (VGG-A shortened), fed (as in federated learning), narrow (that, from 64 channels)."""
    shortcut: str = "A"
    """How resnet20 widens: A (zero channels), B (1x1 convolution), keras (that, and a bias in every convolution)."""
    enc_output: str = "relu"
    """Activation of the encoder-decoder's last layer: relu or linear."""
    sum_branch: str = "relu"
    """Activation of the CNN's branch of merge sum: relu or linear."""
    input_channels: int
    """Channels of an image; at least 1."""
    input_height: int
    """Rows of an image; at least 1."""
    input_width: int
    """Columns of an image; at least 1."""
    num_classes: int
    """Number of logits; at least 2."""

    def __post_init__(self) -> None:
        """Collect all faults; a later kind makes sense only where the earlier ones are absent."""
        for check in (value_faults, activity_faults, combination_faults, shape_faults):
            if faults := list(check(self)):
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
