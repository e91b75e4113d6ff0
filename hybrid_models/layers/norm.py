"""Batch normalisation with the defaults of torch or Keras."""

from __future__ import annotations

from torch import nn

BN_STYLES: dict[str, tuple[float, float]] = {"torch": (0.1, 1e-5), "keras": (0.01, 1e-3)}
"""Style -> momentum as torch defines it (weight of the new batch), epsilon."""


def batch_norm_2d(num_channels: int, style: str) -> nn.BatchNorm2d:
    """Return a batch normalisation of maps (B, C, H, W), per channel."""
    momentum, eps = BN_STYLES[style]
    return nn.BatchNorm2d(num_channels, momentum=momentum, eps=eps)


def batch_norm_1d(num_features: int, style: str) -> nn.BatchNorm1d:
    """Return a batch normalisation of vectors (B, D), per feature."""
    momentum, eps = BN_STYLES[style]
    return nn.BatchNorm1d(num_features, momentum=momentum, eps=eps)
