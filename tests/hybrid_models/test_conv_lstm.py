"""ConvLSTM against its equations, in output and gradient."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from hybrid_models.export import export_program
from hybrid_models.init import initialise
from hybrid_models.layers.conv_lstm import PEEPHOLES, ConvLSTM


def random_model(*args, **settings):
    """ConvLSTM in float64 whose peepholes are not zero."""
    torch.manual_seed(1)
    model = ConvLSTM(*args, **settings).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.5)
    return model


def step(x, hidden, memory, weights, variant):
    """One step, gate by gate, as Shi et al. 2015 (eq. 3) and Yin et al. 2019 print it."""
    w_x, w_h, bias = (weights[name].chunk(4) for name in ("weight_ih", "weight_hh", "bias"))
    p_i, p_f, p_o = weights.get("peephole", torch.zeros(3, dtype=x.dtype))

    def linear(gate):
        side = w_x[gate].shape[-1]
        return F.conv2d(x, w_x[gate], bias[gate], padding=side // 2) + F.conv2d(hidden, w_h[gate], padding=side // 2)

    i = torch.sigmoid(linear(0) + p_i * memory)
    f = torch.sigmoid(linear(1) + p_f * memory)
    new = f * memory + i * torch.tanh(linear(2))
    o = torch.sigmoid(linear(3) + p_o * {"none": 0, "printed": memory, "original": new}[variant])
    return o * torch.tanh(new), new


def loop(model, frames, *, variant, depth, bidirectional):
    """Read (B, L, C, H, W) frame by frame, layer by layer."""
    parameters = dict(model.named_parameters())
    for layer in range(depth):
        sides, finals = [], []
        for suffix in ("", "_reverse") if bidirectional else ("",):
            name = f"_l{layer}{suffix}"
            weights = {key.removesuffix(name): value for key, value in parameters.items() if key.endswith(name)}
            batch, _, _, *size = frames.shape
            hidden = memory = frames.new_zeros(batch, len(weights["bias"]) // 4, *size)
            order = range(frames.shape[1])
            states = {}
            for position in reversed(order) if suffix else order:
                hidden, memory = step(frames[:, position], hidden, memory, weights, variant)
                states[position] = hidden
            sides.append(torch.stack([states[position] for position in order], dim=1))
            finals.append(hidden)
        frames = torch.cat(sides, dim=2)
    return frames, torch.cat(finals, dim=1)


@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize(("depth", "bidirectional"), [(1, False), (1, True), (2, True)])
@pytest.mark.parametrize("peephole", PEEPHOLES)
# The first three kernels reach over the whole frame and become matrices, the others do not.
@pytest.mark.parametrize(("size", "kernel"), [((2, 2), 3), ((1, 1), 1), ((3, 2), 5), ((2, 3), 3), ((4, 4), 3)])
def test_matches_the_equations(size, kernel, peephole, depth, bidirectional, num_steps):
    settings = {"depth": depth, "bidirectional": bidirectional}
    model = random_model(3, 2, frame_size=size, kernel=kernel, peephole=peephole, **settings)
    frames = torch.randn(3, num_steps, 3, *size, dtype=torch.float64, requires_grad=True)
    found, expected = model.scan(frames), loop(model, frames, variant=peephole, **settings)
    weights = [torch.randn_like(values) for values in expected]
    inputs = [frames, *model.parameters()]
    gradients = []
    for pair in (found, expected):
        loss = sum((values * weight).sum() for values, weight in zip(pair, weights, strict=True))
        gradients.append(torch.autograd.grad(loss, inputs))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.final(frames), found[1], rtol=0, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_peepholes_tell_the_variants_apart():
    outputs = []
    for peephole in ("printed", "original"):
        model = random_model(3, 2, frame_size=(2, 2), peephole=peephole)
        outputs.append(model(torch.ones(1, 2, 3, 2, 2))[0])
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("in_channels", "size", "peephole", "expected"),
    # Taps 0 and 1 of yin/cnn, both directions: 2 * 4 * 16 * (9 * (c + 16) + 1), peepholes 2 * 3 * 16 * 4.
    [(32, (2, 2), "none", 55_424), (64, (2, 2), "none", 92_288), (32, (2, 2), "printed", 55_808)],
)
def test_parameter_counts(in_channels, size, peephole, expected):
    settings = {"frame_size": size, "peephole": peephole}
    model = ConvLSTM(in_channels, 16, bidirectional=True, **settings)
    assert sum(weight.numel() for weight in model.parameters()) == expected


@pytest.mark.parametrize(
    ("side", "products"),
    # Pairs of positions where the kernel spans the frame; elsewhere every kernel entry at every position, padding too.
    [(2, 4 * 4), (4, 16 * 9)],
)
def test_small_frames_multiply_no_padding(side, products):
    model = random_model(3, 2, frame_size=(side, side)).float()
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(5, 7, 3, side, side))
    assert counter.get_total_flops() == 2 * 5 * 7 * products * (3 + 2) * 4 * 2


@pytest.mark.parametrize("size", [(2, 2), (4, 4)])
def test_exports_for_any_batch(size):
    model = random_model(3, 2, frame_size=size, peephole="original", depth=2, bidirectional=True).float()
    program = export_program(model, torch.randn(2, 3, 3, *size)).module()
    frames = torch.randn(5, 3, 3, *size)
    torch.testing.assert_close(program(frames), model(frames))


@pytest.mark.parametrize("size", [(2, 2), (4, 4)])
def test_memory_order_of_the_frames_does_not_matter(size):
    model = random_model(3, 2, frame_size=size, bidirectional=True)
    frames = torch.randn(3, 4, 3, *size, dtype=torch.float64)
    channels_last = frames.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(model(channels_last), model(frames), rtol=1e-9, atol=1e-9)


def test_weights_alone_restore_it(tmp_path):
    settings = {"frame_size": (2, 2), "peephole": "printed", "depth": 2}
    model, other = random_model(3, 2, **settings), ConvLSTM(3, 2, **settings).double()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    saved = torch.load(tmp_path / "weights.pt")
    assert set(saved) == {name for name, _ in model.named_parameters()}
    other.load_state_dict(saved)
    frames = torch.randn(2, 3, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(other(frames), model(frames), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(2, 2), (4, 4)])
def test_autocast_leaves_it_in_full_precision(size):
    model = random_model(3, 2, frame_size=size).float()
    frames = torch.randn(2, 4, 3, *size).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states, final = model(frames)
    assert states.dtype == final.dtype == torch.float32
    torch.testing.assert_close(states, model(frames.float())[0], rtol=0, atol=0)


def test_keras_start():
    model = random_model(3, 4, frame_size=(2, 2), peephole="printed", depth=2, bidirectional=True).float()
    initialise(model, "keras", torch.Generator().manual_seed(1))
    for name, weight in model.named_parameters():
        if name.startswith("weight_hh"):
            rows = weight.flatten(1)
            torch.testing.assert_close(rows @ rows.T, torch.eye(16), rtol=0, atol=1e-5)
        elif name.startswith("weight_ih"):
            bound = (6 / (9 * weight.shape[1] + 9 * 16)) ** 0.5  # Glorot, over a kernel of Keras' shape
            assert 0.9 * bound < weight.abs().max() <= bound
        elif name.startswith("bias"):
            assert weight.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
        else:
            assert not weight.any()


def test_a_fresh_one_starts_without_peepholes():
    model = ConvLSTM(3, 4, frame_size=(2, 2), peephole="printed")
    assert not model.peephole_l0.any()
    assert 0 < model.weight_ih_l0.abs().max() <= 0.5


def test_torch_start_is_uniform_and_comes_from_the_generator():
    models = [ConvLSTM(3, 4, frame_size=(2, 2), peephole="printed") for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        initialise(model, "torch", torch.Generator().manual_seed(seed))
    same, again, other = (model.weight_hh_l0 for model in models)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert 0.45 < same.abs().max() <= 0.5
    assert not models[0].peephole_l0.any()


@pytest.mark.parametrize(
    ("settings", "words"), [({"kernel": 2}, "kernel must be odd, got 2"), ({"peephole": "shi"}, "got 'shi'")]
)
def test_refuses(settings, words):
    with pytest.raises(ValueError, match=words):
        ConvLSTM(3, 4, frame_size=(2, 2), **settings)


def test_every_weight_has_a_gradient():
    # One step: the first state is zero, yet an optimizer must find a gradient, as with torch's own LSTM.
    for num_steps, peephole in itertools.product((1, 2), PEEPHOLES):
        model = random_model(3, 2, frame_size=(2, 2), peephole=peephole, bidirectional=True)
        model(torch.randn(2, num_steps, 3, 2, 2))[1].sum().backward()
        assert all(weight.grad is not None for weight in model.parameters())
