"""Patch RNN and ReNet against readable triple loops, in output and gradient."""

import pytest
import torch
import torch.nn.functional as F

from hybrid_models.config.patch_shapes import (
    GATES,
    patch_fault,
    patch_sequence,
    patch_steps,
    patch_width,
    renet_shape,
    renet_steps,
)
from hybrid_models.export import export_program
from hybrid_models.init import initialise
from hybrid_models.layers.patch_rnn import PatchRNN, ReNet

CELLS = [cell for cell in GATES if cell != "convlstm"]
PLAIN = {
    "rnn_tanh": torch.rnn_tanh_cell,
    "irnn": torch.rnn_relu_cell,
    "gru": torch.gru_cell,
    "lstm": torch.lstm_cell,
}
"""Single steps as torch writes them."""


def weights_of(recurrence, layer, suffix):
    """Weights of one layer and direction, in torch's order."""
    ending = f"_l{layer}{suffix}"
    return [weight for name, weight in recurrence.named_parameters() if name.endswith(ending)]


def run(cell, weights, patches, variant):
    """States of one direction over patches (B, C, P, P) or vectors (B, F), in reading order."""
    hidden = memory = None
    states = []
    for patch in patches:
        if cell == "convlstm":
            hidden, memory = conv_lstm_step(patch, hidden, memory, weights, variant)
        else:
            vector = patch.permute(0, 2, 3, 1).flatten(1) if patch.ndim == 4 else patch  # (h, w, c)
            hidden = vector.new_zeros(len(vector), weights[1].shape[1]) if hidden is None else hidden
            if cell == "lstm":
                hidden, memory = torch.lstm_cell(vector, (hidden, hidden if memory is None else memory), *weights)
            else:
                hidden = PLAIN[cell](vector, hidden, *weights)
        states.append(hidden)
    return states


def conv_lstm_step(patch, hidden, memory, weights, variant):
    w_x, w_h, bias = weights[:3]
    if hidden is None:
        hidden = memory = patch.new_zeros(len(patch), len(bias) // 4, *patch.shape[2:])
    p_i, p_f, p_o = weights[3] if variant == "original" else (0, 0, 0)
    i, f, g, o = (F.conv2d(patch, w_x, bias, padding=1) + F.conv2d(hidden, w_h, padding=1)).chunk(4, dim=1)
    new = torch.sigmoid(f + p_f * memory) * memory + torch.sigmoid(i + p_i * memory) * torch.tanh(g)
    return torch.sigmoid(o + p_o * new) * torch.tanh(new), new


def both_ways(cell, recurrence, patches, depth, variant="none"):
    """All states of the last layer, and its two final ones."""
    for layer in range(depth):
        forward = run(cell, weights_of(recurrence, layer, ""), patches, variant)
        backward = run(cell, weights_of(recurrence, layer, "_reverse"), patches[::-1], variant)
        patches = [torch.cat(pair, dim=1) for pair in zip(forward, backward[::-1], strict=True)]
    return patches, torch.cat((forward[-1], backward[-1]), dim=1)


def cut(image, patch, n, m):
    return image[:, :, n * patch : (n + 1) * patch, m * patch : (m + 1) * patch]


def read_patches(model, cell, image, patch, depth, raster, variant):
    """The patch RNN by its definition: column by column, direction by direction, step by step."""
    rows, columns = (side // patch for side in image.shape[2:])
    if raster:
        sequences = [[cut(image, patch, n, m) for n in range(rows) for m in range(columns)]]
    else:
        sequences = [[cut(image, patch, n, m) for n in range(rows)] for m in range(columns)]
    finals = [both_ways(cell, model.recurrence, sequence, depth, variant)[1] for sequence in sequences]
    return torch.cat([f.permute(0, 2, 3, 1).flatten(1) if f.ndim == 4 else f for f in finals], dim=1)


def read_renet(model, cell, image, patch):
    """ReNet by its definition: every layer down and up its columns, then across and back its rows."""
    for vertical, horizontal in zip(model.vertical, model.horizontal, strict=True):
        rows, columns = (side // patch for side in image.shape[2:])
        swept = [
            both_ways(cell, vertical, [cut(image, patch, n, m) for n in range(rows)], 1)[0] for m in range(columns)
        ]
        lines = [both_ways(cell, horizontal, [swept[m][n] for m in range(columns)], 1)[0] for n in range(rows)]
        image = torch.stack([torch.stack(line, dim=2) for line in lines], dim=2)
    return image


def assert_same(found, expected, inputs):
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((values * weight).sum(), inputs) for values in (found, expected)]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def random_weights(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.4)
    return model.double()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("raster", [False, True])
@pytest.mark.parametrize(("patch", "depth"), [(1, 1), (2, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("cell", GATES)
def test_patch_rnn_is_its_triple_loop(cell, patch, depth, raster, channels_last):
    torch.manual_seed(1)
    variant = "original" if cell == "convlstm" else "none"
    # A grid of other height than width, or a mistaken axis would go unseen.
    model = random_weights(PatchRNN(cell, (3, 4, 8), patch, 2, depth=depth, raster=raster, peephole=variant))
    image = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    image = image.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    image.requires_grad_()
    found, expected = model(image), read_patches(model, cell, image, patch, depth, raster, variant)
    assert found.shape == (2, model.width)
    assert_same(found, expected, [image, *model.parameters()])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("patch", "depth"), [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("cell", CELLS)
def test_renet_is_its_triple_loop(cell, patch, depth, channels_last):
    torch.manual_seed(2)
    model = random_weights(ReNet(cell, (3, 4, 8), patch, 2, depth=depth))
    image = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    image = image.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    image.requires_grad_()
    found, expected = model(image), read_renet(model, cell, image, patch)
    assert found.shape == (2, *model.shape)
    assert_same(found, expected, [image, *model.parameters()])


@pytest.mark.parametrize(("style", "eps"), [("torch", 1e-5), ("keras", 1e-3)])
def test_the_vector_is_normalised(style, eps):
    model = PatchRNN("gru", (3, 4, 8), 2, 2, bn_style=style)
    plain = PatchRNN("gru", (3, 4, 8), 2, 2)
    plain.load_state_dict(model.state_dict(), strict=False)
    image = torch.randn(6, 3, 4, 8)
    vector = plain(image)
    spread = vector.var(dim=0, unbiased=False) + eps
    torch.testing.assert_close(model(image), (vector - vector.mean(dim=0)) / spread.sqrt())


CASES = [
    # Taps 0 and 1 of yin/cnn (24,832 and 41,216), then tap 0 with other cells and readings: cell, map, patch, nodes,
    # raster, peephole, parameters, width, steps.
    ("irnn", (32, 16, 16), 2, 64, False, None, 24_832, 1_024, 8),
    ("irnn", (64, 8, 8), 2, 64, False, None, 41_216, 512, 4),
    ("irnn", (32, 16, 16), 2, 64, True, None, 24_832, 128, 64),
    ("rnn_tanh", (32, 16, 16), 2, 64, False, None, 24_832, 1_024, 8),
    ("lstm", (32, 16, 16), 2, 64, False, None, 99_328, 1_024, 8),
    ("gru", (32, 16, 16), 2, 64, False, None, 74_496, 1_024, 8),
    ("convlstm", (32, 16, 16), 2, 16, False, "none", 55_424, 1_024, 8),
    ("convlstm", (32, 16, 16), 2, 16, False, "printed", 55_808, 1_024, 8),
    ("convlstm", (32, 16, 16), 4, 16, False, "none", 55_424, 2_048, 4),
    ("convlstm", (32, 16, 16), 4, 16, True, "original", 56_960, 512, 16),
]


@pytest.mark.parametrize(("cell", "shape", "patch", "nodes", "raster", "peephole", "weights", "width", "steps"), CASES)
def test_patch_rnn_counts(cell, shape, patch, nodes, raster, peephole, weights, width, steps):
    model = PatchRNN(cell, shape, patch, nodes, raster=raster, peephole=peephole)
    assert sum(weight.numel() for weight in model.parameters()) == weights
    assert model.width == patch_width(cell, shape, patch, nodes, raster=raster) == width
    assert patch_sequence(shape, patch, raster=raster) == (steps, patch * patch * shape[0])
    assert patch_steps(shape, patch, 3, raster=raster) == 3 * steps


@pytest.mark.parametrize(("cell", "total"), [("gru", 59_237_386), ("lstm", 64_987_146)])
def test_renet_of_the_paper_has_its_parameters(cell, total):
    with torch.device("meta"):
        model = ReNet(cell, (3, 32, 32), 2, 320, depth=3)
    assert model.shape == renet_shape((3, 32, 32), 2, 320, 3) == (640, 4, 4)
    built = sum(weight.numel() for weight in model.parameters())
    head = (10_240 + 1) * 4_096 + (4_096 + 1) * 10
    assert built + head == total
    assert renet_steps((3, 32, 32), 2, 3) == 2 * (16 + 8 + 4)


@pytest.mark.parametrize("name", ["irnn", "lstm", "convlstm", "renet"])
def test_exports_for_any_batch(name):
    model = ReNet("gru", (3, 4, 8), 2, 2) if name == "renet" else PatchRNN(name, (3, 4, 8), 2, 2, bn_style="torch")
    program = export_program(model, torch.randn(2, 3, 4, 8)).module()
    images = torch.randn(5, 3, 4, 8)
    torch.testing.assert_close(program(images), model.eval()(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*CELLS, "convlstm", "renet"])
def test_weights_alone_restore_it(name, tmp_path):
    def build():
        return ReNet("gru", (3, 4, 8), 2, 2) if name == "renet" else PatchRNN(name, (3, 4, 8), 2, 2, bn_style="keras")

    model, other = build(), build()
    model(torch.randn(4, 3, 4, 8))  # moves the running statistics
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    images = torch.randn(2, 3, 4, 8)
    torch.testing.assert_close(other.eval()(images), model.eval()(images), rtol=0, atol=0)


def test_irnn_starts_from_the_identity_in_both_directions():
    model = PatchRNN("irnn", (3, 4, 8), 2, 5, depth=2)
    initialise(model, "keras", torch.Generator().manual_seed(1))
    recurrent = [weight for name, weight in model.named_parameters() if "weight_hh" in name]
    assert len(recurrent) == 4
    assert all(torch.equal(weight, torch.eye(5)) for weight in recurrent)


@pytest.mark.parametrize(
    ("shape", "patch", "depth", "words"),
    [
        ((3, 2, 8), 4, 1, "the 2x8 map is smaller than a patch of 4x4"),
        ((3, 4, 6), 4, 1, "the 4x6 map cannot be divided into patches of 4x4"),
        ((3, 6, 4), 4, 1, "the 6x4 map cannot be divided into patches of 4x4"),
        ((3, 32, 32), 4, 3, "the 2x2 map that layer 3 reads is smaller than a patch of 4x4"),
        ((3, 12, 12), 2, 3, "the 3x3 map that layer 3 reads cannot be divided into patches of 2x2"),
    ],
)
def test_maps_that_cannot_be_cut(shape, patch, depth, words):
    assert patch_fault(shape, patch, depth) == words
    with pytest.raises(ValueError, match=words):
        ReNet("gru", shape, patch, 4, depth=depth)
    if depth == 1:
        with pytest.raises(ValueError, match=words):
            PatchRNN("gru", shape, patch, 4)


def test_maps_that_can_be_cut():
    assert patch_fault((3, 32, 32), 2, 5) is None
    assert patch_fault((3, 7, 5), 1, 3) is None
    assert patch_fault((3, 4, 8), 4) is None


@pytest.mark.parametrize(("build", "cell"), [(PatchRNN, "bigru"), (ReNet, "convlstm"), (ReNet, "bilstm")])
def test_cells_that_read_no_patches(build, cell):
    with pytest.raises(ValueError, match=f"cell must be one of rnn_tanh, irnn, gru, lstm.*got '{cell}'"):
        build(cell, (3, 4, 8), 2, 4)
