"""An exported model on image files: needs the export folder and nothing else of the study."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    pixels = _read_images(paths, facts["height"], facts["width"], facts.get("squeezed_to"))
    module = _load_program(folder / "model.pt2")
    predictions = []
    for start in range(0, len(paths), batch):
        probabilities = module(torch.from_numpy(np.stack(pixels[start : start + batch])))
        for path, row in zip(paths[start:], probabilities.tolist(), strict=False):
            ranked = sorted(zip(facts["classes"], row, strict=True), key=lambda pair: -pair[1])
            predictions.append(
                Prediction(path=str(path), label=ranked[0][0], probability=ranked[0][1], top=tuple(ranked[:NUM_SHOWN]))
            )
    return predictions


def _load_program(path: Path) -> Any:  # noqa: ANN401
    import logging

    import torch

    # torch logs the traceback of what it raises in the next moment.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        # torch does not look at the checksums: damaged weights would predict nonsense.
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise ValueError(f"wrong checksum of {bad}")
        return torch.export.load(path).module()
    except Exception as error:  # noqa: BLE001  zip, pickle, JSON and graph reader raise what they meet
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise InputError(f"{path}: damaged, or of another torch version ({reason}); export again") from None
    finally:
        logging.disable(before)


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / "evidence.json").read_text(encoding="utf-8"))["model"]
        _ = facts["height"], facts["width"], facts["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder}: not an export (no readable evidence.json); make one with `export`") from None
    if not (folder / "model.pt2").is_file():
        raise InputError(f"{folder}: model.pt2 is missing; export again")
    return facts


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
