"""Preprocessing and program of an export as one classifier: images of any size in, a table of probabilities out.

A registered model of MLflow contains a copy of this file, which is its loader. It therefore imports nothing of this
package, and must stay readable by itself.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

METADATA = "classifier.json"
"""Name under which a program contains its class names and preprocessing."""


class ImageClassifier:
    """An exported program with its preprocessing.

    Args:
        program: Maps uint8 images (B, H, W, C) of the model's size to class probabilities (B, K).
        metadata: Content of `METADATA`.
    """

    def __init__(self, program: Callable[[NDArray[np.uint8]], NDArray[np.float32]], metadata: dict[str, Any]) -> None:
        self._program = program
        self._metadata = metadata

    def predict(self, images: NDArray[np.uint8]) -> pd.DataFrame:
        """Classify images.

        Args:
            images: RGB pixels from 0 to 255, (B, H, W, C) of any height and width.

        Returns:
            One row per image: `label`, `probability`, and the probability of each class in a column `P(class)`.

        Raises:
            ValueError: The images have another type or shape, or all pixels are 0 or 1, as fractions become when they
                are converted to whole numbers.
        """
        pixels_BHWC = np.asarray(images)
        if pixels_BHWC.dtype != np.uint8 or pixels_BHWC.ndim != 4 or pixels_BHWC.shape[3] != 3:
            raise ValueError(
                f"images: expected uint8 pixels (batch, height, width, 3), found {pixels_BHWC.dtype} of shape "
                f"{pixels_BHWC.shape}"
            )
        if pixels_BHWC.size and pixels_BHWC.max() <= 1:
            raise ValueError("images: expected pixels from 0 to 255, found none above 1; send no fractions")
        side, height, width = (self._metadata[key] for key in ("resized_to", "height", "width"))
        fitted = [fit(pixels, resized_to=side, height=height, width=width) for pixels in pixels_BHWC]
        classes = self._metadata["classes"]
        if fitted:
            return to_table(self._program(np.stack(fitted)), classes)
        return to_table(np.empty((0, len(classes)), dtype=np.float32), classes)


def fit(pixels_HWC: NDArray[np.uint8], *, resized_to: int | None, height: int, width: int) -> NDArray[np.uint8]:
    """Return an image in the size of the model.

    Args:
        pixels_HWC: RGB pixels of any size.
        resized_to: Side of the square that the image is resized to before its central crop; None: no crop.
        height: Height of the model's images in pixels.
        width: Their width in pixels.
    """
    size = (resized_to, resized_to) if resized_to else (height, width)
    if pixels_HWC.shape[:2] != size:
        from PIL import Image

        pixels_HWC = np.asarray(Image.fromarray(pixels_HWC).resize(size[::-1], Image.Resampling.BILINEAR))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return pixels_HWC[top : top + height, left : left + width]


def to_table(probabilities_BK: NDArray[np.float32], classes: list[str]) -> pd.DataFrame:
    """Return probabilities as a table with the columns `label`, `probability` and a column `P(class)` per class."""
    import pandas as pd

    best = probabilities_BK.argmax(axis=1)
    values = probabilities_BK.astype(np.float64)
    columns = {f"P({name})": values[:, at] for at, name in enumerate(classes)}
    return pd.DataFrame(
        {
            "label": np.array([classes[at] for at in best], dtype=object),
            "probability": values[np.arange(len(best)), best],
            **columns,
        }
    )


def _load_pyfunc(path: str) -> ImageClassifier:
    """Load the classifier of a registered model, as MLflow's flavor `python_function` prescribes.

    Loading a program may execute code from it: MLflow loads models of whom you trust only.
    """
    import torch

    found = {METADATA: ""}
    module = torch.export.load(path, extra_files=found).module()

    def program(pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            probabilities: NDArray[np.float32] = module(torch.from_numpy(pixels_BHWC)).numpy()
        return probabilities

    return ImageClassifier(program, json.loads(found[METADATA]))
