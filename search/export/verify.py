"""Checks that an exported program reproduces the predictions whose scores are exported with it.

Shapes: B batch, N images, R blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from search.data.batches import EvalBatches
from search.data.store import ImageData
from search.storage.disk import load_array

NUM_IMAGES = 256
BATCH = 64
CPU = torch.device("cpu")

Classifier = Callable[[torch.Tensor], torch.Tensor]
"""uint8 images (B, H, W, 3) -> class probabilities (B, C)."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Share of test images on which the exported program and the trained model agree; labels are not used."""

    num_images: int
    share: float
    """Share of equal predictions, 0 to 1."""
    with_what: str
    """Source of the predictions that the program is compared with, in words."""


def compare_predictions(
    program: Classifier, model: Classifier, data: ImageData, *, precision: str, predictions: Path | None
) -> Agreement:
    """Compare a program's predictions with those stored by the run, or with the model's if none were stored.

    Args:
        program: The exported program; computes in float32.
        model: The model with the same weights, run on the CPU in the precision of training.
        data: The data set; a sample of its test images is classified.
        precision: float32 or bfloat16, the precision in which the scores were measured.
        predictions: File of the stored test predictions, (R, N); the program belongs to the first block.
    """
    num_test = len(data.test.labels)
    # Evenly spaced, because the test set may be sorted by class.
    rows = np.unique(np.linspace(0, num_test - 1, min(NUM_IMAGES, num_test)).astype(np.int64))
    said = _classify(program, data, rows)
    if predictions is not None:
        known = load_array(predictions, "uint16", num_test)[0][rows]
        words = "the predictions that were scored"
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            known = _classify(model, data, rows)
        words = f"the model in {precision} on a CPU"
    return Agreement(num_images=len(rows), share=float((said == known).mean()), with_what=words)


@torch.no_grad()
def _classify(classifier: Classifier, data: ImageData, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    parts = [classifier(pixels).argmax(dim=1) for pixels, _ in EvalBatches(data.test, rows, BATCH, CPU)]
    return torch.cat(parts).numpy()
