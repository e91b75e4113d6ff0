"""Every preset against the same model written plainly: given the same weights, the same loss and the same gradients."""

import pytest
import torch
from torch import nn

from bench.peers import plain_models
from hybrid_models.layers.conv_lstm import ConvLSTM
from hybrid_models.objective import objective
from spaces.presets import preset_names

# A thousand steps in float64 take a second; the others of these differ in width and depth alone.
LONG = ("ecrnn/crnn-lstm-16", "ecrnn/crnn-bilstm-16-16", "ecrnn/ecrnn-bilstm-16")
NAMES = [name for name in preset_names() if "lstm" not in name or not name.startswith("ecrnn/") or name in LONG]


def in_order(model, read):
    """What `read` gives for each parameter; of a ConvLSTM as the plain one has it: peepholes, both kernels, bias."""
    found = []
    for module in model.modules():
        weights = {name: read(weight) for name, weight in module.named_parameters(recurse=False)}
        if isinstance(module, ConvLSTM):
            for end in ("_l0", "_l0_reverse"):
                found += [weights[name] for name in [f"peephole{end}"] if name in weights]
                found += [torch.cat((weights[f"weight_ih{end}"], weights[f"weight_hh{end}"]), dim=1)]
                found += [weights[f"bias{end}"]]
        else:
            found += weights.values()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_plain_twin(make_model, name):
    model, twin = make_model(name).double(), plain_models.make(name).double()
    with torch.no_grad():
        for module in (*model.modules(), *twin.modules()):
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        for weight in model.parameters():
            if not weight.any() or (weight == 1).all():  # biases, normalisation: no default may hide a mistake
                weight.add_(torch.randn_like(weight) / 10)
        for weight, copied in zip(twin.parameters(), in_order(model, torch.detach), strict=True):
            weight.copy_(copied)
    images, labels = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.arange(4)
    found, expected = objective(model, images, labels)[0], plain_models.loss(twin, images, labels)
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    gradients = in_order(model, lambda weight: weight.grad)
    torch.testing.assert_close(gradients, [weight.grad for weight in twin.parameters()], rtol=1e-5, atol=1e-9)
