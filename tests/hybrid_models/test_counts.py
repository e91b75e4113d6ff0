"""Parameters, steps and multiply-adds: against the papers, and arithmetic against built models."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hybrid_models.config.arithmetic import layers, macs, num_parameters, num_parameters_keras
from hybrid_models.config.shapes import sequential_steps
from hybrid_models.counting import keras_total, torch_trainable
from hybrid_models.layers.conv_lstm import ConvLSTM
from hybrid_models.objective import objective
from search.commands.models import layers_to_lines, list_layers, list_models
from spaces.presets import preset_names

COUNTS = json.loads((Path(__file__).parent / "counts.json").read_text())


def test_all_65_are_checked():
    assert len(COUNTS) == 65
    assert set(COUNTS) == set(preset_names())


@pytest.mark.parametrize("name", COUNTS)
def test_counts_by_both_conventions(make_model, name):
    model = make_model(name)
    counted = {
        "torch_trainable": torch_trainable(model),
        "keras_total": keras_total(model),
        "sequential_steps": sequential_steps(model.config),
    }
    assert counted == COUNTS[name]
    config = model.config
    assert counted == {
        "torch_trainable": num_parameters(config),
        "keras_total": num_parameters_keras(config),
        "sequential_steps": sequential_steps(config),
    }
    assert leaves(model) == rows(config)


@pytest.mark.parametrize("name", ["ecrnn/ecrnn-lstm-16", "yin/cnn+lstm", "johnson/proposed"])
def test_initial_weights_change_no_count(make_model, name):
    model = make_model(name, init="keras", bn_style="keras")
    assert (torch_trainable(model), keras_total(model)) == (
        COUNTS[name]["torch_trainable"],
        COUNTS[name]["keras_total"],
    )


def leaves(model):
    """Parameters of every layer of a built model that has any; recurrences, which may have several layers, in one."""
    counted, inside = [], set()
    for module in model.modules():
        if module in inside:
            continue
        if isinstance(module, nn.RNNBase | ConvLSTM):
            counted += by_layer(module)
            inside.update(module.modules())
        elif list(module.parameters(recurse=False)):
            counted.append(torch_trainable(module))
    return Counter(counted)


def by_layer(recurrence):
    found = Counter()
    for name, weight in recurrence.named_parameters():
        found[name.removesuffix("_reverse")[-1]] += weight.numel()
    return found.values()


def rows(config):
    """The same by arithmetic."""
    return Counter(layer.torch for layer in layers(config) if layer.torch)


# Other readings of the papers' models, worked out by hand: torch's and Keras' count.
ARMS = [
    ("ecrnn/cnn", {"enc_on": True, "enc_depth": 2, "enc_code": 256, "enc_bn": True}, 1_717_258, 1_722_826),
    ("ecrnn/cnn", {"fc": "512"}, None, 920_266),
    ("ecrnn/cnn", {"fc": "512-256"}, None, 1_049_034),
    ("yin/cnn+irnn", {"raster": True}, 2_365_994, None),
    ("yin/cnn+irnn", {"wavelet": "haar_ll"}, 1_056_298, None),
    ("yin/cnn+irnn", {"wavelet": "haar_all"}, 1_058_890, None),
    ("yin/cnn+convlstm", {"patch": 4}, 3_895_082, None),
    ("yin/cnn+convlstm", {"patch": 4, "peephole": "printed"}, 3_898_154, None),
    ("yin/cnn+convlstm", {"patch": 4, "peephole": "original"}, 3_898_154, None),
    ("yin/vgg9", {"vgg_reading": "fed"}, 3_491_530, None),
    ("yin/vgg9", {"vgg_reading": "narrow"}, 3_510_858, None),
    ("yin/vgg9", {"fc": "4096-4096"}, 54_881_674, None),
    ("yin/resnet20", {"shortcut": "B"}, 272_474, None),
    ("yin/resnet20", {"shortcut": "keras"}, 273_066, 274_442),
    ("johnson/rnn", {"rnn": "rnn_tanh"}, 30_218, None),
    ("johnson/rnn", {"rnn": "gru"}, 88_074, None),
    ("yilmaz/cnn", {"cnn_bn": True}, 5_853_066, None),
    ("yilmaz/cnn-lstm", {"nodes": 512}, 11_622_602, None),
    ("yilmaz/cnn-lstm-skip", {"nodes": 512}, 13_720_266, None),
    ("yilmaz/cnn", {"num_classes": 5}, 5_848_773, None),
    ("yilmaz/cnn-lstm", {"num_classes": 5}, 6_375_109, None),
    ("yilmaz/cnn-lstm-skip", {"num_classes": 5}, 7_423_941, None),
    ("yilmaz/autoencoder", {"num_classes": 5}, 51_200, None),
]


@pytest.mark.parametrize(("name", "changes", "torch_count", "keras_count"), ARMS)
def test_readings_of_the_papers(make_config, make_model, name, changes, torch_count, keras_count):
    config = make_config(name, **changes)
    if torch_count is not None:
        assert num_parameters(config) == torch_count
    if keras_count is not None:
        assert num_parameters_keras(config) == keras_count
    model = make_model(name, **changes).eval()
    assert leaves(model) == rows(config)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, config.num_classes)


def test_renet_of_its_paper(make_config):
    settings = {"backbone": "none", "merge": "serial", "layout": "renet4", "patch": 2, "nodes": 320, "depth": 3}
    config = make_config({**settings, "rnn": "gru", "fc": "4096", "dropout": 0.0})
    assert num_parameters(config) == 59_237_386
    assert sequential_steps(config) == 2 * (16 + 8 + 4)


def test_gru_counts_as_reset_after(make_model):
    model = make_model("ecrnn/crnn-lstm-16", rnn="gru")
    gru = 3 * 16 * (1 + 16 + 2)
    assert keras_total(model) == num_parameters_keras(model.config) == 390_336 + gru + 170


# FlopCounterMode sees convolutions and matrix products: two per multiply-add. ConvLSTMs are left out: they skip the
# product with a state that is zero, and small frames go through a dense matrix.
COUNTED = [
    *["ecrnn/cnn", "yin/cnn", "yin/vgg9", "yin/resnet20", "yin/cnn+irnn", "yin/resnet20+gru", "yin/vgg9+lstm"],
    *["johnson/rnn", "johnson/lrcn", "johnson/tsn", "johnson/sensitivity-conv8-gru32"],
    *["yilmaz/cnn-lstm-skip", "yilmaz/cnn-lstm-positions", "yilmaz/autoencoder"],
]


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_are_those_that_torch_counts(make_model, name):
    assert_macs(make_model(name).double().eval())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("johnson/rnn", {"layout": "renet4", "patch": 2, "depth": 2, "rnn": "gru", "readout": None, "rnn_bn": None}),
        ("johnson/rnn", {"layout": "patches_bidir", "patch": 4, "depth": 2, "readout": None}),
        ("ecrnn/ecrnn-bilstm-16-16", {"layout": "positions", "readout": "flatten_all"}),
        ("yin/resnet20+gru", {"shortcut": "B", "raster": True, "depth": 2}),
        ("johnson/lrcn", {"fc": "128"}),
    ],
)
def test_multiply_adds_of_other_parts(make_model, name, changes):
    assert_macs(make_model(name, **changes).double().eval())


def assert_macs(model):
    # In float64 recurrences run as matrix products that the counter sees.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert 2 * macs(model.config) == counter.get_total_flops()


def test_listing():
    found = {row["name"]: row for row in list_models()}
    assert {name: {key: row[key] for key in COUNTS[name]} for name, row in found.items()} == COUNTS
    assert found["ecrnn/ecrnn-bilstm-16"]["macs"] == 18_579_776


# Woo, Kim, Choi (2023), Table 1: 26 rows; the fourth convolution is printed "Conv2D_2" once more, a slip.
TABLE_1 = [
    ("Input", (32, 32, 3), 0),
    ("Conv2D", (32, 32, 32), 896),
    ("BatchNormalization", (32, 32, 32), 128),
    ("MaxPooling2D", (16, 16, 32), 0),
    ("Conv2D_1", (16, 16, 64), 18_496),
    ("BatchNormalization_1", (16, 16, 64), 256),
    ("MaxPooling2D_1", (8, 8, 64), 0),
    ("Conv2D_2", (8, 8, 128), 73_856),
    ("BatchNormalization_2", (8, 8, 128), 512),
    ("MaxPooling2D_2", (4, 4, 128), 0),
    ("Conv2D_3", (4, 4, 256), 295_168),
    ("BatchNormalization_3", (4, 4, 256), 1_024),
    ("MaxPooling2D_3", (2, 2, 256), 0),
    ("Flatten", (1024,), 0),
    ("Dense", (512,), 524_800),
    ("BatchNormalization_4", (512,), 2_048),
    ("Dense_1", (256,), 131_328),
    ("BatchNormalization_5", (256,), 1_024),
    ("Dense_2", (512,), 131_584),
    ("BatchNormalization_6", (512,), 2_048),
    ("Dense_3", (1024,), 525_312),
    ("BatchNormalization_7", (1024,), 4_096),
    ("Reshape", (1024, 1), 0),
    ("Bidirectional(LSTM)", (32,), 2_304),
    ("Dense_4", (10,), 330),
    ("Softmax", (10,), 0),
]


def test_layer_table_is_table_1():
    found = list_layers("ecrnn/ecrnn-bilstm-16")
    assert [(row["layer"], tuple(row["output"]), row["parameters"]) for row in found] == TABLE_1
    assert "1,715,210" in layers_to_lines(found)[-1]


SHAPED = ("Conv2D", "Conv2DTranspose", "MaxPooling2D", "Dense", "BatchNormalization", "TimeDistributed(Dense)")


@pytest.mark.parametrize("name", COUNTS)
def test_table_has_the_shapes_of_the_model(make_model, name):
    model = make_model(name).eval()
    found = []
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda module, args, output: found.append(tuple(output.shape[1:])))
    with torch.no_grad():
        objective(model, torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64))
    expected = [layer.output for layer in layers(model.config) if layer.kind in SHAPED]
    if name == "johnson/tsn":
        expected = [output[1:] for output in expected]  # strips go along the batch
    assert Counter((*shape[1:], shape[0]) if len(shape) == 3 else shape for shape in found) == Counter(expected)
