"""Files of an own model, and the description of one of its points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.own_models.model import OwnModel
from search.own_models.source import collect

MODELS = """
from torch import nn

from layers import block


class Net(nn.Module):
    def __init__(self, width, cell, classes):
        super().__init__()
        self.body = nn.Sequential(*block(3, width))
        self.rnn = nn.LSTM(width, width, batch_first=True) if cell == "lstm" else None
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        feats = self.body(images).view(images.shape[0], -1, images.shape[2] * images.shape[3]).transpose(1, 2)
        if self.rnn is not None:
            feats, _ = self.rnn(feats)
        return self.head(feats.mean(dim=1))


def build(point, *, num_classes, image_size):
    return Net(point["width"], point["cell"], num_classes)
"""
LAYERS = """
from torch import nn


def block(channels, width):
    return nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
"""
HEAD = "import torch\nfrom torch import nn\n\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model in two files, and a file that nothing imports."""
    (tmp_path / "my_models.py").write_text(MODELS)
    (tmp_path / "layers.py").write_text(LAYERS)
    (tmp_path / "notes.py").write_text("raise SystemExit('not part of the model')\n")
    return tmp_path


@pytest.fixture
def describe(folder: Path) -> Callable[..., OwnModel]:
    """Describe a point: `describe(width=4)`; `body` replaces the file of the model."""

    def make(body: str | None = None, factory: str = "my_models.py:build", **point: Any) -> OwnModel:
        if body is not None:
            (folder / "my_models.py").write_text(HEAD + body)
        return OwnModel(
            factory=factory,
            code=tuple(sorted(collect(factory, folder).items())),
            point=tuple(sorted((point or {"width": 4, "cell": "none"}).items())),
            num_classes=5,
            input_height=8,
            input_width=8,
        )

    return make
