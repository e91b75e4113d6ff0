"""Saliency against finite differences, in float64."""

import pytest
import torch

from hybrid_models.saliency import saliency

NAMES = ["ecrnn/ecrnn-bilstm-16", "yin/cnn+convlstm", "johnson/lrcn", "johnson/tsn", "yilmaz/autoencoder"]


@pytest.mark.parametrize("name", NAMES)
def test_equals_finite_differences(make_model, name):
    model = make_model(name, 16).double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    labels = torch.tensor([3, 7])
    found = saliency(model, images, labels)
    assert found.shape == (2, 16, 16)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    model.eval()
    step = 1e-6
    for row, column in ((0, 0), (7, 9), (15, 4)):
        shifts = torch.zeros(3, 3, 16, 16, dtype=torch.float64)
        shifts[range(3), range(3), row, column] = step
        for image, label, expected in zip(images, labels, found, strict=True):
            with torch.no_grad():
                slopes = (model(image + shifts)[:, label] - model(image - shifts)[:, label]) / (2 * step)
            torch.testing.assert_close(expected[row, column], slopes.abs().max(), rtol=1e-4, atol=1e-8)


def test_one_image_at_a_time_gives_the_same(make_model):
    model = make_model("ecrnn/ecrnn-lstm-16", 8)
    images, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 1, 2])
    alone = torch.cat([saliency(model, images[i : i + 1], labels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(saliency(model, images, labels), alone)


def test_leaves_each_part_in_its_mode_and_gradients_off(make_model):
    model = make_model("ecrnn/cnn", 8)
    model.backbone.eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        found = saliency(model, images, torch.tensor([0, 1]))
    assert found.any()
    assert (model.training, model.backbone.training, model.head.training) == (True, False, True)
    assert not images.requires_grad
    assert not found.requires_grad
