"""NePS's PriorBand as a method of the simulated sweep. Needs an environment with neural-pipeline-search."""

from __future__ import annotations

import logging
import random
from collections.abc import Hashable

import neps
import numpy as np
import torch
from neps import algorithms
from neps.optimizers.ask_and_tell import AskAndTell
from neps.state import Trial

from bench.search_efficiency.clock import Decision, Job
from bench.search_efficiency.table import Table


class PriorBand:
    """Hyperband that draws points at random or near the best one so far. A promoted point continues where it stands.

    The space has no prior, as nothing is known of it beforehand, and no conditions: every parameter is drawn.

    Args:
        table: The recorded trainings.
        seed: Seed of the search.
    """

    def __init__(self, table: Table, seed: int) -> None:
        logging.disable(logging.WARNING)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self._table = table
        choices = {name: neps.HPOCategorical(values) for name, values in table.choices().items()}
        epochs = neps.HPOInteger(1, table.num_epochs, is_fidelity=True)
        self._search = AskAndTell(algorithms.priorband(neps.SearchSpace({**choices, "epochs": epochs})))
        self._running: dict[Hashable, Trial] = {}
        self._last: dict[Hashable, tuple[int, float]] = {}

    def next(self) -> Job:
        """Begin or continue what is asked for."""
        while True:
            trial = self._search.ask()
            number = trial.id.split("_rung_")[0]
            config = {name: _plain(value) for name, value in trial.config.items() if name != "epochs"}
            epoch, value = self._last.get(number, (0, 1.0))
            if epoch < trial.config["epochs"]:
                self._running[number] = trial
                return Job(trial=number, point=self._table.find(config))
            # It has been trained as far already.
            self._search.tell(trial, -value)

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Tell the result once the trial has the epochs that were asked for."""
        self._last[trial] = epoch, value
        if epoch < self._running[trial].config["epochs"]:
            return "continue"
        self._search.tell(self._running.pop(trial), -value)
        return "pause"

    def fail(self, trial: Hashable) -> None:
        """Tell the worst score."""
        self._last[trial] = self._table.num_epochs, 0.0
        self._search.tell(self._running.pop(trial), 0.0)


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value
