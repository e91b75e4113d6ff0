"""Save and load the state from which a training resumes bit for bit; a crash never leaves a partial checkpoint.

There are two files: the end of the last epoch and, if the training was stopped within an epoch, a state within it. The
first is kept beside the second, so a damaged second file costs at most one epoch.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from search.storage.disk import find_fault, raising_storage_faults, write_bytes, write_whole
from search.training.files import DAMAGED_NAME, FILE_NAME, MIDDLE_NAME
from search.training.memory import is_out_of_memory

FORMAT = 1


def save_checkpoint(folder: Path, state: dict[str, Any], name: str = FILE_NAME) -> None:
    """Write a checkpoint atomically: to a temporary file that is flushed to disk and renamed.

    Args:
        folder: The trial's folder.
        state: What `load_checkpoint` returns; must contain the trial's `key`.
        name: File name.

    Raises:
        StorageFaultError: The file cannot be written; the old checkpoint is unchanged.
    """
    write_whole(folder / name, lambda stream: torch.save({"format": FORMAT, **state}, stream))


def load_checkpoint(folder: Path, key: str, name: str = FILE_NAME) -> dict[str, Any] | None:
    """Read a trial's checkpoint without executing code from it.

    A file is treated as damaged, and set aside, only if its content is invalid. A file that cannot be read may be
    intact, so an error is raised instead.

    Args:
        folder: The trial's folder.
        key: The trial's key.
        name: File name.

    Returns:
        The state, or None if the checkpoint is missing, damaged, or of another trial or format. The trial then
        restarts, which costs time but changes no result.

    Raises:
        StorageFaultError: The file cannot be read.
        MemoryError: There is too little memory; torch's out-of-memory errors are raised as well.
    """
    path = folder / name
    with raising_storage_faults(path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # damaged zip files cause many kinds of errors
            if is_out_of_memory(error) or find_fault(error) is not None:
                raise
            path.replace(folder / DAMAGED_NAME)
            return None
    return state if state.get("format") == FORMAT and state.get("key") == key else None


def load_newest(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the checkpoint within an epoch if it is the newer one, else that of the last epoch's end."""
    end, middle = (load_checkpoint(folder, key, name) for name in (FILE_NAME, MIDDLE_NAME))
    if middle is not None and (end is None or len(middle["curve"]) >= len(end["curve"])):
        return middle
    return end


def drop_middle(folder: Path) -> None:
    """Delete the checkpoint within an epoch, once the epoch is complete."""
    with raising_storage_faults(folder):
        (folder / MIDDLE_NAME).unlink(missing_ok=True)


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write weights as safetensors, atomically.

    Raises:
        StorageFaultError: The file cannot be written.
    """
    # Serialised in memory, as safetensors' own writer does not report disk faults as OSError.
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    write_bytes(path, content)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically.

    Raises:
        StorageFaultError: The file cannot be written.
    """
    content = io.BytesIO()  # NumPy's own writer does not report disk faults as OSError, either
    np.save(content, array, allow_pickle=False)
    write_bytes(path, content.getbuffer())
