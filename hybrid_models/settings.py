"""The settings of a model, with their meanings and defaults. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings of one classifier, not checked: `ModelConfig` checks them.

    Settings that do not apply stay None; `rules.ACTIVE` lists when each one applies.
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
