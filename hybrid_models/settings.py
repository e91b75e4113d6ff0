"""The settings of a model and their defaults. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings of one classifier without validation; `ModelConfig` validates them.

    Settings that do not apply are None; `config.rules.ACTIVE` defines when each one applies.
    """

    family: str = "hybrid"
    """Family: hybrid (CNN, RNN or both), autoencoder, or tsn (mean of the class scores of three image strips)."""
    wavelet: str = "none"
    """Filter of the image: none, haar_ll (low-pass band, half the size), haar_all (all four bands as channels)."""
    backbone: str | None = None
    """CNN: none, cnn4, cnn6, vgg9, resnet20, yincnn, plain."""
    n_conv: int | None = None
    """Number of convolutions of plain; 2 to 8."""
    cnn_bn: bool | None = None
    """Whether each convolution has batch normalisation; resnet20 always has it."""
    cnn_dropout: float | None = None
    """Dropout probability after each block of convolutions; 0 to below 1."""
    pool_head: str | None = None
    """Pooling of the CNN's map to a vector for the head: flatten, or gap (mean over positions)."""
    enc_on: bool | None = None
    """Whether an encoder-decoder follows the CNN."""
    enc_depth: int | None = None
    """Number of dense layers of the encoder, and of the decoder; 1 to 64."""
    enc_code: int | None = None
    """Width of the code; at least 1."""
    enc_bn: bool | None = None
    """Whether each layer of the encoder-decoder has batch normalisation."""
    rnn: str | None = None
    """Cell and direction: none, rnn_tanh, irnn, gru, lstm, bigru, bilstm, convlstm."""
    merge: str | None = None
    """Input of the head: serial (the RNN), sum or concat (RNN and CNN), taps (CNN, and RNNs over its maps)."""
    taps: str | None = None
    """Blocks of the CNN whose maps RNNs read: all, last2, first."""
    layout: str | None = None
    """Conversion of the map to a sequence: flat_scalar, flat_chunk, single_step, positions, rows, cols, channels; or a
    scan of patches: patches_bidir (both directions of columns), renet4 (both directions of columns, then of rows)."""
    chunk: int | None = None
    """Features per step of flat_chunk; at least 1."""
    patch: int | None = None
    """Side of a square patch; at least 1, a divisor of the map's sides."""
    raster: bool | None = None
    """Whether a tap reads its whole grid of patches as one sequence, row by row, instead of each column."""
    nodes: int | None = None
    """Width of the state of one direction (for a ConvLSTM, its channels); at least 1."""
    depth: int | None = None
    """Number of recurrent layers; 1 to 64."""
    readout: str | None = None
    """Conversion of states to a vector: last, mean, flatten_all; or per_step (averages class probabilities)."""
    rnn_bn: bool | None = None
    """Whether the RNN's output has batch normalisation."""
    peephole: str | None = None
    """Peephole connections from a ConvLSTM's memory to its gates: none, printed (Yin et al.), original (Shi et al.)."""
    fc: str | None = None
    """Widths of the dense layers before the logits, such as 512 or 1024-512; - for no layer."""
    dropout: float | None = None
    """Dropout probability after each dense layer, or before the logits if there is none; 0 to below 1."""
    recon_weight: float | None = None
    """Weight w of the autoencoder's reconstruction error; the cross-entropy has weight 1 - w. 0 to below 1."""
    init: str = "torch"
    """Initial weights: torch, or keras (Glorot, orthogonal, forget-gate bias 1, one bias per gate)."""
    bn_style: str = "torch"
    """Batch normalisation: torch (momentum 0.1, eps 1e-5) or keras (0.01, 1e-3)."""
    bn_order: str = "after_relu"
    """Position of batch normalisation in CNN and encoder-decoder: after_relu, or before_relu (always in resnet20)."""
    vgg_reading: str = "vgg_a"
    """Variant of vgg9: vgg_a (shortened VGG-A), fed (as in federated learning), narrow (fed from 64 channels on)."""
    shortcut: str = "A"
    """Shortcut of resnet20: A (zero channels), B (1x1 convolution), keras (1x1 convolution, biases everywhere)."""
    enc_output: str = "relu"
    """Activation of the encoder-decoder's last layer: relu or linear."""
    sum_branch: str = "relu"
    """Activation of the CNN's branch in merge sum: relu or linear."""
    input_channels: int
    """Channels of an image; at least 1."""
    input_height: int
    """Rows of an image; at least 1."""
    input_width: int
    """Columns of an image; at least 1."""
    num_classes: int
    """Number of logits; at least 2."""
