"""This project's samplers and schedulers, and plain baselines, as methods of the simulated sweep."""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Any

from bench.search_efficiency.clock import Decision, Job
from bench.search_efficiency.table import FOLDER, Table, active
from search.records import Completed, EpochMetrics, Failed, Stopped
from search.sampling.sampler import Sampler
from search.study.load import load_study
from search.sweep.schedulers import make_scheduler


class Ours:
    """A sampler and a scheduler of a study, as `sweep` uses them.

    Args:
        table: The recorded trainings.
        name: Its name, which is that of its study file.
        search: Fields of the study's section `search`.
        seed: Seed of the proposals.
    """

    def __init__(self, table: Table, name: str, search: dict[str, Any], seed: int) -> None:
        fields = {"trials": len(table.points), "sampler": "tpe", "scheduler": "asha", **search}
        overrides = [f"search.{key}={value}" for key, value in fields.items()]
        study = load_study(FOLDER / f"{name}.yaml", overrides)
        self._space = study.build_space()
        self._table = table
        self._sampler = Sampler(
            space=self._space,
            seed=seed,
            method=study.search.sampler,
            startup_trials=study.search.startup_trials,
            arguments=study.search.sampler_args,
            why_not=lambda point: None if self._has(point) else "not in the table",
        )
        self._scheduler = make_scheduler(study.search, table.num_epochs)
        self._curves: dict[Hashable, list[EpochMetrics]] = {}

    def _params(self, point: Any) -> dict[str, Any]:
        return active({name: value for name, value in point.items() if name in self._space.free})

    def _has(self, point: Any) -> bool:
        try:
            self._table.find(self._params(point))
        except KeyError:
            return False
        return True

    def next(self) -> Job | None:
        """Propose a new point."""
        asked = self._sampler.ask()
        if asked is None:
            return None
        number, point = asked
        self._curves[number] = []
        return Job(trial=number, point=self._table.find(self._params(point)))

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Let the scheduler decide, and tell the sampler of a trial that ended."""
        assert isinstance(trial, int)
        self._curves[trial].append(metrics(epoch, value))
        if epoch == self._table.num_epochs:
            self._sampler.tell(trial, self._curves[trial], Completed())
        elif not self._scheduler.observe(str(trial), epoch, value):
            self._sampler.tell(trial, self._curves[trial], Stopped(epoch=epoch))
            return "stop"
        return "continue"

    def fail(self, trial: Hashable) -> None:
        """Tell the sampler of a trial that diverged."""
        assert isinstance(trial, int)
        self._sampler.tell(trial, self._curves[trial], Failed(reason="diverged", diverged=True))


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
