"""Loaded by every Python process of an episode: a clock that jumps, too little memory for a batch, a trace of the work.

All of it in the folder that HYBRID_SEARCH_FAULTS_HOOK names; without it nothing is changed. Clock and memory are
steered by files there; the trace is written there: every step of a training, and every epoch once the journal has it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time

FOLDER = os.environ.get("HYBRID_SEARCH_FAULTS_HOOK")
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


def _trace(event: str, key: str, *place: int) -> None:
    with open(f"{FOLDER}/trace", "a") as stream:  # noqa: PTH123  in one write: many processes append
        stream.write(json.dumps([event, key, *place, os.getpid()]) + "\n")


def _shift_clock() -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + _number("clock")
    time.time_ns = lambda: now_ns() + int(1e9 * _number("clock"))


def _count_renames() -> None:
    """Kill this process at a rename of a folder: 1 is right before the first one, 2 right after it, and so on."""
    moment, original = int(_number("kill_at_rename")), {name: getattr(os, name) for name in ("rename", "replace")}
    if not moment:
        return
    count = 0

    def counting(name):
        def rename(source, target, **settings):
            nonlocal count
            count += os.path.isdir(source)  # noqa: PTH112
            if os.path.isdir(source) and moment == 2 * count - 1:  # noqa: PTH112
                os.kill(os.getpid(), signal.SIGKILL)
            original[name](source, target, **settings)
            if moment == 2 * count:
                os.kill(os.getpid(), signal.SIGKILL)

        return rename

    for name in original:
        setattr(os, name, counting(name))


def _limit_memory(module) -> None:
    """Limit how many images the learner can take at a time."""
    original = module.objective

    def objective(model, images, *arguments, **settings):
        most = _number("most_images")
        if most and len(images) > most:
            raise RuntimeError(f"{WORDS} {images.nbytes} bytes. Error code 12 (Cannot allocate memory)")
        return original(model, images, *arguments, **settings)

    module.objective = objective


def _trace_steps(module) -> None:
    """Write down each step that was done; a learner is one block, and the trials here have one."""
    begin, train = module.Learner.__init__, module.Learner.train_epoch

    def init(self, spec, *arguments, **settings):
        begin(self, spec, *arguments, **settings)
        self.traced_key = spec.key

    def train_epoch(self, epoch):
        part = self._part  # where a loaded state was cut off
        number = part.step if part is not None and part.epoch == epoch else 0
        steps = train(self, epoch)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            number += 1
            _trace("step", self.traced_key, epoch, number)
            yield

    module.Learner.__init__, module.Learner.train_epoch = init, train_epoch


def _change_learner(module) -> None:
    _limit_memory(module)
    _trace_steps(module)


def _trace_journal(module) -> None:
    """Write down each epoch that the journal has."""
    tell = module.Journal.epoch

    def epoch(self, key, metrics, *arguments, **settings):
        tell(self, key, metrics, *arguments, **settings)
        _trace("told", key, metrics.epoch)

    module.Journal.epoch = epoch


CHANGES = {"search.training.learner": _change_learner, "search.journal.journal": _trace_journal}


class _Watcher(importlib.abc.MetaPathFinder):
    """Changes modules as they are imported."""

    def find_spec(self, name, path, target=None):
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            change(module)

        spec.loader.exec_module = exec_module
        return spec


if FOLDER:
    _shift_clock()
    _count_renames()
    sys.meta_path.insert(0, _Watcher())
