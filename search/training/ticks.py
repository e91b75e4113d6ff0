"""Ticks: moments between two steps of a training at which it may be closed, passed on every so often."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch

from search.training.machine import deterministic_cudnn

TICK_SECS = 2.0
"""From one tick to the next, or a step longer."""
T = TypeVar("T")


@dataclass
class Stopwatch:
    """Time spent computing, without waiting."""

    secs: float = 0.0


def ticking(steps: Generator[None, None, T], device: torch.device, watch: Stopwatch) -> Generator[None, None, T]:
    """Run steps, with cuDNN held to its deterministic algorithms, and pass on a yield every TICK_SECS.

    Whoever is given a tick finds cuDNN as it was before and may use torch's generators: the steps do not notice.

    Args:
        steps: Yields where it may be closed; closed when this is.
        device: Whose generator the steps draw from, beside the CPU's.
        watch: Runs while the steps do.

    Yields:
        None.

    Returns:
        What the steps return.
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
    """Run one after the other, and return what each returns."""
    results = []
    for part in parts:
        result = yield from part
        results.append(result)
    return results


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """State of torch's own generators: dropout draws from the device's."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Go back to a state; one that was taken on another kind of device sets what there is."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
