"""Every point of the four papers' common space trains, survives saving and exports; no exception is known."""

import dataclasses
import io

import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from hybrid_models.build import build
from hybrid_models.config.arithmetic import num_parameters, num_parameters_keras
from hybrid_models.config.model import ConfigError, ModelConfig
from hybrid_models.config.shapes import sequential_steps
from hybrid_models.counting import keras_total, torch_trainable
from hybrid_models.export import export_program
from hybrid_models.objective import objective
from spaces.domains import Float
from spaces.presets import load_space

SPACE = load_space("union")
SETTINGS = {field.name for field in dataclasses.fields(ModelConfig)}
SIZE = 16
"""Side of the images; the space is made for 32, so that all its lengths are shorter here."""
QUICKLY_EXPORTED = 8
"""Sequential steps that take no more than a few seconds to trace."""

# What is refused at 16 pixels and why; the space itself excludes whatever does not depend on the size.
REFUSED = ("patch: expected a divisor of the map's sides", "backbone: expected images of at least")


@st.composite
def configs(draw):
    def suggest(_, domain):
        if isinstance(domain, Float):
            return draw(st.floats(domain.low, domain.high))
        return draw(st.sampled_from(list(domain.members())))

    point = SPACE.assemble(suggest)
    model = {name: value for name, value in point.items() if name in SETTINGS}
    image = {"input_channels": 3, "input_height": SIZE, "input_width": SIZE, "num_classes": 5}
    try:
        return ModelConfig.from_dict({**model, **image}), point.get("rnn_l2", 0.0)
    except ConfigError as error:
        if not all(fault.startswith(REFUSED) for fault in error.faults):
            raise
        reject()


def check(config, rnn_l2):
    model = build(config, torch.Generator().manual_seed(0))
    assert (num_parameters(config), num_parameters_keras(config)) == (torch_trainable(model), keras_total(model))
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss, logits = objective(model, images, torch.arange(2), rnn_l2=rnn_l2)
    assert logits.shape == (2, 5)
    loss.backward()
    for name, weight in model.named_parameters():
        # The second bias of `init: keras` does not learn; every other parameter does.
        assert weight.requires_grad or (config.init == "keras" and "bias_hh" in name), name
        assert (weight.grad is not None) is weight.requires_grad, name
        assert weight.grad is None or weight.grad.isfinite().all(), name
    # Deep IRNNs over a batch norm of two images have gradients of 1e8: a free step would overflow, as it may.
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    assert all(weight.isfinite().all() for weight in model.parameters())
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    again = build(config, torch.Generator().manual_seed(1))
    again.load_state_dict(torch.load(stored, weights_only=True))
    torch.testing.assert_close(again.eval()(images), model.eval()(images), rtol=0, atol=0)
    return model


def check_export(model):
    program = export_program(model, torch.zeros(2, 3, SIZE, SIZE)).module()
    for batch in (1, 3):
        images = torch.randn(batch, 3, SIZE, SIZE)
        torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-5)


RUN = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=12, **RUN)
@given(drawn=configs())
def test_any_point_trains_and_survives_saving(drawn):
    check(*drawn)


@settings(max_examples=2, **RUN)
@given(drawn=configs().filter(lambda drawn: sequential_steps(drawn[0]) <= QUICKLY_EXPORTED))
def test_any_point_of_few_steps_exports(drawn):
    check_export(check(*drawn))


@pytest.mark.slow
@settings(max_examples=300, **RUN)
@given(drawn=configs().filter(lambda drawn: sequential_steps(drawn[0]) <= 64))
def test_any_point_exports(drawn):
    check_export(check(*drawn))
