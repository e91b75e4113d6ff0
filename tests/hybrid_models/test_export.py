"""Exported programs and gradients of every preset."""

import io

import pytest
import torch

from hybrid_models.export import export_program
from hybrid_models.objective import objective
from spaces.presets import preset_names

NAMES = preset_names()
# Tracing unrolls every recurrent step, so long sequences are slow; of each kind of model the quickest.
QUICK = [
    *["ecrnn/cnn", "yin/cnn+irnn", "johnson/tsn", "johnson/sensitivity-conv6-gru32"],
    *["yilmaz/cnn-lstm-skip", "yilmaz/autoencoder"],
]
SMALL = {"ecrnn": 8, "yin": 16, "johnson": 16, "yilmaz": 8}
"""Sides of images that are enough for a paper's poolings and patches."""


def small(name):
    return SMALL[name.split("/")[0]]


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, small(name)) for name in QUICK] + [pytest.param(name, 32, marks=pytest.mark.slow) for name in NAMES],
)
def test_exported_program_gives_the_same_logits(make_model, name, size):
    model = make_model(name, size, init="keras", bn_style="keras")
    stored = io.BytesIO()
    torch.export.save(export_program(model, torch.zeros(2, 3, size, size)), stored)
    stored.seek(0)
    program = torch.export.load(stored).module()
    assert model.training
    model.eval()
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, size, size)
        torch.testing.assert_close(program(images), model(images))


DEAD = {"weight_hh": ("yilmaz/cnn-lstm", "yilmaz/cnn-lstm-skip")}
"""Parameters without influence -> presets in which they are so by design: before the only step there is no state."""


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(make_model, name):
    size = 8 if name.startswith("ecrnn/") else 32
    model = make_model(name, size, init="keras", bn_style="keras")
    loss, _ = objective(model, torch.randn(4, 3, size, size), torch.arange(4))
    loss.backward()
    for key, weight in model.named_parameters():
        frozen = "bias_hh" in key and model.config.rnn != "gru"
        assert weight.requires_grad is not frozen, key
        if weight.requires_grad:
            assert weight.grad is not None, key
            assert weight.grad.isfinite().all(), key
            is_dead = any(part in key and name in names for part, names in DEAD.items())
            assert weight.grad.any() == (not is_dead), key
