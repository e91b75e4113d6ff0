"""`search.load`: an exported model, ready to predict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import nn

    from search.export.loading import LoadedExport


def load(folder: str | os.PathLike[str], *, trust_code: bool = False) -> Predictor:
    """Load the model of a folder that `export` wrote.

    Args:
        folder: The folder.
        trust_code: Whether the source of an own model in the folder may be run; read it first. Nothing else in the
            folder is executed.

    Raises:
        InputError: The folder is not an export, its files are damaged, or its model is built by source that is not
            trusted.

    Examples:
        >>> predictor = search.load("winner")              # doctest: +SKIP
        >>> predictor.predict(["cat.jpg", "photos/"])      # doctest: +SKIP
    """
    from search.export.loading import load_export

    return Predictor(load_export(Path(folder).expanduser(), trust_code=trust_code))


class Predictor:
    """An exported model; made by `load`."""

    def __init__(self, loaded: LoadedExport) -> None:
        self._loaded = loaded

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the model's outputs."""
        return self._loaded.classes

    @property
    def model(self) -> nn.Module:
        """The trained module in evaluation mode: normalised images (B, 3, H, W) to logits (B, classes)."""
        from search.own_models.build import Logits

        model = self._loaded.model.model
        return model.net if isinstance(model, Logits) else model

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the model receives, in pixels."""
        return self._loaded.model.image_size

    def predict(
        self,
        images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | NDArray[np.uint8] | Sequence[Any],
    ) -> pd.DataFrame:
        """Classify images.

        Args:
            images: An image file, folder, pattern or CSV list, or several of them; or pixels: an uint8 array (H, W, 3)
                or (N, H, W, 3), or a list of arrays (H, W, 3) of any sizes.

        Returns:
            One row per image: `image` (path or position), `label`, `probability`, and the probability of each class in
            a column `P(class)`.

        Raises:
            InputError: An image cannot be read; one line per image.
        """
        import pandas as pd

        from search.export.predict import batch_size

        batch = batch_size(*self.image_size)
        names: list[str | int] = []
        rows: list[list[float]] = []
        waiting: list[NDArray[np.uint8]] = []
        for name, pixels in self._pixels(images):
            names.append(name)
            waiting.append(pixels)
            if len(waiting) == batch:
                rows += self._loaded.probabilities(waiting, [str(name) for name in names[-batch:]])
                waiting = []
        if waiting:
            rows += self._loaded.probabilities(waiting, [str(name) for name in names[-len(waiting) :]])
        best = [max(range(len(row)), key=row.__getitem__) for row in rows]
        return pd.DataFrame(
            {
                "image": names,
                "label": [self.classes[at] for at in best],
                "probability": [row[at] for row, at in zip(rows, best, strict=True)],
                **{f"P({name})": [row[at] for row in rows] for at, name in enumerate(self.classes)},
            }
        )

    def _pixels(self, images: Any) -> Iterator[tuple[str | int, NDArray[np.uint8]]]:  # noqa: ANN401
        import numpy as np

        given = [images] if isinstance(images, str | os.PathLike) else images
        if isinstance(given, np.ndarray) and given.ndim == 3:
            given = given[None]
        if not isinstance(given, list | tuple | np.ndarray):
            raise InputError(f"images: expected paths or arrays, found {type(images).__name__}")
        if len(given) and all(isinstance(item, str | os.PathLike) for item in given):
            yield from self._read([Path(item) for item in given])
            return
        for position, item in enumerate(given):
            shape = getattr(item, "shape", None)
            dtype = getattr(item, "dtype", type(item).__name__)
            if not isinstance(item, np.ndarray) or item.ndim != 3 or item.shape[2] != 3 or item.dtype != np.uint8:
                raise InputError(
                    f"images: expected uint8 pixels (H, W, 3), found {dtype}{f' of shape {shape}' if shape else ''} at "
                    f"position {position}"
                )
            yield position, self._loaded.fit(np.ascontiguousarray(item))

    def _read(self, paths: Sequence[Path]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        from search.data.errors import ImageError
        from search.export.images import Unread, find_images

        faults: list[str] = []
        for found in find_images(paths):
            if isinstance(found, Unread):
                faults.append(found.reason)
                continue
            try:
                pixels = self._loaded.read(found)
            except ImageError as error:
                faults += error.faults
                continue
            if not faults:
                yield str(found), pixels
        if faults:
            raise InputError(*faults)

    def __repr__(self) -> str:
        height, width = self.image_size
        shown = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        return (
            f"<Predictor from {self._loaded.folder}: {height} x {width} pixels, {len(self.classes)} classes ({shown})>"
        )
