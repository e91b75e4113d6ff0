"""Parameter counts and layer tables against Woo, Kim, Choi (2023)."""

import json
from pathlib import Path

import pytest
import torch

from hybrid_models.build import build
from hybrid_models.config import ModelConfig
from hybrid_models.counting import keras_total, layer_table, sequential_steps, torch_trainable
from spaces.presets import load_preset

COUNTS = json.loads((Path(__file__).parent / "counts.json").read_text())
IMAGE = {"input_channels": 3, "input_height": 32, "input_width": 32, "num_classes": 10}


def make(name, **changes):
    return build(ModelConfig.from_dict({**load_preset(name), **IMAGE, **changes}), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("init", ["torch", "keras"])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_by_both_conventions(name, init):
    model = make(name, init=init)
    assert {
        "torch_trainable": torch_trainable(model),
        "keras_total": keras_total(model),
        "sequential_steps": sequential_steps(model.config),
    } == COUNTS[name]


def test_all_seventeen_are_checked():
    assert len(COUNTS) == 17


def test_gru_counts_as_reset_after():
    model = make("ecrnn/crnn-lstm-16", rnn="gru")
    gru = 3 * 16 * (1 + 16 + 2)
    assert keras_total(model) == 390_336 + gru + 170


def test_layer_table_is_table_1():
    model = make("ecrnn/ecrnn-bilstm-16")
    rows = [(shape, num_params) for _, shape, num_params in layer_table(model)]
    assert rows == [
        ((32, 32, 32), 896),
        ((32, 32, 32), 128),
        ((16, 16, 32), 0),
        ((16, 16, 64), 18_496),
        ((16, 16, 64), 256),
        ((8, 8, 64), 0),
        ((8, 8, 128), 73_856),
        ((8, 8, 128), 512),
        ((4, 4, 128), 0),
        ((4, 4, 256), 295_168),
        ((4, 4, 256), 1_024),
        ((2, 2, 256), 0),
        ((1024,), 0),
        ((512,), 524_800),
        ((512,), 2_048),
        ((256,), 131_328),
        ((256,), 1_024),
        ((512,), 131_584),
        ((512,), 2_048),
        ((1024,), 525_312),
        ((1024,), 4_096),
        ((1024, 1), 0),
        ((32,), 2_304),
        ((10,), 330),
    ]
    assert sum(num_params for _, num_params in rows) == 1_715_210
    assert model.training
