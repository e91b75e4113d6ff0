"""SMAC3's multi-fidelity facade as a method of the simulated sweep. Needs an environment with smac."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path

from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, EqualsCondition, NotEqualsCondition
from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from bench.search_efficiency.clock import Decision, Job
from bench.search_efficiency.table import Table

NEVER = 10**6
"""A number of trials that no simulated sweep reaches."""


class Smac:
    """Hyperband with a random forest. A configuration that gets a larger budget continues where it stands.

    Args:
        table: The recorded trainings.
        seed: Seed of the search.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self._table = table
        space = ConfigurationSpace(seed=seed)
        parts = {name: CategoricalHyperparameter(name, values) for name, values in table.choices().items()}
        space.add(list(parts.values()))
        space.add(EqualsCondition(parts["enc_code"], parts["enc_on"], True))
        for name in ("nodes", "layout", "readout"):
            space.add(NotEqualsCondition(parts[name], parts["rnn"], "none"))
        scenario = Scenario(
            space,
            output_directory=Path(tempfile.mkdtemp()),
            deterministic=True,
            n_trials=NEVER,
            min_budget=1,
            max_budget=table.num_epochs,
            seed=seed,
        )
        self._smac = MultiFidelityFacade(scenario, logging_level=False, overwrite=True)
        self._asked: dict[Hashable, TrialInfo] = {}
        self._last: dict[Hashable, tuple[int, float]] = {}

    def next(self) -> Job | None:
        """Begin or continue what is asked for."""
        while True:
            info = self._smac.ask()
            point = self._table.find({name: _plain(value) for name, value in dict(info.config).items()})
            epoch, value = self._last.get(point, (0, 0.0))
            if epoch < round(info.budget):
                self._asked[point] = info
                return Job(trial=point, point=point)
            # It has had this budget already.
            self._smac.tell(info, TrialValue(cost=-value))

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Tell the result once the budget is used up."""
        self._last[trial] = epoch, value
        if epoch < round(self._asked[trial].budget):
            return "continue"
        self._smac.tell(self._asked.pop(trial), TrialValue(cost=-value))
        return "pause"

    def fail(self, trial: Hashable) -> None:
        """Tell the worst score."""
        self._last[trial] = self._table.num_epochs, 0.0
        self._smac.tell(self._asked.pop(trial), TrialValue(cost=0.0))


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value
