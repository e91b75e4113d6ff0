"""Memory: keeps what training frees, instead of asking the system for it again at each step, and what to do without."""

from __future__ import annotations

import ctypes
import functools
import gc
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import nn

from search.errors import OutOfMemoryError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
KEEP_BYTES = 2**30
"""Blocks up to this size come from the heap, and that much of it stays with the process."""
EVAL_BATCH = 512
"""Images per forward pass where no gradient is needed."""
_WORDS = re.compile(
    r"DefaultCPUAllocator: |CUDA out of memory|CUDA error: out of memory|_STATUS_ALLOC_FAILED|"
    r"could not create a (primitive|memory object)$"
)
"""How torch, CUDA's libraries and oneDNN (the last two, which may mean something else) say that no memory is left."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library once per process; on a CPU a recurrent training step is then up to 1.7 times as fast.

    Returns:
        Whether the C library knows these settings (glibc does, others need not).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_THRESHOLD, KEEP_BYTES), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28))
    return all(mallopt(name, value) == 1 for name, value in settings)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def release_memory() -> None:
    """Give back what nobody uses any more."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


@dataclass(kw_only=True)
class BatchLimits:
    """How many images a model is given at once, where memory does not suffice for all that are asked for."""

    micro_batch: int | None = None
    """Images per forward and backward pass, added up to the gradient of the whole batch; None: the batch."""
    eval_batch: int | None = None
    """Images per forward pass without gradient; None: EVAL_BATCH."""

    def to_dict(self) -> dict[str, int]:
        """What had to be halved, and to what; empty where memory was enough."""
        limits = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def load(self, limits: Mapping[str, int]) -> None:
        """Take what `to_dict` gave."""
        for item in fields(self):
            setattr(self, item.name, limits.get(item.name))

    def halve_training(self, batch: int, model: nn.Module, reason: str) -> None:
        """Halve the micro-batch.

        Raises:
            OutOfMemoryError: It is as small as this model allows.
        """
        now, smallest = self.micro_batch or batch, smallest_batch(model)
        if now <= smallest:
            raise OutOfMemoryError(f"training on {now} image(s) at a time does not fit: {reason}")
        self.micro_batch = max(smallest, now // 2)

    def halve_eval(self, reason: str) -> None:
        """Halve the batches of validation and test.

        Raises:
            OutOfMemoryError: It is a single image.
        """
        now = self.eval_batch or EVAL_BATCH
        if now <= 1:
            raise OutOfMemoryError(f"scoring one image at a time does not fit: {reason}")
        self.eval_batch = now // 2

    def num_parts(self, num_images: int, model: nn.Module) -> int:
        """In how many parts a batch is computed, as equal as can be."""
        if self.micro_batch is None or num_images <= self.micro_batch:
            return 1
        return min(-(-num_images // self.micro_batch), num_images // smallest_batch(model))


def smallest_batch(model: nn.Module) -> int:
    """Fewest images that a model trains on: batch normalisation has nothing to normalise over in a batch of one."""
    return 2 if any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules()) else 1
