"""Prediction on image files with an exported model. Needs the export folder and nothing else of the study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.export.images import Labelled, Unread, find_labelled
from search.export.loading import LoadedExport, load_export

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUM_SHOWN = 3
BATCH = 256
"""Largest number of images per forward pass."""
BATCH_PIXELS = 1 << 22
"""Largest number of pixels per forward pass, so that large images do not fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predicted classes of one image."""

    path: str
    label: str
    """The most probable class."""
    probability: float
    """Softmax probability of `label`; not calibrated."""
    top: tuple[tuple[str, float], ...]
    """The most probable classes and their probabilities, best first."""
    true_label: str | None = None
    """The class that its folder names; None if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The predictions for all paths."""

    predictions: tuple[Prediction, ...]
    """In the order of the paths; the images of a folder are sorted by path."""
    faults: tuple[Unread, ...]
    """Files and folders that could not be read, in the same order."""


def predict(folder: Path, paths: Sequence[Path], batch: int | None = None, *, trust_code: bool = False) -> Predicted:
    """Classify images with an exported model.

    Args:
        folder: An export folder.
        paths: Image files of any size and mode, which are converted to RGB and resized; folders, which are searched
            recursively; patterns such as `images/*.png`, for shells that do not expand them; CSV files with a column
            of image files.
        batch: Images per forward pass; None: as many as fit into the memory of most machines.
        trust_code: Whether the source of an own model in the folder may be run.

    Returns:
        The predictions, and the paths that could not be read; an unreadable file does not stop the others.

    Raises:
        InputError: The folder is not an export, its model is damaged, or it is built by source that is not trusted.
    """
    loaded = load_export(folder, trust_code=trust_code)
    found = list(classify(loaded, paths, batch=batch).predictions)
    return Predicted(
        predictions=tuple(item for item in found if isinstance(item, Prediction)),
        faults=tuple(item for item in found if isinstance(item, Unread)),
    )


@dataclass(frozen=True, kw_only=True)
class Classified:
    """Predictions that are computed while they are read."""

    predictions: Iterator[Prediction | Unread]
    """Predictions in the order of the paths, one batch after another; a path that cannot be read comes at once."""
    has_classes: bool
    """Whether a folder has sub-folders that are named like classes, so that the accuracy can be measured."""


def classify(
    loaded: LoadedExport, paths: Sequence[Path], *, top: int = NUM_SHOWN, batch: int | None = None
) -> Classified:
    """Classify images of any number: only one batch is in memory.

    Args:
        loaded: The exported model.
        paths: As for `predict`.
        top: Number of classes in `Prediction.top`.
        batch: Images per forward pass; None: see `batch_size`.

    Raises:
        InputError: Of the sub-folders of a folder, some are named like classes of the model and others are not.
    """
    images, has_classes = find_labelled(paths, loaded.classes)
    return Classified(
        predictions=_classify(loaded, images, top, batch or batch_size(*loaded.model.image_size)),
        has_classes=has_classes,
    )


def batch_size(height: int, width: int) -> int:
    """Return the number of images per forward pass.

    >>> batch_size(32, 32), batch_size(224, 224)
    (256, 83)
    """
    return max(1, min(BATCH, BATCH_PIXELS // (height * width)))


def _classify(loaded: LoadedExport, images: Labelled, top: int, batch: int) -> Iterator[Prediction | Unread]:
    from search.data.errors import ImageError

    waiting: list[tuple[str, str | None, NDArray[np.uint8]]] = []

    def finish() -> Iterator[Prediction]:
        rows = loaded.probabilities([pixels for _, _, pixels in waiting], [path for path, _, _ in waiting])
        for (path, true_label, _), row in zip(waiting, rows, strict=True):
            ranked = sorted(zip(loaded.classes, row, strict=True), key=lambda pair: -pair[1])
            yield Prediction(
                path=path,
                label=ranked[0][0],
                probability=ranked[0][1],
                top=tuple(ranked[:top]),
                true_label=true_label,
            )
        waiting.clear()

    for found, true_label in images:
        if isinstance(found, Unread):
            yield found
            continue
        try:
            waiting.append((str(found), true_label, loaded.read(found)))
        except ImageError as error:
            yield from (Unread(path=str(found), reason=fault) for fault in error.faults)
        if len(waiting) == batch:
            yield from finish()
    if waiting:
        yield from finish()
