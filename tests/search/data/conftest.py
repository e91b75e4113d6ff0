"""Stand-in images: small, generated, of known content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write class folders of PNG images: `make_folder({"train/cat": 6, "test/cat": 3}, size=(8, 8))`."""

    def make(counts: Mapping[str, int], size: tuple[int, int] = (8, 8), name: str = "images", seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        root = tmp_path / name
        for folder, number in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for position in range(number):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{position:03d}.png")
        return root

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    return tmp_path / "cache"
