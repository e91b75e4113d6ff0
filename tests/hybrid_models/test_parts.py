"""Layouts, encoder-decoder, backbone, readouts, initial weights, precision."""

import copy

import pytest
import torch

from hybrid_models.bottleneck import Bottleneck
from hybrid_models.build import build
from hybrid_models.config import ModelConfig
from hybrid_models.heads import READOUTS
from hybrid_models.layouts import Flatten, Layout
from spaces.presets import load_preset


def make(name="ecrnn/ecrnn-bilstm-16", size=8, seed=0, **changes):
    image = {"input_channels": 3, "input_height": size, "input_width": size, "num_classes": 10}
    return build(ModelConfig.from_dict({**load_preset(name), **image, **changes}), torch.Generator().manual_seed(seed))


def labelled_map(channels=3, height=2, width=2):
    """A map whose values tell where they stand: 100 h + 10 w + c."""
    h, w, c = torch.meshgrid(torch.arange(height), torch.arange(width), torch.arange(channels), indexing="ij")
    return (100 * h + 10 * w + c).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flat_scalar", [[v] for v in (0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112)]),
        ("flat_chunk", [[0, 1, 2, 10, 11], [12, 100, 101, 102, 110], [111, 112, 0, 0, 0]]),
        ("single_step", [[0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112]]),
        ("positions", [[0, 1, 2], [10, 11, 12], [100, 101, 102], [110, 111, 112]]),
        ("rows", [[0, 1, 2, 10, 11, 12], [100, 101, 102, 110, 111, 112]]),
        ("cols", [[0, 1, 2, 100, 101, 102], [10, 11, 12, 110, 111, 112]]),
        ("channels", [[0, 10, 100, 110], [1, 11, 101, 111], [2, 12, 102, 112]]),
    ],
)
def test_layout_order(name, expected):
    layout = Layout(name, (3, 2, 2), chunk=5)
    assert layout(labelled_map())[0].tolist() == expected
    assert layout.shape == (len(expected), len(expected[0]))


def test_flattening_channels_last_memory_copies_nothing():
    image = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert Flatten((3, 4, 4))(image).data_ptr() == image.data_ptr()
    assert Layout("flat_scalar", (3, 4, 4))(image).data_ptr() == image.data_ptr()


@pytest.mark.parametrize(("depth", "widths"), [(1, [8]), (2, [16, 8, 16]), (3, [32, 16, 8, 16, 32])])
def test_bottleneck_widths(depth, widths):
    bottleneck = Bottleneck((3, 2, 2), depth=depth, code=8, bn_style=None)
    assert [layer.dense.out_features for layer in bottleneck.layers] == [*widths, 12]


def test_bottleneck_keeps_the_order_of_the_map():
    bottleneck = Bottleneck((3, 2, 2), depth=1, code=12, bn_style=None)
    with torch.no_grad():
        for layer in bottleneck.layers:
            layer.dense.weight.copy_(torch.eye(12))
            layer.dense.bias.zero_()
    assert torch.equal(bottleneck(labelled_map()), labelled_map())


@pytest.mark.parametrize(("size", "side"), [(32, 2), (8, 1), (9, 1), (28, 2), (33, 3)])
def test_backbone_pools_like_same(size, side):
    model = make("ecrnn/cnn", size=size)
    assert model.backbone(torch.randn(2, 3, size, size)).shape == (2, 256, side, side)


def test_readouts():
    states, final = torch.arange(12.0).reshape(1, 3, 4), torch.ones(1, 4)
    assert READOUTS["last"](states, final).tolist() == [[1, 1, 1, 1]]
    assert READOUTS["mean"](states, final).tolist() == [[4, 5, 6, 7]]
    assert READOUTS["flatten_all"](states, final).tolist() == [list(range(12))]


@pytest.mark.parametrize("style", ["torch", "keras"])
@pytest.mark.parametrize("cell", ["irnn", "bigru", "bilstm"])
def test_seeds_decide_the_weights_and_nothing_else(cell, style):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (make(seed=seed, rnn=cell, init=style).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = make(seed=1, rnn=cell, init=style).state_dict()
    assert all(torch.equal(one[name], same[name]) and torch.equal(one[name], again[name]) for name in one)
    drawn = [
        name for name in one if name.endswith((".conv.weight", ".dense.weight", "logits.weight")) or "weight_ih" in name
    ]
    assert len(drawn) == 4 + 4 + 1 + (1 if cell == "irnn" else 2)
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


def test_keras_initial_weights():
    model = make(init="keras", bn_style="keras", depth=2)
    norm = model.backbone[0].norm
    assert (norm.momentum, norm.eps) == (0.01, 1e-3)
    dense = model.bottleneck.layers[0].dense
    limit = (6 / sum(dense.weight.shape)) ** 0.5
    assert 0.98 * limit < dense.weight.abs().max() <= limit
    assert not dense.bias.any()
    for name, weight in model.reader.recurrence.layers.named_parameters():
        if name.startswith("weight_hh"):
            for gate in weight.split(16):
                torch.testing.assert_close(gate @ gate.T, torch.eye(16), rtol=0, atol=1e-5)
        elif name.startswith("bias_ih"):
            assert weight.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32
        elif name.startswith("bias_hh"):
            assert not weight.any()
            assert not weight.requires_grad


def test_torch_initial_weights_have_torchs_spread():
    model = make(init="torch", size=32)
    norm = model.backbone[0].norm
    assert (norm.momentum, norm.eps) == (0.1, 1e-5)
    for layer, fan_in in ((model.backbone[3].conv, 128 * 9), (model.bottleneck.layers[0].dense, 1024)):
        assert 0.98 < layer.weight.abs().max() * fan_in**0.5 <= 1
        torch.testing.assert_close(layer.weight.std() * (3 * fan_in) ** 0.5, torch.tensor(1.0), rtol=0.02, atol=0)
    assert all(weight.requires_grad and weight.abs().max() <= 0.25 for weight in model.reader.recurrence.parameters())


def test_irnn_starts_from_the_identity():
    weights = dict(make(rnn="irnn", init="keras").reader.recurrence.layers.named_parameters())
    assert torch.equal(weights["weight_hh_l0"], torch.eye(16))
    assert weights["weight_ih_l0"].abs().max() < 0.01


@pytest.mark.parametrize("rnn", ["bilstm", "gru"])
def test_autocast_keeps_recurrence_and_logits_in_float32(rnn):
    model = make(rnn=rnn, layout="flat_chunk", chunk=16).to(memory_format=torch.channels_last)
    seen = {}
    model.backbone.register_forward_hook(lambda *args: seen.update(map=args[2].dtype))
    model.reader.recurrence.register_forward_hook(lambda *args: seen.update(states=args[2][0].dtype))
    images = torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(model)(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    torch.nn.functional.cross_entropy(logits, torch.arange(8)).backward()
    assert seen == {"map": torch.bfloat16, "states": torch.float32}
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, plain, rtol=0, atol=0.1)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_channels_last_changes_no_result():
    model = make("ecrnn/ecrnn-lstm-16").double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    expected = copy.deepcopy(model)(images)
    found = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)
