"""A sweep in simulated time, and how good its answer is at each moment. Imports the standard library only."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.search_efficiency.table import Table

TARGET = 0.005
"""A search has reached the target once its answer is at most this much below the best point's mean."""
NUM_TIMES = 100
"""Moments, equally far apart, at which the regret is written down."""
NUM_TRAININGS = 200
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
        regret: How much the answer lies below the best point's mean, at each moment.
        reached: Part of the whole time after which the target was first reached; None if it was not.
        final: Mean validation accuracy, in other trainings, of the answer at the end.
        num_trials: Number of trials that were begun.
        num_whole: Number of them that were trained to the end.
    """

    regret: list[float]
    reached: float | None
    final: float
    num_trials: int
    num_whole: int


def simulate(table: Table, seen: int, method: Method, num_workers: int) -> Run:
    """Run a sweep on recorded trainings.

    The answer at any moment is the trial with the highest validation accuracy among those trained to the end, or
    before there is one, among the trials with the most epochs. It counts with the mean of its other trainings, which
    the method does not see. Only training takes time.

    Args:
        table: The recorded trainings.
        seen: The seed whose trainings the method sees.
        method: The method.
        num_workers: Trainings at a time.
    """
    truth, best = table.truth(seen), table.best(seen)
    end = NUM_TRAININGS * table.mean_secs / num_workers
    order = itertools.count()
    running: list[tuple[float, int, Job]] = []
    done: dict[Hashable, int] = {}
    answer: tuple[int, float, int] = (0, -1.0, -1)
    steps: list[tuple[float, float]] = []
    """Times at which the answer changed, with its true mean."""

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
            answer_now = max(answer, (epoch, curve[epoch - 1], job.point), key=lambda item: item[:2])
            if answer_now != answer:
                answer = answer_now
                steps.append((now, truth[answer[2]]))
            if method.report(job.trial, epoch, curve[epoch - 1]) == "continue" and epoch < table.num_epochs:
                heapq.heappush(running, (now + table.secs[job.point], next(order), job))
        fill(now)
    reached = next((now for now, mean in steps if mean >= best - TARGET), None)
    return Run(
        regret=[_at(steps, end * (index + 1) / NUM_TIMES, best) for index in range(NUM_TIMES)],
        reached=None if reached is None else reached / end,
        final=steps[-1][1] if steps else 0.0,
        num_trials=len(done),
        num_whole=sum(epochs == table.num_epochs for epochs in done.values()),
    )


def _at(steps: list[tuple[float, float]], time: float, best: float) -> float:
    known = [mean for now, mean in steps if now <= time]
    return max(0.0, best - known[-1]) if known else best
