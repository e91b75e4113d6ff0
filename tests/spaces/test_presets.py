"""Shipped spaces and points, and that the package is ours."""

import subprocess
import sys
from pathlib import Path

import pytest

import spaces
from spaces.presets import UnknownPreset, load_preset, load_recipe, load_space, preset_names, space_names

ROOT = Path(__file__).parents[2]
ECRNN = [name for name in preset_names() if name.startswith("ecrnn/")]


def test_the_package_is_ours():
    # A distribution of the same name is on PyPI.
    assert Path(spaces.__file__).resolve() == ROOT / "spaces" / "__init__.py"


def test_needs_no_torch():
    code = "import sys, spaces.presets as p; p.load_space('ecrnn'); assert not {'torch', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_names():
    sizes = ("16", "32", "16-16", "32-32")
    assert set(ECRNN) == {"ecrnn/cnn"} | {
        f"ecrnn/{model}-{cell}-{size}" for model in ("crnn", "ecrnn") for cell in ("lstm", "bilstm") for size in sizes
    }
    assert "ecrnn" in space_names()


@pytest.mark.parametrize("name", ECRNN)
def test_presets_are_points_of_their_space(name):
    given = {**load_preset(name), "lr": 0.001}
    assert load_space("ecrnn").point(given) == given


def test_presets_differ():
    points = [load_space("ecrnn").point({**load_preset(name), "lr": 0.001}) for name in ECRNN]
    assert len(set(points)) == len(ECRNN) == 17


def test_size_of_the_ecrnn_space():
    space = load_space("ecrnn")
    assert space.size is None
    assert space.continuous == ("lr",)
    # encoder: off, or depth x code x bn; rnn: none, or cells x nodes x depth x (layouts with chunk) x readout x bn
    assert space.pin({"lr": 0.001}).size == (1 + 3 * 5 * 2) * (1 + 5 * 4 * 2 * (1 + 3 + 1) * 2 * 2) * 4


def test_loading_twice_gives_fresh_copies():
    load_preset("ecrnn/cnn")["rnn"] = "changed"
    assert load_preset("ecrnn/cnn")["rnn"] == "none"


def test_recipe():
    recipe = load_recipe("ecrnn")
    assert (recipe["optimizer"], recipe["lr"], recipe["batch"], recipe["epochs"]) == ("adam", 0.001, 128, 30)
    assert (recipe["init"], recipe["bn_style"], recipe["normalise"]) == ("keras", "keras", "global")


def test_unknown_names_list_near_ones_first():
    with pytest.raises(UnknownPreset) as caught:
        load_preset("ecrnn/ecrnn-blstm-16")
    words = str(caught.value)
    assert words.startswith("no preset is called 'ecrnn/ecrnn-blstm-16'; did you mean ecrnn/ecrnn-bilstm-16 or ")
    assert words.index("did you mean") < words.index("known: ecrnn/cnn, ")
    with pytest.raises(UnknownPreset, match="no space is called 'ecrn'; did you mean ecrnn"):
        load_space("ecrn")
    with pytest.raises(UnknownPreset, match="no recipe is called 'zzz'; known: ecrnn"):
        load_recipe("zzz")
