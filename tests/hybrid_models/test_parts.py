"""Layouts, encoder-decoder, readouts, head, initial weights, precision."""

import copy

import pytest
import torch

from hybrid_models.layers.bottleneck import Bottleneck
from hybrid_models.layers.heads import READOUTS, Head, average_probabilities
from hybrid_models.layers.layouts import Flatten, Layout
from hybrid_models.layers.units import Unit


@pytest.fixture
def make(make_model):
    def build(name="ecrnn/ecrnn-bilstm-16", size=8, **changes):
        return make_model(name, size, **changes)

    return build


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
    assert [layer.layer.out_features for layer in bottleneck.layers] == [*widths, 12]


def test_bottleneck_keeps_the_order_of_the_map():
    bottleneck = Bottleneck((3, 2, 2), depth=1, code=12, bn_style=None)
    with torch.no_grad():
        for layer in bottleneck.layers:
            layer.layer.weight.copy_(torch.eye(12))
            layer.layer.bias.zero_()
    assert torch.equal(bottleneck(labelled_map()), labelled_map())


def test_bottleneck_with_a_linear_output():
    bottleneck = Bottleneck((3, 2, 2), depth=2, code=4, bn_style="torch", relu_output=False)
    assert [unit.relu for unit in bottleneck.layers] == [True, True, True, False]
    with torch.no_grad():
        bottleneck.layers[-1].layer.bias.fill_(-100)
    bottleneck.layers[-1].norm = torch.nn.Identity()
    assert bottleneck(labelled_map().expand(2, -1, -1, -1)).max() < 0


@pytest.mark.parametrize("norm_first", [False, True])
def test_unit_order(norm_first):
    norm = torch.nn.BatchNorm1d(4)
    unit = Unit(torch.nn.Linear(3, 4), norm, norm_first=norm_first)
    values = torch.randn(8, 3)
    linear = unit.layer(values)
    expected = norm(linear).relu() if norm_first else norm(linear.relu())
    torch.testing.assert_close(unit(values), expected)
    assert (unit(values) < 0).any() == (not norm_first)


def test_readouts():
    states, final = torch.arange(12.0).reshape(1, 3, 4), torch.ones(1, 4)
    assert READOUTS["last"](states, final).tolist() == [[1, 1, 1, 1]]
    assert READOUTS["mean"](states, final).tolist() == [[4, 5, 6, 7]]
    assert READOUTS["flatten_all"](states, final).tolist() == [list(range(12))]
    assert READOUTS["per_step"](states, final) is states


def test_average_of_probabilities():
    logits = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = logits.softmax(dim=2).mean(dim=1).log()
    torch.testing.assert_close(average_probabilities(logits), expected)
    # In float32 a class that no step believes in has probability 0; its logarithm must not be infinite.
    assert average_probabilities(torch.tensor([[[0.0, -200.0], [0.0, -300.0]]])).isfinite().all()


@pytest.mark.parametrize(("widths", "dropped"), [((), 1), ((8,), 1), ((8, 8), 2)])
def test_head_drops_after_each_dense_layer_or_else_before_the_logits(widths, dropped):
    head, seen = Head(6, widths, 0.5, 3), []
    head.drop.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[1]))
    head(torch.randn(2, 6))
    assert seen == ([6] if not widths else [8] * dropped)


@pytest.mark.parametrize("style", ["torch", "keras"])
@pytest.mark.parametrize("cell", ["irnn", "bigru", "bilstm"])
def test_seeds_decide_the_weights_and_nothing_else(make, cell, style):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (make(seed=seed, rnn=cell, init=style).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = make(seed=1, rnn=cell, init=style).state_dict()
    assert all(torch.equal(one[name], same[name]) and torch.equal(one[name], again[name]) for name in one)
    drawn = [name for name in one if name.endswith((".layer.weight", "logits.weight")) or "weight_ih" in name]
    assert len(drawn) == 4 + 4 + 1 + (1 if cell == "irnn" else 2)
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


@pytest.mark.parametrize("style", ["torch", "keras"])
@pytest.mark.parametrize(
    "name", ["yilmaz/autoencoder", "johnson/tsn", "yin/cnn+convlstm", "yin/resnet20+gru", "yilmaz/cnn-lstm-skip"]
)
def test_every_kernel_is_drawn_from_the_seed(make, name, style):
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(drawn))  # must not matter
        drawn.append(dict(make(name, 32, seed=seed, init=style).named_parameters()))
    one, same, other = drawn
    assert all(torch.equal(one[key], same[key]) for key in one)
    kernels = [key for key, weight in one.items() if weight.dim() > 1]
    assert kernels
    assert not any(torch.equal(one[key], other[key]) for key in kernels)


def test_keras_initial_weights(make):
    model = make(init="keras", bn_style="keras", depth=2)
    norm = model.backbone[0][0].norm
    assert (norm.momentum, norm.eps) == (0.01, 1e-3)
    dense = model.bottleneck.layers[0].layer
    limit = (6 / sum(dense.weight.shape)) ** 0.5
    assert 0.98 * limit < dense.weight.abs().max() <= limit
    assert not dense.bias.any()
    for name, weight in model.merge.reader.recurrence.layers.named_parameters():
        if name.startswith("weight_hh"):
            torch.testing.assert_close(weight.T @ weight, torch.eye(16), rtol=0, atol=1e-5)
        elif name.startswith("bias_ih"):
            assert weight.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32
        elif name.startswith("bias_hh"):
            assert not weight.any()
            assert not weight.requires_grad


def test_torch_initial_weights_have_torchs_spread(make):
    model = make(init="torch", size=32)
    norm = model.backbone[0][0].norm
    assert (norm.momentum, norm.eps) == (0.1, 1e-5)
    for layer, fan_in in ((model.backbone[3][0].layer, 128 * 9), (model.bottleneck.layers[0].layer, 1024)):
        assert 0.98 < layer.weight.abs().max() * fan_in**0.5 <= 1
        torch.testing.assert_close(layer.weight.std() * (3 * fan_in) ** 0.5, torch.tensor(1.0), rtol=0.02, atol=0)
    assert all(
        weight.requires_grad and weight.abs().max() <= 0.25 for weight in model.merge.reader.recurrence.parameters()
    )


def test_irnn_starts_from_the_identity(make):
    weights = dict(make(rnn="irnn", init="keras").merge.reader.recurrence.layers.named_parameters())
    assert torch.equal(weights["weight_hh_l0"], torch.eye(16))
    assert weights["weight_ih_l0"].abs().max() < 0.01


@pytest.mark.parametrize("rnn", ["bilstm", "gru"])
def test_autocast_keeps_recurrence_and_logits_in_float32(make, rnn):
    model = make(rnn=rnn, layout="flat_chunk", chunk=16).to(memory_format=torch.channels_last)
    seen = {}
    model.backbone.register_forward_hook(lambda *args: seen.update(map=args[2][0].dtype))
    model.merge.reader.recurrence.register_forward_hook(lambda *args: seen.update(states=args[2][0].dtype))
    images = torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(model)(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    torch.nn.functional.cross_entropy(logits, torch.arange(8)).backward()
    assert seen == {"map": torch.bfloat16, "states": torch.float32}
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, plain, rtol=0, atol=0.1)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_channels_last_changes_no_result(make):
    model = make("ecrnn/ecrnn-lstm-16").double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    expected = copy.deepcopy(model)(images)
    found = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)
