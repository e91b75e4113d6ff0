"""Images that are in two parts are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from search.data.datasets import DataConfig
from search.data.store import open_data

MakeFolder = Callable[..., Path]


def notes(root: Path, cache: Path) -> list[str]:
    data = open_data(DataConfig(name="folder", root=str(root)), cache)
    return [note for note in data.notes if note.startswith("duplicates")]


def test_test_and_validation_images_that_are_training_images_are_named(make_folder: MakeFolder, cache: Path) -> None:
    counts = {f"{part}/{label}": 4 for part in ("train", "val", "test") for label in ("cat", "dog")}
    root = make_folder(counts)
    assert notes(root, cache) == []
    shutil.copy(root / "train/cat/001.png", root / "test/dog/zzz.png")
    for at in range(2):
        shutil.copy(root / f"train/dog/{at:03d}.png", root / f"val/dog/copy{at}.png")
    assert notes(root, cache) == [
        "duplicates: 2 validation images are also training images (val/dog/copy0.png = train/dog/000.png, "
        "val/dog/copy1.png = train/dog/001.png); their scores show what was memorised, so remove them from one of the "
        "parts",
        "duplicates: 1 test image is also a training image (test/dog/zzz.png = train/cat/001.png); their scores show "
        "what was memorised, so remove them from one of the parts",
    ]
