"""An exported model on image files: needs the export folder and nothing else of the study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_models.config import ModelConfig
from search.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hybrid_models.deployed import Deployed

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

    exported = _read_evidence(folder)
    model = _load_model(folder, exported)
    pixels = _read_images(paths, *model.image_size, exported.squeezed_to)
    predictions = []
    for start in range(0, len(paths), batch):
        with torch.no_grad():
            probabilities = model(torch.from_numpy(np.stack(pixels[start : start + batch])))
        for path, row in zip(paths[start:], probabilities.tolist(), strict=False):
            ranked = sorted(zip(exported.classes, row, strict=True), key=lambda pair: -pair[1])
            predictions.append(
                Prediction(path=str(path), label=ranked[0][0], probability=ranked[0][1], top=tuple(ranked[:NUM_SHOWN]))
            )
    return predictions


@dataclass(frozen=True, kw_only=True)
class _Exported:
    """What an export says of its model."""

    config: ModelConfig
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    squeezed_to: int | None
    digest: str
    """SHA-256 of the weights file."""


def _read_evidence(folder: Path) -> _Exported:
    from search.data.stream import resized_side

    try:
        evidence = json.loads((folder / "evidence.json").read_text(encoding="utf-8"))
        model = evidence["model"]
        exported = _Exported(
            config=ModelConfig.from_dict(model["settings"]),
            classes=tuple(map(str, model["classes"])),
            mean=tuple(map(float, model["mean"])),
            std=tuple(map(float, model["std"])),
            squeezed_to=model["squeezed_to"],
            digest=str(evidence["weights"]["digest"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{folder}: not an export (no readable evidence.json, or of an older version); make one with `export`"
        ) from None
    sizes = (len(exported.classes), len(exported.mean), len(exported.std))
    squeezed = (None, resized_side(exported.config.input_height))
    if sizes != (exported.config.num_classes, 3, 3) or exported.squeezed_to not in squeezed:
        raise InputError(f"{folder}: evidence.json does not hold together; export again")
    return exported


def _load_model(folder: Path, exported: _Exported) -> Deployed:
    """Build the model and fill in its weights. Nothing in the folder can execute: torch.export's programs could."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from hybrid_models.build import build
    from hybrid_models.deployed import Deployed

    path = folder / "model.safetensors"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; export again") from None
    if hashlib.sha256(content).hexdigest() != exported.digest:
        raise InputError(f"{path}: damaged, not the weights of evidence.json; export again")
    model = build(exported.config, torch.Generator().manual_seed(0))
    try:
        model.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{path}: not the weights of this model ({reason}); export again") from None
    return Deployed(model, exported.mean, exported.std).eval()


def _read_images(
    paths: Sequence[Path], height: int, width: int, squeezed_to: int | None = None
) -> list[NDArray[np.uint8]]:
    """Read images as they were read to score: squeezed into the size, or into a larger square and cropped in it."""
    from search.data.errors import ImageError
    from search.data.images import crop_middle, read_image

    pixels: list[NDArray[np.uint8]] = []
    faults: list[str] = []
    for path in paths:
        try:
            side = (squeezed_to, squeezed_to) if squeezed_to else (height, width)
            pixels.append(crop_middle(read_image(path, side), height, width))
        except ImageError as error:
            faults.extend(error.faults)
    if faults:
        raise InputError(*faults)
    return pixels
