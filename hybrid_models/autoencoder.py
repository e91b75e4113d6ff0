"""The autoencoder family: a code from which both the image and the class are read.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from hybrid_models.config.model import ModelConfig
from hybrid_models.config.shapes import AUTOENCODER_WIDTHS
from hybrid_models.layers.heads import Head
from hybrid_models.layers.layouts import Flatten


class Autoencoder(nn.Module):
    """Convolutions down to a code of 1/8 of each side, transposed ones back, one dense layer to the logits.

    Train it with `objective`, which weighs reconstruction against classification.

    Args:
        config: Of family autoencoder. Make it with `build`, which also draws the weights.

    Reference:
        Yilmaz et al., model 4.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.recon_weight is not None
        self.config = config
        self.recon_weight = config.recon_weight
        widths = (config.input_channels, *AUTOENCODER_WIDTHS)
        down: list[nn.Module] = []
        for before, after in pairwise(widths):
            down += [nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        up: list[nn.Module] = []
        for before, after in pairwise(reversed(widths)):
            up += [nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up[:-1])
        shrink = 2 ** len(AUTOENCODER_WIDTHS)
        self.flatten = Flatten((widths[-1], config.input_height // shrink, config.input_width // shrink))
        self.head = Head(self.flatten.size, (), 0.0, config.num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W), normalised -> logits (B, K)."""
        return self.classify(self.encode(images_BCHW))

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W), normalised -> code (B, 48, H/8, W/8)."""
        out: Tensor = self.encoder(images_BCHW)
        return out

    def classify(self, code_BCHW: Tensor) -> Tensor:
        """Code -> logits (B, K)."""
        out: Tensor = self.head(self.flatten(code_BCHW))
        return out

    def decode(self, code_BCHW: Tensor) -> Tensor:
        """Code -> images (B, C, H, W), normalised."""
        out: Tensor = self.decoder(code_BCHW)
        return out

    def reconstruct(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W), normalised -> what is left of them after the code, of the same shape."""
        return self.decode(self.encode(images_BCHW))
