"""Backbones, taps, shortcuts, the wavelet filter: shapes by arithmetic against what is built."""

import pytest
import pywt
import torch
import torch.nn.functional as F
from torch import nn

from hybrid_models.backbones.cnn import make_backbone
from hybrid_models.backbones.residual import ResidualBlock
from hybrid_models.config.shapes import feature_shape, stage_shapes, tap_shapes
from hybrid_models.layers.units import Unit
from hybrid_models.layers.wavelet import Haar

HEAD = {"fc": "-", "dropout": 0.0, "rnn": "none", "pool_head": "gap", "enc_on": False}
CHAIN = {"cnn_bn": True, "cnn_dropout": 0.0}
BACKBONES = [
    {"backbone": "resnet20"},
    *({"backbone": "vgg9", "vgg_reading": reading, **CHAIN} for reading in ("vgg_a", "fed", "narrow")),
    *({"backbone": name, **CHAIN} for name in ("cnn4", "cnn6", "yincnn")),
    *({"backbone": "plain", "n_conv": number, **CHAIN} for number in range(2, 9)),
]


@pytest.mark.parametrize("size", [32, 29])
@pytest.mark.parametrize("settings", BACKBONES, ids=lambda settings: "-".join(map(str, settings.values())))
def test_maps_have_the_shapes_foretold(make_config, settings, size):
    config = make_config({**HEAD, **settings}, size)
    backbone = make_backbone(config)
    backbone.tapped = frozenset(range(len(backbone)))
    feature, maps = backbone.eval()(torch.randn(2, 3, size, size))
    assert [tuple(tap.shape[1:]) for tap in maps] == list(stage_shapes(config))
    assert tuple(feature.shape[1:]) == feature_shape(config)


@pytest.mark.parametrize(
    ("number", "shape"), [(2, (64, 16, 16)), (3, (128, 16, 16)), (6, (256, 4, 4)), (7, (256, 4, 4)), (8, (256, 2, 2))]
)
def test_plain_pools_after_each_pair(make_config, number, shape):
    assert feature_shape(make_config({**HEAD, **CHAIN, "backbone": "plain", "n_conv": number})) == shape


def test_arms_reach_every_unit(make_model):
    for order in ("after_relu", "before_relu"):
        model = make_model("ecrnn/ecrnn-lstm-16", bn_order=order, enc_output="linear")
        units = [module for module in model.modules() if isinstance(module, Unit)]
        assert [unit.norm_first for unit in units] == [order == "before_relu"] * 8
        assert [unit.relu for unit in units] == [True] * 7 + [False]


# The papers' tables, section 2.3: after every pool, every ResNet stage, and the last block of vgg9.
@pytest.mark.parametrize(
    ("name", "taps", "expected"),
    [
        ("yin/cnn+irnn", "all", [(32, 16, 16), (64, 8, 8)]),
        ("yin/vgg9+irnn", "all", [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 4, 4)]),
        ("yin/vgg9+irnn", "last2", [(256, 4, 4), (512, 4, 4)]),
        ("yin/vgg9+irnn", "first", [(64, 16, 16)]),
        ("yin/resnet20+irnn", "all", [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
    ],
)
def test_taps(make_model, name, taps, expected):
    model = make_model(name, taps=taps).eval()
    _, maps = model.backbone(torch.randn(1, 3, 32, 32))
    assert [tuple(tap.shape[1:]) for tap in maps] == expected == list(tap_shapes(model.config))


def test_a_tap_is_what_the_next_block_reads(make_model):
    backbone = make_model("yin/cnn+irnn").eval().backbone
    images = torch.randn(2, 3, 32, 32)
    feature, taps = backbone(images)
    torch.testing.assert_close(taps[0], backbone[0](images))
    torch.testing.assert_close(backbone[1](taps[0]), taps[1])
    assert taps[1] is feature


def test_no_backbone_is_the_image(make_model):
    images = torch.randn(2, 3, 32, 32)
    feature, taps = make_model("johnson/rnn").backbone(images)
    assert feature is images
    assert taps == []


@pytest.mark.parametrize(("size", "side"), [(32, 2), (8, 1), (9, 1), (28, 2), (33, 3)])
def test_cnn4_pools_like_same(make_model, size, side):
    feature, _ = make_model("ecrnn/cnn", size).backbone(torch.randn(2, 3, size, size))
    assert feature.shape == (2, 256, side, side)


@pytest.mark.parametrize("order", ["after_relu", "before_relu"])
def test_order_of_normalisation(make_model, order):
    model = make_model("ecrnn/cnn", bn_order=order)
    images = torch.randn(4, 3, 32, 32)
    unit = model.backbone[0][0]
    with torch.no_grad():
        unit.norm.bias.fill_(-1.0)
        map_BCHW = F.conv2d(images, unit.layer.weight, unit.layer.bias, padding=1)
        weights = (None, None, unit.norm.weight, unit.norm.bias, True)
        if order == "after_relu":
            expected = F.batch_norm(map_BCHW.relu(), *weights)
        else:
            expected = F.batch_norm(map_BCHW, *weights).relu()
        torch.testing.assert_close(unit(images), expected)


def test_dropout_stands_at_the_end_of_each_block(make_model):
    model = make_model("yin/cnn")
    kinds = [[type(part).__name__ for part in block] for block in model.backbone]
    assert kinds == [["Unit", "Unit", "MaxPool2d", "Dropout"]] * 2
    assert not any(isinstance(module, nn.Dropout) for module in make_model("yin/vgg9").backbone.modules())


@pytest.mark.parametrize("shortcut", ["A", "B", "keras"])
@pytest.mark.parametrize("size", [8, 7])
def test_residual_block(shortcut, size):
    block = ResidualBlock(3, 5, shortcut, "torch").eval()
    images = torch.randn(2, 3, size, size)

    def convolve(unit, values, stride):
        out = F.conv2d(values, unit.layer.weight, unit.layer.bias, stride=stride, padding=1)
        return F.batch_norm(out, unit.norm.running_mean, unit.norm.running_var, unit.norm.weight, unit.norm.bias)

    expected = convolve(block.second, convolve(block.first, images, 2).relu(), 1)
    if shortcut == "A":
        expected[:, :3] += images[:, :, ::2, ::2]
    else:
        projection = block.shortcut.layer
        assert (projection.bias is not None) == (shortcut == "keras")
        way = F.conv2d(images, projection.weight, projection.bias, stride=2)
        expected = expected + (block.shortcut.norm(way) if shortcut == "B" else way)
    torch.testing.assert_close(block(images), expected.relu())
    assert isinstance(ResidualBlock(5, 5, shortcut, "torch").shortcut, nn.Identity)


@pytest.mark.parametrize("size", [(4, 6), (5, 4), (4, 5), (7, 3), (1, 1)])
def test_wavelet_equals_pywavelets(size):
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    low, details = pywt.dwt2(images.numpy(), "haar")
    expected = torch.cat([torch.from_numpy(band) for band in (low, *details)], dim=1)
    torch.testing.assert_close(Haar(all_bands=True)(images), expected)
    torch.testing.assert_close(Haar(all_bands=False)(images), expected[:, :3])


def test_wavelet_keeps_all_energy():
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(Haar(all_bands=True)(images).square().sum(), images.square().sum())
