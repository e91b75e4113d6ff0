"""Stand-in images: small, generated, of known content."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write class folders of images: `make_folder({"train/cat": 6, "test/cat": 3}, size=(8, 8), suffix="png")`.

    A size of None writes empty files: enough where images are listed but not decoded.
    """

    def make(
        counts: Mapping[str, int],
        size: tuple[int, int] | None = (8, 8),
        name: str = "images",
        seed: int = 0,
        suffix: str = "png",
    ) -> Path:
        rng = np.random.default_rng(seed)
        root = tmp_path / name
        for folder, number in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for position in range(number):
                path = root / folder / f"{position:03d}.{suffix}"
                if size is None:
                    path.touch()
                else:
                    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return root

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    return tmp_path / "cache"


@pytest.fixture
def real_root() -> Path:
    """The folder that holds cifar10/, caltech101/ and tiny-imagenet-200/, where somebody has them."""
    root = os.environ.get("HYBRID_SEARCH_TEST_DATA")
    if not root:
        pytest.skip("HYBRID_SEARCH_TEST_DATA does not name a folder with cifar10/, caltech101/ and tiny-imagenet-200/")
    return Path(root)
