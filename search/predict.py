"""An exported model on image files: needs the export folder, torch and Pillow, nothing else of this project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.errors import InputError

NUM_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says of one image."""

    path: str
    label: str
    """The most probable class."""
    probability: float
    """As the model states it; not calibrated."""
    top: tuple[tuple[str, float], ...]
    """The most probable classes and their probabilities, best first."""


def predict(folder: Path, paths: Sequence[Path], batch: int = 256) -> list[Prediction]:
    """Classify image files with an exported model.

    Args:
        folder: What `export` wrote.
        paths: Image files of any size and mode; they become RGB of the model's size.
        batch: Images per forward pass.

    Raises:
        InputError: The folder is no export, or images cannot be read: all of them named.
    """
    import numpy as np
    import torch

    facts = _read_facts(folder)
    pixels = _read_images(paths, facts["height"], facts["width"])
    module = torch.export.load(folder / "model.pt2").module()
    predictions = []
    for start in range(0, len(paths), batch):
        probabilities = module(torch.from_numpy(np.stack(pixels[start : start + batch])))
        for path, row in zip(paths[start:], probabilities.tolist(), strict=False):
            ranked = sorted(zip(facts["classes"], row, strict=True), key=lambda pair: -pair[1])
            predictions.append(
                Prediction(path=str(path), label=ranked[0][0], probability=ranked[0][1], top=tuple(ranked[:NUM_SHOWN]))
            )
    return predictions


def _read_facts(folder: Path) -> dict:  # type: ignore[type-arg]
    try:
        facts: dict = json.loads((folder / "evidence.json").read_text(encoding="utf-8"))["model"]  # type: ignore[type-arg]
    except (OSError, ValueError, KeyError):
        raise InputError(f"{folder}: not an export (no readable evidence.json); make one with `export`") from None
    if not (folder / "model.pt2").is_file():
        raise InputError(f"{folder}: model.pt2 is missing; export again")
    return facts


def _read_images(paths: Sequence[Path], height: int, width: int) -> list:  # type: ignore[type-arg]
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    pixels, faults = [], []
    for path in paths:
        try:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
                if rgb.size != (width, height):
                    rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
                pixels.append(np.asarray(rgb))
        except FileNotFoundError:
            faults.append(f"{path}: no such image")
        except (OSError, UnidentifiedImageError, ValueError) as error:
            faults.append(f"{path}: not a readable image ({error})")
    if faults:
        raise InputError(*faults)
    return pixels
