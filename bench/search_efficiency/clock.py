"""A sweep in simulated time. Imports the standard library only."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.search_efficiency.table import Table

NUM_TRAININGS = 60
"""A search ends when its workers together have had the time of this many whole trainings."""

Decision = Literal["continue", "stop", "pause"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that a free worker begins, or continues after its last epoch."""

    trial: Hashable
    point: int


class Method(Protocol):
    """A search method, with its way to stop trials."""

    def next(self) -> Job | None:
        """Return what a free worker does now; None if there is nothing until another trial reports."""
        ...

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Take the validation accuracy of an epoch. At the last epoch the trial ends whatever is returned."""
        ...

    def fail(self, trial: Hashable) -> None:
        """Take note that a trial diverged."""
        ...


@dataclass(frozen=True, kw_only=True)
class Run:
    """One simulated sweep.

    Attributes:
        answers: (part of the whole time, point) at each change of the answer.
        whole: (part of the whole time, point) of each trial that was trained to the end.
        num_trials: Number of trials that were begun.
    """

    answers: list[tuple[float, int]]
    whole: list[tuple[float, int]]
    num_trials: int


def simulate(table: Table, seen: int, method: Method, num_workers: int) -> Run:
    """Run a sweep on recorded trainings.

    The answer at any moment is the trial with the highest validation accuracy among those trained to the end, or
    before there is one, among the trials with the most epochs. Only training takes time.

    Args:
        table: The recorded trainings.
        seen: The seed whose trainings the method sees.
        method: The method.
        num_workers: Trainings at a time.
    """
    end = NUM_TRAININGS * table.mean_secs / num_workers
    order = itertools.count()
    running: list[tuple[float, int, Job]] = []
    done: dict[Hashable, int] = {}
    best: tuple[int, float] = (0, -1.0)
    answers: list[tuple[float, int]] = []
    whole: list[tuple[float, int]] = []

    def fill(now: float) -> None:
        while len(running) < num_workers and (job := method.next()) is not None:
            done.setdefault(job.trial, 0)
            heapq.heappush(running, (now + table.secs[job.point], next(order), job))

    fill(0.0)
    while running and running[0][0] <= end:
        now, _, job = heapq.heappop(running)
        curve, epoch = table.curves[job.point, seen], done[job.trial] + 1
        if epoch > len(curve):
            method.fail(job.trial)
        else:
            done[job.trial] = epoch
            if epoch == table.num_epochs:
                whole.append((round(now / end, 6), job.point))
            if (epoch, curve[epoch - 1]) > best:
                best = epoch, curve[epoch - 1]
                answers.append((round(now / end, 6), job.point))
            if method.report(job.trial, epoch, curve[epoch - 1]) == "continue" and epoch < table.num_epochs:
                heapq.heappush(running, (now + table.secs[job.point], next(order), job))
        fill(now)
    return Run(answers=answers, whole=whole, num_trials=len(done))
