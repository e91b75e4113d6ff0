"""Read an export folder: its facts and the model with its weights. Needs nothing else of the study."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_models.config.model import ModelConfig
from search.errors import InputError
from search.export.folder import CODE, old_of, read_evidence
from search.own_models.model import AnyModel, OwnModel
from search.own_models.source import DISTRIBUTION, MAX_CHARACTERS, MAX_FILES
from search.text.names import is_relative_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hybrid_models.deployed import Deployed


@dataclass(frozen=True, kw_only=True)
class LoadedExport:
    """An exported model in memory."""

    folder: Path
    model: Deployed
    classes: tuple[str, ...]
    squeezed_to: int | None
    """Side to which images of a streamed set are resized before the central crop; None: no crop."""

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read an image file as test images are read.

        Returns:
            Pixels, (height, width, 3).

        Raises:
            ImageError: The file cannot be read.
        """
        from search.data.images import crop_middle, read_image

        height, width = self.model.image_size
        side = (self.squeezed_to, self.squeezed_to) if self.squeezed_to else (height, width)
        return crop_middle(read_image(path, side), height, width)

    def fit(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize the pixels of one image, (H, W, 3) of any size, as those of a file."""
        from search.export.image_classifier import fit

        height, width = self.model.image_size
        return fit(pixels, resized_to=self.squeezed_to, height=height, width=width)

    def probabilities(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[list[float]]:
        """Return the class probabilities of images of the model's size, one list per image.

        Raises:
            InputError: They are not finite.
        """
        import numpy as np
        import torch

        with torch.no_grad():
            rows: list[list[float]] = self.model(torch.from_numpy(np.stack(images))).tolist()
        for name, row in zip(names, rows, strict=True):
            if not all(map(math.isfinite, row)):
                raise InputError(f"{self.folder}: the probabilities for {name} are not finite; export another model")
        return rows


def load_export(folder: Path, *, trust_code: bool = False) -> LoadedExport:
    """Load an exported model from its settings and weights.

    Args:
        folder: An export folder.
        trust_code: Whether the source of an own model in the folder may be run. Nothing else in an export is.

    Raises:
        InputError: The folder is not an export, its model is damaged, or it is built by source that is not trusted.
    """
    exported = _read_evidence(folder)
    if isinstance(exported.config, OwnModel) and not trust_code:
        files = [name for name, _ in exported.config.code if not name.startswith(DISTRIBUTION)]
        place = folder / CODE / exported.config.parsed.module if files else exported.config.factory
        raise InputError(
            f"{folder}: its model is built by code ({place}), which can do whatever you can; read it, and if you trust "
            "it, add --trust-code (from Python: trust_code=True)"
        )
    model = _load_model(folder, exported)
    return LoadedExport(folder=folder, model=model, classes=exported.classes, squeezed_to=exported.squeezed_to)


@dataclass(frozen=True, kw_only=True)
class _Exported:
    """The facts of evidence.json that prediction needs."""

    config: AnyModel
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    squeezed_to: int | None
    digest: str
    """SHA-256 of the weights file."""


def _read_evidence(folder: Path) -> _Exported:
    from search.data.stream import resized_side

    try:
        evidence = read_evidence(folder) or {}
        model = evidence["model"]
        exported = _Exported(
            config=_read_own(folder, model) if "own" in model else ModelConfig.from_dict(model["settings"]),
            classes=tuple(map(str, model["classes"])),
            mean=tuple(map(float, model["mean"])),
            std=tuple(map(float, model["std"])),
            squeezed_to=model["squeezed_to"],
            digest=str(evidence["weights"]["digest"]),
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        aside = old_of(folder)
        way = (
            f"an interrupted `export` moved the older one to {aside}: export again, or move it back"
            if aside
            else "no readable evidence.json, or one of an older version; create it with `export`"
        )
        raise InputError(f"{folder}: not an export ({way})") from None
    sizes = (len(exported.classes), len(exported.mean), len(exported.std))
    squeezed = (None, resized_side(exported.config.input_height))
    usable = all(map(math.isfinite, exported.mean)) and all(math.isfinite(one) and one > 0 for one in exported.std)
    if sizes != (exported.config.num_classes, 3, 3) or exported.squeezed_to not in squeezed or not usable:
        raise InputError(f"{folder}: evidence.json contradicts itself; export again")
    return exported


def _load_model(folder: Path, exported: _Exported) -> Deployed:
    """Build the model and load its weights, not the torch.export program: loading a program could execute code."""
    import torch

    from hybrid_models.deployed import Deployed
    from search.export.weights import fill
    from search.own_models.build import Logits, build_model
    from search.own_models.errors import OwnCodeError

    path = folder / "model.safetensors"
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: expected a file, found a folder, pipe or device; export again")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; export again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); export again") from None
    if hashlib.sha256(content).hexdigest() != exported.digest:
        raise InputError(f"{path}: damaged, the digest differs from evidence.json; export again")
    try:
        model = build_model(exported.config, torch.Generator().manual_seed(0))
    except OwnCodeError as error:
        raise InputError(f"{folder}: its model cannot be built: {error.line}") from None
    fill(model, content, place=path, mend="export again")
    whole = Logits(model) if isinstance(exported.config, OwnModel) else model
    size = (exported.config.input_height, exported.config.input_width)
    return Deployed(whole, exported.mean, exported.std, size).eval()


def _read_own(folder: Path, model: Mapping[str, Any]) -> OwnModel:
    """Read an own model and its source; nothing is run.

    Raises:
        InputError: A file of the source is missing or was changed.
    """
    own = model["own"]
    digests = {str(path): str(digest) for path, digest in own["code"].items()}
    if len(digests) > MAX_FILES:
        raise ValueError(len(digests))
    code = {}
    for path, digest in digests.items():
        if path.startswith(DISTRIBUTION):
            code[path] = digest
            continue
        if not is_relative_path(path) or "\\" in path:
            raise ValueError(path)
        place = folder / CODE / path
        try:
            if not place.is_file() or place.stat().st_size > 4 * MAX_CHARACTERS:
                raise InputError(f"{place}: expected the source of the model, found none; export again")
            content = place.read_bytes()
        except OSError as error:
            raise InputError(f"{place}: cannot be read ({error.strerror}); export again") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError(
                f"{place}: was changed after the export, the digest differs from evidence.json; export again"
            )
        code[path] = content.decode("utf-8")
    found = OwnModel(
        factory=str(own["factory"]),
        code=tuple(sorted(code.items())),
        point=tuple(sorted((str(name), value) for name, value in own["point"].items())),
        num_classes=len(model["classes"]),
        input_height=int(model["height"]),
        input_width=int(model["width"]),
    )
    found.parsed  # noqa: B018  raises if the name of the factory has another form
    if not all(isinstance(value, bool | int | float | str) for _, value in found.point):
        raise TypeError(found.point)
    return found
