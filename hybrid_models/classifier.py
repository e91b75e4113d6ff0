"""The hybrid family: wavelet filter, CNN, encoder-decoder, RNN merged with the CNN, head.

Shapes: B batch, C channels, H height, W width, D width of a vector, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from hybrid_models.backbones.cnn import make_backbone
from hybrid_models.config.model import ModelConfig
from hybrid_models.config.shapes import fc_widths
from hybrid_models.layers.bottleneck import make_bottleneck
from hybrid_models.layers.heads import Head, average_probabilities
from hybrid_models.layers.merges import MERGES
from hybrid_models.layers.wavelet import Haar


class HybridClassifier(nn.Module):
    """A classifier made of a CNN, an RNN or both.

    Create it with `build`, which also initialises the weights.

    Args:
        config: A configuration of the family hybrid.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.fc is not None
        assert config.dropout is not None
        self.config = config
        self.filter = nn.Identity() if config.wavelet == "none" else Haar(all_bands=config.wavelet == "haar_all")
        self.backbone = make_backbone(config)
        self.bottleneck = make_bottleneck(config)
        self.merge = MERGES[config.merge or "none"](config)
        self.head = Head(self.merge.width, fc_widths(config.fc), config.dropout, config.num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Compute logits (B, K) from normalised images (B, C, H, W); log-probabilities with readout per_step."""
        map_BCHW, taps = self.backbone(self.filter(images_BCHW))
        feats_BD = self.merge(self.bottleneck(map_BCHW), taps)
        logits_BK: Tensor = self.head(feats_BD)
        return average_probabilities(logits_BK) if self.config.readout == "per_step" else logits_BK
