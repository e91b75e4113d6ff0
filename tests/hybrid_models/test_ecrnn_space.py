"""Every point of the shipped space is a model that can take a step."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_models.build import build
from hybrid_models.config import ModelConfig
from spaces.domains import Float
from spaces.presets import load_space

SPACE = load_space("ecrnn")
IMAGE = {"input_channels": 3, "input_height": 8, "input_width": 8, "num_classes": 5}


@st.composite
def points(draw):
    def suggest(_, domain):
        if isinstance(domain, Float):
            return draw(st.floats(domain.low, domain.high))
        return draw(st.sampled_from(list(domain.members())))

    return SPACE.assemble(suggest)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(point=points(), style=st.sampled_from(["torch", "keras"]))
def test_any_point_takes_a_step(point, style):
    values = {name: value for name, value in point.items() if name != "lr"}
    config = ModelConfig.from_dict({**values, **IMAGE, "init": style, "bn_style": style})
    model = build(config, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=point["lr"])
    logits = model(torch.randn(4, 3, 8, 8))
    assert logits.shape == (4, 5)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    optimizer.step()
    assert all(weight.isfinite().all() for weight in model.parameters())
