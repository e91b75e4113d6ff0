"""Everything that a training needs to go on bit for bit, written so that a crash leaves the old or the new one.

Two files: the end of the last epoch, and the middle of an epoch where the training was closed in one. The first stays
while the second is there, so that whatever becomes of the second costs that one epoch at most.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from search.storage.disk import find_fault, telling_disk_faults, write_bytes, write_whole
from search.training.files import DAMAGED_NAME, FILE_NAME, MIDDLE_NAME
from search.training.memory import is_out_of_memory

FORMAT = 1


def save_checkpoint(folder: Path, state: dict[str, Any], name: str = FILE_NAME) -> None:
    """Write a checkpoint atomically: a temporary file, flushed to disk, then renamed.

    Raises:
        StorageFaultError: The machine cannot write it; the old checkpoint is as it was.
    """
    write_whole(folder / name, lambda stream: torch.save({"format": FORMAT, **state}, stream))


def load_checkpoint(folder: Path, key: str, name: str = FILE_NAME) -> dict[str, Any] | None:
    """Read a trial's checkpoint without executing anything from it.

    It is damaged only if it was read and has no meaning: a file that cannot be read may be a good one.

    Returns:
        The state, or None where there is no usable checkpoint of this trial: none was written, it was cut off, or
        it belongs to another trial or format. The trial then begins anew, which costs time and changes no result.

    Raises:
        StorageFaultError: The machine cannot read it.
        MemoryError: Or another exception that says so: there is too little memory to read it.
    """
    path = folder / name
    with telling_disk_faults(path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged zip raises whatever its reader meets first
            if is_out_of_memory(error) or find_fault(error) is not None:
                raise
            path.replace(folder / DAMAGED_NAME)
            return None
    return state if state.get("format") == FORMAT and state.get("key") == key else None


def load_newest(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the middle of the epoch that was cut off, or else the end of the last one."""
    end, middle = (load_checkpoint(folder, key, name) for name in (FILE_NAME, MIDDLE_NAME))
    if middle is not None and (end is None or len(middle["curve"]) >= len(end["curve"])):
        return middle
    return end


def drop_middle(folder: Path) -> None:
    """Let go of the middle of an epoch that has ended."""
    with telling_disk_faults(folder):
        (folder / MIDDLE_NAME).unlink(missing_ok=True)


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write weights as safetensors, atomically.

    Raises:
        StorageFaultError: The machine cannot write it.
    """
    # As bytes: safetensors' own writer would not say what is wrong with the disk as an OSError.
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    write_bytes(path, content)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically.

    Raises:
        StorageFaultError: The machine cannot write it.
    """
    content = io.BytesIO()  # NumPy's own writer would not say what is wrong with the disk, either
    np.save(content, array, allow_pickle=False)
    write_bytes(path, content.getbuffer())
