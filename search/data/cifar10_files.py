"""CIFAR-10's official files, which are pickles: checked before they are read, and read without executing anything."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data.files import read_regular

OFFICIAL = "cifar-10-batches-py"
MAX_BYTES = 1 << 26
"""Of one of its files: they have half of it."""
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
META = {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"}
"""File -> MD5, the only digests that are known of them."""
_KNOWN = {
    ("multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""All that an array of numbers takes; the module's first name changed between versions of NumPy."""

Images = tuple[NDArray[np.uint8], list[int]]
"""Pixels (N, 32, 32, 3) and labels."""


def read_official(folder: Path) -> tuple[tuple[str, ...], Images, Images]:
    """Read names of the classes, training images and test images.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged or not the official one.
    """
    (meta,) = _load(folder, META)
    return tuple(meta["label_names"]), _join(_load(folder, TRAIN)), _join(_load(folder, TEST))


def _join(batches: list[dict[str, Any]]) -> Images:
    planes_NCHW = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    return planes_NCHW.transpose(0, 2, 3, 1), [label for batch in batches for label in batch["labels"]]


def _load(folder: Path, files: dict[str, str]) -> list[dict[str, Any]]:
    batches = []
    for name, digest in files.items():
        content = read_regular(folder / name, MAX_BYTES)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
            raise ValueError(f"{name}: not the official file")
        batches.append(read_arrays(content))
    return batches


class _Arrays(pickle.Unpickler):
    """Numbers, text, lists and arrays of them."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        known = _KNOWN.get((module.removeprefix("numpy.core.").removeprefix("numpy._core."), name))
        if known is None:
            raise ValueError(f"a pickle that asks for {module}.{name} is not read")
        return known


def read_arrays(content: bytes) -> dict[str, Any]:
    """Read a pickle of arrays as Python 2 wrote it; one that asks for anything else is refused.

    Raises:
        ValueError: It does, or is damaged.
    """
    try:
        found: dict[str, Any] = _Arrays(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    return found
