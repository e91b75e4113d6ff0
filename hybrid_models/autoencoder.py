"""The autoencoder family: reconstructs and classifies an image from the same code.

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
    """A convolutional autoencoder whose code also feeds a dense layer to the logits.

    Three convolutions halve the sides to a code of 1/8 of each side; transposed convolutions reconstruct the image.
    Create it with `build`, which also initialises the weights, and train it with `objective`, which weighs the
    reconstruction error against the classification error.

    Args:
        config: A configuration of the family autoencoder.

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
        """Compute logits (B, K) from normalised images (B, C, H, W)."""
        return self.classify(self.encode(images_BCHW))

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Compute the code (B, 48, H/8, W/8) of normalised images (B, C, H, W)."""
        out: Tensor = self.encoder(images_BCHW)
        return out

    def classify(self, code_BCHW: Tensor) -> Tensor:
        """Compute logits (B, K) from the code."""
        out: Tensor = self.head(self.flatten(code_BCHW))
        return out

    def decode(self, code_BCHW: Tensor) -> Tensor:
        """Compute normalised images (B, C, H, W) from the code."""
        out: Tensor = self.decoder(code_BCHW)
        return out
