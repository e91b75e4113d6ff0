"""Exported programs and gradients of every preset."""

import io

import pytest
import torch

from hybrid_models.build import build
from hybrid_models.config import ModelConfig
from hybrid_models.export import export_program
from spaces.presets import load_preset, preset_names

NAMES = [name for name in preset_names() if name.startswith("ecrnn/")]
QUICK = ["ecrnn/cnn", "ecrnn/ecrnn-lstm-16"]


def make(name, size):
    image = {"input_channels": 3, "input_height": size, "input_width": size, "num_classes": 10}
    config = ModelConfig.from_dict({**load_preset(name), **image, "init": "keras", "bn_style": "keras"})
    return build(config, torch.Generator().manual_seed(0))


# Tracing unrolls every recurrent step, so the long ones are slow; the kept ones have each part of the others but depth.
@pytest.mark.parametrize(
    ("name", "size"),
    [(name, 8) for name in QUICK] + [pytest.param(name, 32, marks=pytest.mark.slow) for name in NAMES],
)
def test_exported_program_gives_the_same_logits(name, size):
    model = make(name, size)
    stored = io.BytesIO()
    torch.export.save(export_program(model, torch.zeros(2, 3, size, size)), stored)
    stored.seek(0)
    program = torch.export.load(stored).module()
    assert model.training
    model.eval()
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, size, size)
        torch.testing.assert_close(program(images), model(images))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(name):
    model = make(name, 8)
    loss = torch.nn.functional.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.arange(4))
    loss.backward()
    for key, weight in model.named_parameters():
        assert weight.requires_grad is ("bias_hh" not in key)
        if weight.requires_grad:
            assert weight.grad is not None, key
            assert weight.grad.isfinite().all(), key
            assert weight.grad.any(), key
