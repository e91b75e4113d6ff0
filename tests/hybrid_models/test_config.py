"""Configurations: faults in words, no torch."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_models.config import ConfigError, ModelConfig
from hybrid_models.shapes import feature_shape, sequence_shape

GOOD = {
    "backbone": "cnn4", "cnn_bn": True, "cnn_dropout": 0.0, "enc_on": True, "enc_depth": 2, "enc_code": 32,
    "enc_bn": True, "rnn": "lstm", "nodes": 8, "depth": 1, "layout": "flat_chunk", "chunk": 4, "merge": "serial",
    "readout": "last", "rnn_bn": False, "fc": "-", "dropout": 0.0,
    "input_channels": 3, "input_height": 8, "input_width": 8, "num_classes": 10,
}  # fmt: skip


def test_good():
    config = ModelConfig.from_dict(GOOD)
    assert (config.pool_head, config.init, feature_shape(config), sequence_shape(config)) == (
        None,
        "torch",
        (256, 1, 1),
        (64, 4),
    )
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "cnn5"}, "backbone: expected one of cnn4, found 'cnn5'"),
        ({"nodes": 0}, "nodes: expected a whole number of at least 1, found 0"),
        ({"nodes": 8.0}, "nodes: expected a whole number of at least 1, found 8.0"),
        ({"num_classes": 1}, "num_classes: expected a whole number of at least 2, found 1"),
        ({"enc_on": 1}, "enc_on: expected true or false, found 1"),
        ({"dropout": 1.0}, "dropout: expected a share of at least 0 and below 1, found 1.0"),
        ({"chunk": None}, "chunk: expected a value because layout is flat_chunk, found none"),
        ({"layout": "rows"}, "chunk: expected no value unless layout is flat_chunk, found 4"),
        ({"pool_head": "gap"}, "pool_head: expected no value unless rnn is none, found 'gap'"),
        ({"enc_code": None}, "enc_code: expected a value because enc_on is true, found none"),
        (
            {"layout": "single_step", "chunk": None, "rnn": "bilstm"},
            "layout: single_step expects one direction and readout last, found bilstm and last",
        ),
        (
            {"layout": "flat_scalar", "chunk": None, "input_height": 64},
            "layout: expected at most 1024 steps, found 1024",
        ),
        ({"input_height": 128, "input_width": 128}, "enc_on: expected a feature of at most 8192 values, found 16384"),
        ({"nods": 3}, "nods: expected a setting of a model, found an unknown name (did you mean nodes"),
    ],
)
def test_faults(changes, words):
    if "found 1024" in words:  # 4 x 1 x 256 is just allowed, one more column of images is not
        ModelConfig.from_dict({**GOOD, **changes})
        changes, words = {**changes, "input_width": 17}, "layout: expected at most 1024 steps, found 2048"
    with pytest.raises(ConfigError) as caught:
        ModelConfig.from_dict({**GOOD, **changes})
    assert words in str(caught.value)


def test_all_faults_at_once():
    with pytest.raises(ConfigError) as caught:
        ModelConfig.from_dict({**GOOD, "nodes": 0, "fc": "x", "init": None})
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["fc", "init", "nodes"]
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults
    with pytest.raises(ConfigError, match="rnn: expected a value, found none"):
        ModelConfig.from_dict({name: value for name, value in GOOD.items() if name != "rnn"})


def test_needs_no_torch():
    code = "import sys, hybrid_models.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
