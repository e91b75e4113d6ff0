"""Syne Tune's schedulers as methods of the simulated sweep. Needs an environment with syne-tune."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Hashable

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice
from syne_tune.optimizer import baselines

from bench.search_efficiency.clock import Decision, Job
from bench.search_efficiency.table import Table


class SyneTune:
    """A scheduler of Syne Tune, called as its tuner calls it. Its spaces have no conditions: every parameter is drawn.

    Args:
        table: The recorded trainings.
        baseline: Name of a class in `syne_tune.optimizer.baselines`.
        seed: Seed of the scheduler.
    """

    def __init__(self, table: Table, baseline: str, seed: int) -> None:
        logging.disable(logging.WARNING)
        self._table = table
        self._scheduler = getattr(baselines, baseline)(
            config_space={name: choice(values) for name, values in table.choices().items()},
            metric="score",
            time_attr="epoch",
            max_t=table.num_epochs,
            do_minimize=False,
            random_seed=seed,
        )
        self._trials: dict[Hashable, Trial] = {}

    def next(self) -> Job | None:
        """Begin the suggested trial, or continue a paused one."""
        found = self._scheduler.suggest()
        if found is None:
            return None
        number = found.checkpoint_trial_id
        if found.spawn_new_trial_id:
            number = len(self._trials)
            trial = Trial(trial_id=number, config=found.config, creation_time=datetime.datetime.now())  # noqa: DTZ005
            self._trials[number] = trial
            self._scheduler.on_trial_add(trial)
        return Job(trial=number, point=self._table.find(dict(self._trials[number].config)))

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Pass the result on."""
        one, result = self._trials[trial], {"epoch": epoch, "score": value}
        decision = self._scheduler.on_trial_result(one, result)
        if epoch == self._table.num_epochs:
            self._scheduler.on_trial_complete(one, result)
        elif decision == "STOP":
            self._scheduler.on_trial_remove(one)
        decisions: dict[str, Decision] = {"STOP": "stop", "PAUSE": "pause"}
        return decisions.get(decision, "continue")

    def fail(self, trial: Hashable) -> None:
        """Report an error."""
        self._scheduler.on_trial_error(self._trials[trial])
