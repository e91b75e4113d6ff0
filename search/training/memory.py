"""Memory: reuse freed memory between steps, and reduce batch sizes when memory is short."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from search.errors import OutOfMemoryError
from search.text.counted import counted

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
KEEP_BYTES = 2**30
"""Allocations up to this size come from the heap, and this much free heap is kept."""
EVAL_BATCH = 512
"""Images per forward pass without gradient."""
_WORDS = re.compile(
    r"DefaultCPUAllocator: |CUDA out of memory|CUDA error: out of memory|_STATUS_ALLOC_FAILED|"
    r"could not create a (primitive|memory object)$"
)
"""Out-of-memory messages of torch, CUDA's libraries and oneDNN; the last two may have other causes."""


@functools.cache
def keep_freed_memory() -> bool:
    """Make the C library keep freed memory; speeds up recurrent training steps on the CPU by up to 1.7 times.

    Returns:
        Whether the C library supports the settings (glibc does).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_THRESHOLD, KEEP_BYTES), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28))
    return all(mallopt(name, value) == 1 for name, value in settings)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error was caused by a lack of memory on the device or machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def release_memory() -> None:
    """Collect unused objects and return unused GPU memory."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def trim_memory() -> None:
    """Return freed memory to the system, so that the peak of a trial does not contain memory of earlier trials."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak_memory(device: torch.device) -> None:
    """Start to measure the largest memory anew; see `peak_memory_gib`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # not Linux, or refused: the peak is then that of the whole process
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the largest memory since `reset_peak_memory`: allocated on the GPU, else resident in this process.

    Returns:
        GiB, to three digits; None where the system does not tell.
    """
    if device.type == "cuda":
        num_bytes = torch.cuda.max_memory_allocated(device)
    else:
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
            num_bytes = 1024 * int(status.partition("VmHWM:")[2].split()[0])
        except (OSError, IndexError, ValueError):
            return None
    return round(num_bytes / 2**30, 3)


@dataclass(kw_only=True)
class BatchLimits:
    """Reduced batch sizes, after memory was insufficient."""

    micro_batch: int | None = None
    """Images per forward and backward pass, whose gradients are summed; None: the whole batch."""
    eval_batch: int | None = None
    """Images per forward pass without gradient; None: EVAL_BATCH."""

    def to_dict(self) -> dict[str, int]:
        """Return the reduced batch sizes; empty if memory was sufficient."""
        limits = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def load(self, limits: Mapping[str, int]) -> None:
        """Restore the output of `to_dict`."""
        for item in fields(self):
            setattr(self, item.name, limits.get(item.name))

    def halve_training(self, batch: int, model: nn.Module, reason: str) -> None:
        """Halve the micro-batch.

        Args:
            batch: Size of a whole batch.
            model: The model, which determines the smallest micro-batch.
            reason: Message of the out-of-memory error.

        Raises:
            OutOfMemoryError: The micro-batch has the smallest size already.
        """
        now, smallest = self.micro_batch or batch, smallest_batch(model)
        if now <= smallest:
            raise OutOfMemoryError(f"training on {counted(now, 'image')} at a time does not fit: {reason}")
        self.micro_batch = max(smallest, now // 2)

    def halve_eval(self, reason: str) -> None:
        """Halve the batches of validation and test.

        Raises:
            OutOfMemoryError: The batch size is 1 already.
        """
        now = self.eval_batch or EVAL_BATCH
        if now <= 1:
            raise OutOfMemoryError(f"scoring one image at a time does not fit: {reason}")
        self.eval_batch = now // 2

    def num_parts(self, num_images: int, model: nn.Module) -> int:
        """Return the number of micro-batches, of nearly equal size, that a batch is split into."""
        if self.micro_batch is None or num_images <= self.micro_batch:
            return 1
        return min(-(-num_images // self.micro_batch), num_images // smallest_batch(model))


def smallest_batch(model: nn.Module) -> int:
    """Return the smallest batch a model can train on: 2 with batch normalisation, else 1."""
    return 2 if any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules()) else 1
