from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import search
from search.errors import InputError
from search.export.predict import predict


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images of different sizes."""
    generator = np.random.default_rng(0)
    for name, size in (("a", (8, 8)), ("b", (20, 31))):
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_it_predicts_as_the_command(exported: Path, photos: Path) -> None:
    frame = search.load(exported).predict(photos)
    wanted = predict(exported, [photos]).predictions
    assert list(frame["image"]) == [item.path for item in wanted]
    assert list(frame["label"]) == [item.label for item in wanted]
    assert list(frame["probability"]) == [item.probability for item in wanted]
    assert frame[[f"P({name})" for name in map(str, range(10))]].sum(axis=1).to_list() == pytest.approx([1, 1])


def test_pixels_are_resized_as_files_are(exported: Path, photos: Path) -> None:
    predictor = search.load(exported)
    pixels = [np.asarray(Image.open(photos / f"{name}.png")) for name in "ab"]
    by_pixels, by_files = predictor.predict(pixels), predictor.predict(photos)
    assert by_pixels["image"].to_list() == [0, 1]
    assert by_pixels["probability"].to_list() == by_files["probability"].to_list()
    alone = predictor.predict(pixels[0])["probability"][0]
    assert alone == pytest.approx(by_files["probability"][0], rel=1e-5)
    assert predictor.predict(np.stack([pixels[0]] * 3))["label"].nunique() == 1
    assert len(predictor.predict([])) == 0


def test_the_model_is_a_module_and_the_classes_are_named(exported: Path) -> None:
    predictor = search.load(exported)
    assert predictor.classes == tuple(map(str, range(10)))
    assert isinstance(predictor.model, torch.nn.Module)
    assert predictor.model(torch.zeros(2, 3, *predictor.image_size)).shape == (2, 10)
    assert repr(predictor).endswith("8 x 8 pixels, 10 classes (0, 1, 2, 3, 4, ...)>")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 8, 8, 3)), "expected uint8 pixels"),
        (np.zeros((8, 8), dtype=np.uint8), "expected uint8 pixels"),
        (5, "expected paths or arrays, found int"),
        (["none.png"], "none.png"),
    ],
)
def test_other_input_is_refused(exported: Path, images: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        search.load(exported).predict(images)  # type: ignore[arg-type]


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an export"):
        search.load(tmp_path)
