"""Tests draw their images from the global generator; each starts it anew."""

import pytest
import torch

from hybrid_models.build import build
from hybrid_models.config.model import ModelConfig
from spaces.presets import load_preset


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def make_config():
    """Configuration of a preset or point, for square images, with some settings changed."""

    def make(like, size=32, num_classes=10, **changes):
        point = load_preset(like) if isinstance(like, str) else like
        image = {"input_channels": 3, "input_height": size, "input_width": size, "num_classes": num_classes}
        return ModelConfig.from_dict({**point, **image, **changes})

    return make


@pytest.fixture(scope="session")
def make_model(make_config):
    """The model of such a configuration."""

    def make(like, size=32, *, seed=0, **changes):
        return build(make_config(like, size, **changes), torch.Generator().manual_seed(seed))

    return make
