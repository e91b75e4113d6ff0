"""Ray Tune's OptunaSearch with its ASHAScheduler, and Optuna with its pruners, as methods of the simulated sweep."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from bench.search_efficiency.clock import Decision, Job
from bench.search_efficiency.table import Params, Table


def define_by_run(choices: dict[str, list[Any]]) -> Any:
    """Return a function that draws a point as users of Optuna write it: a condition is an `if`."""

    def draw(trial: optuna.Trial) -> Params:
        point = {name: trial.suggest_categorical(name, choices[name]) for name in ("enc_on", "rnn", "dropout", "lr")}
        if point["enc_on"]:
            point["enc_code"] = trial.suggest_categorical("enc_code", choices["enc_code"])
        if point["rnn"] != "none":
            for name in ("nodes", "layout", "readout"):
                point[name] = trial.suggest_categorical(name, choices[name])
        return point

    return draw


class RayTune:
    """OptunaSearch and ASHAScheduler, called as Ray Tune's controller calls them.

    Args:
        table: The recorded trainings.
        reduction: Of the scheduler; Ray's default is 4.
        seed: Seed of the search.
    """

    def __init__(self, table: Table, reduction: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        self._table = table
        np.random.seed(seed)  # noqa: NPY002  the scheduler draws from it
        self._search = OptunaSearch(define_by_run(table.choices()), metric="score", mode="max", seed=seed)
        self._scheduler = ASHAScheduler(
            metric="score", mode="max", max_t=table.num_epochs, grace_period=1, reduction_factor=reduction
        )
        self._num = 0

    def next(self) -> Job:
        """Propose a point."""
        trial = str(self._num)
        self._num += 1
        config = self._search.suggest(trial)
        self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=trial))
        return Job(trial=trial, point=self._table.find(config))

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Pass the result to both."""
        result = {"training_iteration": epoch, "score": value}
        decision = self._scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial), result)
        if decision == "STOP":
            self._search.on_trial_complete(trial, result)
            return "stop"
        self._search.on_trial_result(trial, result)
        return "continue"

    def fail(self, trial: Hashable) -> None:
        """Report an error."""
        self._scheduler.on_trial_remove(None, SimpleNamespace(trial_id=trial))
        self._search.on_trial_complete(trial, error=True)


class Optuna:
    """Optuna's TPE with a pruner.

    Args:
        table: The recorded trainings.
        pruner: The pruner.
        seed: Seed of the sampler.
    """

    def __init__(self, table: Table, pruner: optuna.pruners.BasePruner, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._table = table
        self._draw = define_by_run(table.choices())
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner
        )
        self._trials: dict[Hashable, optuna.Trial] = {}

    def next(self) -> Job:
        """Propose a point."""
        trial = self._study.ask()
        self._trials[trial.number] = trial
        return Job(trial=trial.number, point=self._table.find(self._draw(trial)))

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Report the value, and end the trial if the pruner says so."""
        one = self._trials[trial]
        one.report(value, epoch)
        if epoch == self._table.num_epochs:
            self._study.tell(one, value)
        elif one.should_prune():
            self._study.tell(one, state=optuna.trial.TrialState.PRUNED)
            return "stop"
        return "continue"

    def fail(self, trial: Hashable) -> None:
        """Tell it as failed."""
        self._study.tell(self._trials[trial], state=optuna.trial.TrialState.FAIL)
