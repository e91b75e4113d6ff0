"""Builds models from configurations."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hybrid_models.autoencoder import Autoencoder
from hybrid_models.classifier import HybridClassifier
from hybrid_models.config.model import ModelConfig
from hybrid_models.init import initialise
from hybrid_models.segments import SegmentConsensus

Model = HybridClassifier | Autoencoder | SegmentConsensus
"""A model of any family; its `config` attribute holds its configuration."""
FAMILIES: dict[str, Callable[[ModelConfig], Model]] = {
    "hybrid": HybridClassifier,
    "autoencoder": Autoencoder,
    "tsn": SegmentConsensus,
}
"""Family -> class of the model."""


def build(config: ModelConfig, generator: torch.Generator) -> Model:
    """Build a model and initialise its weights.

    Args:
        config: The configuration of the model.
        generator: Source of all initial weights, on the CPU; the global generator is left unchanged.

    Returns:
        The model in training mode, float32, on the CPU. It maps normalised images (B, C, H, W) to logits
        (B, num_classes).
    """
    # Constructors of torch layers draw weights from the global generator; `initialise` overwrites them.
    with torch.random.fork_rng(devices=[]):
        model = FAMILIES[config.family](config)
    initialise(model, config.init, generator)
    return model
