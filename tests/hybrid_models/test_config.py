"""Configurations: faults in words, no torch."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_models.config.model import ConfigError, ModelConfig
from hybrid_models.config.shapes import feature_shape, sequence_shape

IMAGE = {"input_channels": 3, "input_height": 32, "input_width": 32, "num_classes": 10}
CHAIN = {"backbone": "cnn4", "cnn_bn": True, "cnn_dropout": 0.0, "enc_on": False}
HEAD = {"fc": "-", "dropout": 0.0}
RNN = {"nodes": 8, "depth": 1, "merge": "serial", "layout": "rows", "readout": "last", "rnn_bn": False}
TAPS = {"nodes": 8, "depth": 1, "merge": "taps", "taps": "all", "patch": 2, "raster": False, "rnn_bn": True}
ENC = {"enc_on": True, "enc_depth": 2, "enc_code": 32, "enc_bn": True}
CNN = {**IMAGE, **CHAIN, **HEAD, "rnn": "none", "pool_head": "flatten"}
CRNN = {**IMAGE, **CHAIN, **HEAD, "rnn": "lstm", **RNN}
TAPPED = {**IMAGE, **CHAIN, **HEAD, "rnn": "gru", **TAPS, "pool_head": "gap"}
BARE = {**IMAGE, **HEAD, "backbone": "none", "rnn": "gru", **RNN}
AUTOENCODER = {**IMAGE, "family": "autoencoder", "recon_weight": 0.5}
TSN = {**IMAGE, "family": "tsn"}
GOOD = {**CRNN, **ENC, "layout": "flat_chunk", "chunk": 4, "input_height": 8, "input_width": 8}


def sized(base, height, width=None):
    return {**base, "input_height": height, "input_width": width or height}


def test_good():
    config = ModelConfig.from_dict(GOOD)
    assert (config.pool_head, config.init, feature_shape(config), sequence_shape(config)) == (
        None,
        "torch",
        (256, 1, 1),
        (64, 4),
    )
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("base", [CNN, CRNN, TAPPED, BARE, AUTOENCODER, TSN])
def test_what_the_faults_start_from_is_good(base):
    ModelConfig.from_dict(base)


VALUES = [
    ({"backbone": "cnn5"}, "backbone: expected one of none, cnn4, cnn6, vgg9, resnet20, yincnn, plain, found 'cnn5'"),
    ({"nodes": 0}, "nodes: expected a whole number of at least 1, found 0"),
    ({"nodes": 8.0}, "nodes: expected a whole number of at least 1, found 8.0"),
    ({"nodes": True}, "nodes: expected a whole number of at least 1, found True"),
    ({"n_conv": 9}, "n_conv: expected a whole number from 2 to 8, found 9"),
    ({"n_conv": 3.0}, "n_conv: expected a whole number from 2 to 8, found 3.0"),
    ({"num_classes": 1}, "num_classes: expected a whole number of at least 2, found 1"),
    ({"enc_on": 1}, "enc_on: expected true or false, found 1"),
    ({"dropout": 1.0}, "dropout: expected a share of at least 0 and below 1, found 1.0"),
    ({"recon_weight": -0.1}, "recon_weight: expected a share of at least 0 and below 1, found -0.1"),
    ({"fc": "512-"}, "fc: expected - or widths such as 512 or 1024-512, found '512-'"),
    ({"fc": 512}, "fc: expected - or widths such as 512 or 1024-512, found 512"),
    ({"family": None}, "family: expected one of hybrid, autoencoder, tsn, found null"),
    ({"shortcut": "C"}, "shortcut: expected one of A, B, keras, found 'C'"),
    ({"nods": 3}, "nods: expected a setting of a model, found an unknown name (did you mean nodes"),
]
ACTIVITY = [
    (GOOD, {"chunk": None}, "chunk: expected a value because layout is flat_chunk, found none"),
    (GOOD, {"layout": "rows"}, "chunk: expected no value unless layout is flat_chunk, found 4"),
    (GOOD, {"enc_code": None}, "enc_code: expected a value because enc_on is true, found none"),
    (CRNN, {"pool_head": "gap"}, "pool_head: expected no value unless backbone is not none, and rnn is none or merge"),
    (CNN, {"pool_head": None}, "pool_head: expected a value because backbone is not none, and rnn is none or merge"),
    (CRNN, {"merge": "sum"}, "pool_head: expected a value because"),
    (CRNN, {"rnn": None}, "rnn: expected a value because family is hybrid, found none"),
    (CRNN, {"backbone": None}, "backbone: expected a value because family is hybrid, found none"),
    (CRNN, {"layout": None}, "layout: expected a value because rnn is not none and merge is not taps, found none"),
    (CNN, {"nodes": 8}, "nodes: expected no value unless rnn is not none, found 8"),
    (CNN, {"n_conv": 4}, "n_conv: expected no value unless backbone is plain, found 4"),
    (CNN, {"backbone": "plain"}, "n_conv: expected a value because backbone is plain, found none"),
    (CNN, {"backbone": "resnet20"}, "cnn_bn: expected no value unless backbone is neither none nor resnet20"),
    (BARE, {"enc_on": False}, "enc_on: expected no value unless backbone is not none, found False"),
    (TAPPED, {"layout": "rows"}, "layout: expected no value unless rnn is not none and merge is not taps"),
    (TAPPED, {"raster": None}, "raster: expected a value because merge is taps, found none"),
    (CRNN, {"patch": 2}, "patch: expected no value unless merge is taps, or layout is patches_bidir or renet4"),
    (CRNN, {"readout": "per_step"}, "rnn_bn: expected no value unless rnn is not none, layout is not renet4"),
    (CRNN, {"layout": "renet4", "patch": 2}, "readout: expected no value unless rnn is neither none nor convlstm"),
    (TAPPED, {"rnn": "convlstm"}, "peephole: expected a value because rnn is convlstm, found none"),
    (CRNN, {"recon_weight": 0.5}, "recon_weight: expected no value unless family is autoencoder, found 0.5"),
    (AUTOENCODER, {"fc": "-"}, "fc: expected no value unless family is hybrid, found '-'"),
    (TSN, {"wavelet": "haar_ll"}, "wavelet: expected none unless family is hybrid, found 'haar_ll'"),
]
ONE_STEP = {"layout": "single_step"}
SCANNED = {"layout": "renet4", "readout": None, "rnn_bn": None, "patch": 1}
FRAMES = {"rnn": "convlstm", "peephole": "none", "readout": None}
COMBINATIONS = [
    ({**IMAGE, **HEAD, "backbone": "none", "rnn": "none"}, {}, "rnn: expected a recurrence because backbone is none"),
    (CRNN, FRAMES, "rnn: expected convlstm only with merge taps or layout patches_bidir, found layout rows"),
    (CRNN, {**SCANNED, "rnn": "bilstm"}, "rnn: expected lstm because layout renet4 already reads both directions"),
    (TAPPED, {"rnn": "bigru"}, "rnn: expected gru because merge taps already reads both directions, found 'bigru'"),
    (BARE, {"merge": "concat"}, "merge: expected serial because backbone is none, found 'concat'"),
    (CRNN, {**ONE_STEP, "rnn": "bilstm"}, "layout: single_step expects one direction and readout last, found bilstm"),
    (CRNN, {**ONE_STEP, "readout": "mean"}, "layout: single_step expects one direction and readout last, found lstm"),
    (
        CRNN,
        {"readout": "per_step", "rnn_bn": None, "merge": "sum", "pool_head": "gap"},
        "merge: expected serial because readout is per_step, found 'sum'",
    ),
    (BARE, {"layout": "channels"}, "layout: expected a value other than channels without a backbone"),
]
PLAIN = {"backbone": "plain", "n_conv": 8}
FLAT = {"layout": "flat_scalar"}
WIDE = {"readout": "flatten_all", "layout": "flat_scalar"}
SIZES = [
    (CRNN, FLAT, {**FLAT, "input_width": 33}, "layout: expected at most 1024 steps, found 1536 with flat_scalar"),
    (
        CRNN,
        {**WIDE, "nodes": 16},
        {**WIDE, "nodes": 17},
        "readout: expected flatten_all of at most 16384 steps x nodes",
    ),
    (
        sized({**CRNN, **ENC}, 64, 128),
        {},
        {"input_width": 129},
        "enc_on: expected a feature of at most 8192 values, found 9216",
    ),
    (
        sized({**CNN, **PLAIN}, 16),
        {},
        {"input_width": 15},
        "backbone: expected images of at least 16x16 for the 4 poolings of plain, found 16x15",
    ),
    (
        sized({**CNN, **PLAIN}, 31),
        {"wavelet": "haar_ll"},
        {"wavelet": "haar_ll", "input_height": 30},
        "backbone: expected images of at least 16x16 after the wavelet filter haar_ll for the 4 poolings of plain",
    ),
    (TAPPED, {}, {"patch": 4}, "patch: expected a divisor of the map's sides, found 4: the 2x2 map is smaller than"),
    (
        {**CRNN, **SCANNED},
        {"patch": 2},
        {"patch": 2, "depth": 2},
        "patch: expected a divisor of the map's sides, found 2: the 1x1 map that layer 2 reads is smaller than",
    ),
    (
        {**TAPPED, "backbone": "resnet20", "cnn_bn": None, "cnn_dropout": None, "patch": 1},
        {"raster": True},
        {"raster": True, "input_height": 33},
        "raster: expected at most 1024 patches in a sequence, found 1056",
    ),
    (
        sized(AUTOENCODER, 64, 8),
        {},
        {"input_width": 12},
        "family: autoencoder expects images with sides divisible by 8",
    ),
    (sized(TSN, 16, 8), {}, {"input_height": 15}, "family: tsn expects images of at least 16x8, found 15x8"),
    (CNN, {"fc": "16384-2500"}, {"fc": "16384-2700"}, "model: expected at most 60000000 parameters, found 61"),
]


def faults_of(data):
    with pytest.raises(ConfigError) as caught:
        ModelConfig.from_dict(data)
    return caught.value.faults


@pytest.mark.parametrize(("changes", "words"), VALUES)
def test_value_faults(changes, words):
    assert [fault for fault in faults_of({**GOOD, **changes}) if words in fault]


@pytest.mark.parametrize(("base", "changes", "words"), [*ACTIVITY, *COMBINATIONS])
def test_faults_of_combinations(base, changes, words):
    assert [fault for fault in faults_of({**base, **changes}) if words in fault]


@pytest.mark.parametrize(("base", "just_right", "too_much", "words"), SIZES)
def test_faults_of_size_begin_where_they_should(base, just_right, too_much, words):
    ModelConfig.from_dict({**base, **just_right})
    assert words in faults_of({**base, **too_much})[0]


def test_a_missing_setting_does_not_make_others_look_wrong():
    assert [fault.split(":")[0] for fault in faults_of({**CRNN, "rnn": None, "dropout": None})] == ["rnn", "dropout"]
    assert [fault.split(":")[0] for fault in faults_of(IMAGE)] == ["backbone", "rnn", "fc", "dropout"]


def test_all_faults_at_once():
    faults = faults_of({**GOOD, "nodes": 0, "fc": "x", "init": None})
    assert [fault.split(":")[0] for fault in faults] == ["init", "nodes", "fc"]
    assert all("\n" not in fault for fault in faults)
    error = ConfigError(*faults)
    assert pickle.loads(pickle.dumps(error)).faults == faults
    with pytest.raises(ConfigError, match="num_classes: expected a value, found none"):
        ModelConfig.from_dict({name: value for name, value in GOOD.items() if name != "num_classes"})


def test_needs_no_torch():
    code = "import sys, hybrid_models.config.model; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
