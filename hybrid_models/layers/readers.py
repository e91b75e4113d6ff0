"""Readers: RNNs from a feature map to a vector, or to a vector per step.

Shapes: B batch, C channels, H height, W width, L steps, D width of a vector.
"""

from __future__ import annotations

from torch import Tensor, nn

from hybrid_models.config.model import ModelConfig
from hybrid_models.config.patch_shapes import MapShape
from hybrid_models.config.shapes import feature_shape, rnn_settings
from hybrid_models.layers.heads import READOUTS, readout_width
from hybrid_models.layers.layouts import Flatten, Layout
from hybrid_models.layers.norm import batch_norm_1d
from hybrid_models.layers.patch_rnn import PatchRNN, ReNet
from hybrid_models.layers.recurrent import Recurrence


class SequenceReader(nn.Module):
    """An RNN over a map that is rearranged into a sequence; returns a vector of `width` values.

    Args:
        config: A configuration with an RNN and a sequence layout.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # The configuration is validated; the assertions inform the type checker.
        assert config.layout is not None
        assert config.readout is not None
        rnn = rnn_settings(config)
        self.layout = Layout(config.layout, feature_shape(config), config.chunk)
        num_steps, num_features = self.layout.shape
        self.recurrence = Recurrence(rnn.cell, num_features, rnn.nodes, rnn.depth)
        self.readout = READOUTS[config.readout]
        self.width = readout_width(config.readout, num_steps, self.recurrence.width)
        self.norm = batch_norm_1d(self.width, config.bn_style) if config.rnn_bn else nn.Identity()

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to vectors (B, D), or to (B, L, D) with readout per_step."""
        states_BLN, final_BN = self.recurrence(self.layout(map_BCHW))
        out: Tensor = self.norm(self.readout(states_BLN, final_BN))
        return out


class ReNetReader(nn.Module):
    """ReNet layers over a map; returns their output flattened to `width` values.

    Args:
        config: A configuration with layout renet4.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        rnn = rnn_settings(config)
        self.renet = ReNet(rnn.cell, feature_shape(config), rnn.patch, rnn.nodes, depth=rnn.depth)
        self.flatten = Flatten(self.renet.shape)
        self.width = self.flatten.size

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to vectors (B, D)."""
        out: Tensor = self.flatten(self.renet(map_BCHW))
        return out


def make_patch_reader(config: ModelConfig, map_shape: MapShape) -> PatchRNN:
    """Build a patch RNN for a map; it returns a vector of `width` values."""
    rnn = rnn_settings(config)
    return PatchRNN(
        rnn.cell,
        map_shape,
        rnn.patch,
        rnn.nodes,
        depth=rnn.depth,
        raster=bool(config.raster),
        peephole=config.peephole,
        bn_style=config.bn_style if config.rnn_bn else None,
    )


def make_reader(config: ModelConfig) -> SequenceReader | ReNetReader | PatchRNN:
    """Build the reader for the configuration's layout; it returns a vector of `width` values."""
    if config.layout == "renet4":
        return ReNetReader(config)
    if config.layout == "patches_bidir":
        return make_patch_reader(config, feature_shape(config))
    return SequenceReader(config)
