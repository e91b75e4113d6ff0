"""The assembly: CNN, perhaps an encoder-decoder, perhaps an RNN, head.

Shapes: B batch, C channels, H height, W width, L steps, F features of a step, D width of a vector, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from hybrid_models.backbones import BACKBONES
from hybrid_models.bottleneck import Bottleneck
from hybrid_models.config import FC_WIDTHS, ModelConfig
from hybrid_models.heads import READOUTS, Head, readout_width
from hybrid_models.layouts import POOL_HEADS, Layout
from hybrid_models.merges import MERGES
from hybrid_models.norm import batch_norm_1d
from hybrid_models.recurrent import Recurrence
from hybrid_models.shapes import feature_shape


class SequenceReader(nn.Module):
    """Map -> sequence -> states -> vector of `width` values.

    Args:
        config: With an RNN.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # The configuration has checked that these are set.
        assert config.layout is not None
        assert config.nodes is not None
        assert config.depth is not None
        assert config.readout is not None
        self.layout = Layout(config.layout, feature_shape(config), config.chunk)
        num_steps, num_features = self.layout.shape
        self.recurrence = Recurrence(config.rnn, num_features, config.nodes, config.depth)
        self.readout = READOUTS[config.readout]
        self.width = readout_width(config.readout, num_steps, self.recurrence.width)
        self.norm = batch_norm_1d(self.width, config.bn_style) if config.rnn_bn else nn.Identity()

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) -> vector (B, D)."""
        states_BLN, final_BN = self.recurrence(self.layout(map_BCHW))
        out: Tensor = self.norm(self.readout(states_BLN, final_BN))
        return out


class HybridClassifier(nn.Module):
    """Image -> logits.

    Args:
        config: What to assemble. Make it with `build`, which also draws the weights.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        shape = feature_shape(config)
        self.backbone = BACKBONES[config.backbone](config)
        self.bottleneck: nn.Module = nn.Identity()
        if config.enc_depth is not None and config.enc_code is not None:
            bn_style = config.bn_style if config.enc_bn else None
            self.bottleneck = Bottleneck(shape, config.enc_depth, config.enc_code, bn_style)
        if config.merge is None:
            assert config.pool_head is not None
            self.pool, width = POOL_HEADS[config.pool_head](shape)
        else:
            self.reader = SequenceReader(config)
            self.merge = MERGES[config.merge](self.reader.width, shape)
            width = self.merge.width
        self.head = Head(width, FC_WIDTHS[config.fc], config.dropout, config.num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W), normalised -> logits (B, K)."""
        map_BCHW = self.bottleneck(self.backbone(images_BCHW))
        is_plain = self.config.merge is None
        feats_BD = self.pool(map_BCHW) if is_plain else self.merge(self.reader(map_BCHW), map_BCHW)
        logits_BK: Tensor = self.head(feats_BD)
        return logits_BK
