"""Loaded by every Python process of an episode: a clock that jumps, and memory that is too small for a batch.

Both are steered by files in the folder that HYBRID_SEARCH_FAULTS_HOOK names; without it nothing is changed.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time

FOLDER = os.environ.get("HYBRID_SEARCH_FAULTS_HOOK")
LEARNER = "search.training.learner"
WORDS = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)
"""As torch says it where the C library has no memory left."""


def _number(name: str) -> float:
    try:
        with open(f"{FOLDER}/{name}") as stream:  # noqa: PTH123  pathlib would make every process start later
            return float(stream.read() or 0)
    except (OSError, ValueError):
        return 0.0


def _shift_clock() -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + _number("clock")
    time.time_ns = lambda: now_ns() + int(1e9 * _number("clock"))


class _Watcher(importlib.abc.MetaPathFinder):
    """Limits, once it is imported, how many images the learner can take at a time."""

    def find_spec(self, name, path, target=None):
        if name != LEARNER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            original = module.objective

            def objective(model, images, *arguments, **settings):
                most = _number("most_images")
                if most and len(images) > most:
                    raise RuntimeError(f"{WORDS} {images.nbytes} bytes. Error code 12 (Cannot allocate memory)")
                return original(model, images, *arguments, **settings)

            module.objective = objective

        spec.loader.exec_module = exec_module
        return spec


if FOLDER:
    _shift_clock()
    sys.meta_path.insert(0, _Watcher())
