"""Everything that a training needs to go on bit for bit, written so that a crash leaves the old or the new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

FILE_NAME = "checkpoint.pt"
FORMAT = 1


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a temporary file, flushed to disk, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        with temporary.open("wb") as stream:
            torch.save({"format": FORMAT, **state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / FILE_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(folder: Path, key: str) -> dict[str, Any] | None:
    """Read a trial's checkpoint without executing anything from it.

    Returns:
        The state, or None where there is no usable checkpoint of this trial: none was written, it was cut off, or
        it belongs to another trial or format. The trial then begins anew, which costs time and changes no result.
    """
    path = folder / FILE_NAME
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # noqa: BLE001  a damaged zip raises whatever its reader meets first
        path.rename(path.with_suffix(".damaged"))
        return None
    return state if state.get("format") == FORMAT and state.get("key") == key else None


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write weights as safetensors, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(temporary.open("wb"))
        np.save(stream, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
