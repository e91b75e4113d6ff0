"""ModelConfig -> model: the only dispatch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hybrid_models.autoencoder import Autoencoder
from hybrid_models.classifier import HybridClassifier
from hybrid_models.config.model import ModelConfig
from hybrid_models.init import initialise
from hybrid_models.segments import SegmentConsensus

Model = HybridClassifier | Autoencoder | SegmentConsensus
"""A classifier of any family; `config` says what it is."""
FAMILIES: dict[str, Callable[[ModelConfig], Model]] = {
    "hybrid": HybridClassifier,
    "autoencoder": Autoencoder,
    "tsn": SegmentConsensus,
}
"""Family -> maker."""


def build(config: ModelConfig, generator: torch.Generator) -> Model:
    """Assemble a model and draw its weights.

    Args:
        config: What to build.
        generator: Decides every initial weight; the global generator stays as it is.

    Returns:
        The model in training mode, float32, on the CPU. Images (B, C, H, W) -> logits (B, num_classes).
    """
    # torch's own constructors draw from the global generator, for weights that are overwritten here.
    with torch.random.fork_rng(devices=[]):
        model = FAMILIES[config.family](config)
    initialise(model, config.init, generator)
    return model
