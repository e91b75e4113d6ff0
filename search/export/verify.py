"""Whether an exported program says what the training said whose scores it is handed over with.

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
    """The program on a sample of test images, without a look at their labels."""

    num_images: int
    share: float
    """Of equal predictions; 0 to 1."""
    with_what: str
    """Whose predictions they are compared with."""


def compare_predictions(
    program: Classifier, model: Classifier, data: ImageData, *, precision: str, predictions: Path | None
) -> Agreement:
    """Compare a program's predictions with the training's own, or with the model's where it left none.

    Args:
        program: What is handed over; computes in float32.
        model: The same weights, run in the training's precision on this CPU.
        data: For its test images.
        precision: float32 or bfloat16: what the scores were measured in.
        predictions: The training's predictions of the test set, (R, N); its first block is the program's.
    """
    num_test = len(data.test.labels)
    # Spread over the set, as it may be in the order of its classes.
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
