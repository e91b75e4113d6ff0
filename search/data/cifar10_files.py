"""Read CIFAR-10's official pickle files safely: digests are checked first, and no code is executed."""

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
"""Size limit per file, about twice the size of the official files."""
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
META = {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"}
"""File -> MD5 digest; no other digests are published."""
_KNOWN = {
    ("multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""All that a pickled numeric array refers to; the name of the first module depends on the version of NumPy."""

Images = tuple[NDArray[np.uint8], list[int]]
"""Pixels (N, 32, 32, 3) uint8 and labels."""


def read_official(folder: Path) -> tuple[tuple[str, ...], Images, Images]:
    """Read the class names, the training images and the test images.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged or differs from the official one.
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
    """An unpickler that accepts only numbers, text, lists and arrays."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        known = _KNOWN.get((module.removeprefix("numpy.core.").removeprefix("numpy._core."), name))
        if known is None:
            raise ValueError(f"the pickle refers to {module}.{name}, which is not allowed")
        return known


def read_arrays(content: bytes) -> dict[str, Any]:
    """Read a Python 2 pickle of arrays; any other content is refused.

    Raises:
        ValueError: The pickle is damaged or refers to anything but arrays.
    """
    try:
        found: dict[str, Any] = _Arrays(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    return found
