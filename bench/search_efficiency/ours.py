"""This project's samplers and schedulers, and plain baselines, as methods of the simulated sweep."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping
from typing import Any

from bench.search_efficiency.clock import Decision, Job
from bench.search_efficiency.table import FOLDER, Params, Table
from search.records import Completed, EpochMetrics, Failed, Outcome, Stopped
from search.sampling.sampler import Sampler
from search.study.config import SearchSection
from search.study.load import load_study
from search.sweep.front_asha import FrontAsha
from search.sweep.promotion import PromotionAsha
from search.sweep.schedulers import make_scheduler
from spaces.point import Point
from spaces.space import Space


class Ours:
    """A sampler and a scheduler of a study, as `sweep` uses them.

    Args:
        table: The recorded trainings.
        name: Its name, which is that of its study file.
        search: Fields of the study's section `search`.
        seed: Seed of the proposals.
        num_parameters: Point -> number of parameters of its model, for objectives and limits.

    Attributes:
        curves: Number of a trial -> its epochs so far.
        outcomes: Number of a trial -> its outcome, of those that have ended.
        points: Number of a trial -> its point in the table.
    """

    def __init__(
        self,
        table: Table,
        name: str,
        search: Mapping[str, Any],
        seed: int,
        num_parameters: Mapping[int, int] | None = None,
    ) -> None:
        defaults = {key: SearchSection.model_fields[key].default for key in ("sampler", "scheduler")}
        fields = {"trials": len(table.points), **defaults, **search}  # the study file has other ones
        overrides = [f"search.{key}={value}" for key, value in fields.items()]
        study = load_study(FOLDER / f"{name}.yaml", overrides)
        self.space = study.build_space()
        self.curves: dict[int, list[EpochMetrics]] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.points: dict[int, int] = {}
        self._table = table
        self._counts = {point: {"num_parameters": count} for point, count in (num_parameters or {}).items()}
        self._limit = study.search.limits.get("num_parameters")
        self._num_planned = study.search.trials
        self._num_running = 0
        self._sampler = Sampler(
            space=self.space,
            seed=seed,
            method=study.search.sampler,
            startup_trials=study.search.startup_trials,
            arguments=study.search.sampler_args,
            objectives=study.search.objectives,
            limits=study.search.limits,
            rungs=study.search.rungs(table.num_epochs),
            has_pauses=study.search.scheduler == "asha-promote",
            why_not=self._why_not,
        )
        self._scheduler = make_scheduler(study.search, table.num_epochs)
        self._promotion = self._scheduler if isinstance(self._scheduler, PromotionAsha) else None
        self._front = (
            FrontAsha(
                grace_epochs=study.search.grace_epochs, reduction=study.search.reduction, max_epochs=table.num_epochs
            )
            if study.search.scheduler == "asha" and len(study.search.objectives) > 1
            else None
        )

    def _why_not(self, point: Point) -> str | None:
        params = free_values(self.space, point)
        if not self._table.has(params):
            return "not in the table"
        if self._limit is not None and self._counts[self._table.find(params)]["num_parameters"] > self._limit:
            return "above the limit"
        return None

    def next(self) -> Job | None:
        """Continue the trial that is promoted, or propose a new point."""
        number = self._promoted()
        if number is None:
            number = self._proposed()
        if number is None and not self._num_running:
            number = self._promoted(is_last=True)
        if number is None:
            return None
        self._num_running += 1
        return Job(trial=number, point=self.points[number])

    def _promoted(self, *, is_last: bool = False) -> int | None:
        key = None if self._promotion is None else self._promotion.next_promotion(is_last=is_last)
        return None if key is None else int(key)

    def _proposed(self) -> int | None:
        if len(self.curves) >= self._num_planned or (asked := self._sampler.ask()) is None:
            return None
        number, point = asked
        self.curves[number] = []
        self.points[number] = self._table.find(free_values(self.space, point))
        return number

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Let the scheduler decide, and tell the sampler of a trial that ended."""
        assert isinstance(trial, int)
        self.curves[trial].append(metrics(epoch, value))
        self._sampler.observe(trial, self.curves[trial])
        if self._front is None:
            go_on = self._scheduler.observe(str(trial), epoch, value)
        else:
            losses = (-value, float(self._counts[self.points[trial]]["num_parameters"]))
            go_on = self._front.observe(str(trial), epoch, losses)
        if epoch == self._table.num_epochs:
            self._end(trial, Completed())
            return "stop"
        if go_on:
            return "continue"
        if self._promotion is not None:
            self._num_running -= 1
            return "pause"
        self._end(trial, Stopped(epoch=epoch))
        return "stop"

    def fail(self, trial: Hashable) -> None:
        """Tell the sampler of a trial that diverged."""
        assert isinstance(trial, int)
        self._end(trial, Failed(reason="diverged", diverged=True))

    def _end(self, trial: int, outcome: Outcome) -> None:
        self._num_running -= 1
        self.outcomes[trial] = outcome
        if self._promotion is not None:
            self._promotion.leave(str(trial))
        self._sampler.tell(trial, self.curves[trial], outcome, self._counts.get(self.points[trial]))


class OneEpoch:
    """Train every point for one epoch, in random order, and then the best ones to the end.

    Reference: Egele et al. 2023, arXiv 2307.15422.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self._num_epochs = table.num_epochs
        self._todo = sorted(table.points)
        random.Random(seed).shuffle(self._todo)
        self._running: set[Hashable] = set()
        self._paused: dict[int, float] = {}

    def next(self) -> Job | None:
        """Begin a point, or continue the best one once all have had their epoch."""
        if self._todo:
            point = self._todo.pop()
        elif self._paused and not self._running:
            point = max(self._paused, key=self._paused.__getitem__)
            del self._paused[point]
            return Job(trial=point, point=point)
        else:
            return None
        self._running.add(point)
        return Job(trial=point, point=point)

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Pause after the first epoch."""
        assert isinstance(trial, int)
        if epoch > 1:
            return "continue"
        self._running.discard(trial)
        self._paused[trial] = value
        return "pause"

    def fail(self, trial: Hashable) -> None:
        """Forget a point that diverged."""
        self._running.discard(trial)


def free_values(space: Space, point: Point) -> Params:
    """Return the values of a point that may vary, by which a table finds it."""
    return {name: value for name, value in point.items() if name in space.free}


def metrics(epoch: int, value: float) -> EpochMetrics:
    """Return the metrics of an epoch of which only the validation accuracy matters."""
    return EpochMetrics(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=0.5,
        val_loss=1.0,
        val_accuracy=value,
        learning_rate=0.1,
        elapsed_secs=1.0,
        num_images=1,
    )
