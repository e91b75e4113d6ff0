"""Hardware and arithmetic of a training: the factors of its result that the study file does not fix."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from search.errors import ResourceError


def describe_machine(device: torch.device, precision: str) -> dict[str, Any]:
    """Return device, precision, threads and torch version, which must match to reproduce a result bit for bit."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "device": f"{device.type} {name}",
        "precision": precision,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Return whether matrix products and convolutions use bfloat16.

    Args:
        precision: float32 or bfloat16.
        device: Device of the training.

    Raises:
        ResourceError: The GPU only emulates bfloat16, which is slower than float32.
    """
    assert precision in {"float32", "bfloat16"}, (
        f"{precision} is not a precision; the study replaces auto, see search.training.config"
    )
    wanted = precision == "bfloat16"
    if wanted and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ResourceError(
            f"train.precision: bfloat16 requested, but {torch.cuda.get_device_name(device)} does not support it in "
            "hardware; set it to float32"
        )
    return wanted


@contextlib.contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """Restrict cuDNN to deterministic algorithms, without benchmarking; restores the settings afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
