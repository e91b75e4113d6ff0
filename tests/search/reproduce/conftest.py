"""A stand-in for the papers' images: three classes of coloured noise, a class folder each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.reproduce.setting import Options

CLASSES = ("blue", "green", "red")
NUM_TRAIN, NUM_TEST, SIDE = 24, 8, 16


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 8 test images of each class, 16x16."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        for channel, name in enumerate(reversed(CLASSES)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
                pixels[..., channel] += 60
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


@pytest.fixture
def settings(stand_in: Path) -> tuple[str, ...]:
    """Overrides that train on the stand-in, in this process, without MLflow."""
    return (
        "data.name=folder",
        f"data.root={stand_in}",
        f"data.image_size={SIDE}",
        "train.batch=16",
        "train.precision=float32",
        "resources.runner=inline",
        "tracking.enabled=false",
    )


@pytest.fixture
def make_options(settings: tuple[str, ...], tmp_path: Path) -> Callable[..., Options]:
    """Make options for a quick run: `make_options("cnn", "control", epochs=2)`."""

    def make(
        *cells: str, repeats: int = 2, epochs: int = 1, overrides: tuple[str, ...] = (), **more: object
    ) -> Options:
        return Options(
            cells=cells,
            repeats=repeats,
            epochs=epochs,
            storage=str(tmp_path / "runs"),
            overrides=(*settings, *overrides),
            **more,  # type: ignore[arg-type]
        )

    return make
