"""Ticks: points between training steps at which a training may be closed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch

from search.training.machine import deterministic_cudnn

TICK_SECS = 2.0
"""Time between ticks, or one step longer."""
T = TypeVar("T")


@dataclass
class Stopwatch:
    """Measures computing time, excluding waits."""

    secs: float = 0.0


def ticking(steps: Generator[None, None, T], device: torch.device, watch: Stopwatch) -> Generator[None, None, T]:
    """Run steps with deterministic cuDNN and yield every TICK_SECS.

    Between ticks the caller has its own cuDNN settings and may use torch's generators: their state is restored for the
    steps.

    Args:
        steps: Generator that yields where it may be closed; it is closed with this generator.
        device: Device whose generator the steps use beside the CPU's.
        watch: Accumulates the time spent in the steps.

    Yields:
        None.

    Returns:
        The return value of `steps`.
    """
    with contextlib.closing(steps):
        while True:
            began = time.perf_counter()
            try:
                with deterministic_cudnn():
                    next(steps)
                    while time.perf_counter() - began < TICK_SECS:
                        next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                watch.secs += time.perf_counter() - began
            state = random_state(device)
            try:
                yield
            finally:
                set_random_state(state, device)


def in_turn(parts: Iterable[Generator[None, None, T]]) -> Generator[None, None, list[T]]:
    """Run generators one after the other and return their return values."""
    results = []
    for part in parts:
        result = yield from part
        results.append(result)
    return results


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's global generators on the CPU and the device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore a state returned by `random_state`; the GPU state is ignored if either is missing."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
