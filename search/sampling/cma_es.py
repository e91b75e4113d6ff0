"""CMA-ES whose state is plain data. Imports optuna, so import this module inside functions."""

from __future__ import annotations

import copy
from typing import Any

import cmaes  # noqa: F401  Optuna imports it in the middle of a proposal
from optuna import Study
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial


class CmaEs(CmaEsSampler):
    """Optuna's CMA-ES, without pickled optimizers in the attributes of trials.

    The study's attribute `told:G` has the numbers of the trials that ended generation G. At each proposal a new
    optimizer receives their values again, generation by generation.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next member of the current generation."""
        self._now = study, search_space
        if self._source_trials is not None:
            self._source_trials = [_narrowed(item, search_space) for item in self._source_trials]
        values: dict[str, Any] = super().sample_relative(study, trial, search_space)
        return values

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:  # noqa: ANN401
        """Return the optimizer of the current generation; Optuna's own method unpickles the last one."""
        study, search_space = self._now
        storage, study_id = study._storage, study._study_id  # noqa: SLF001
        transform = _SearchSpaceTransform(search_space, transform_step=not self._with_margin, transform_0_1=True)
        optimizer = self._init_optimizer(transform, study.direction)
        sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0
        by_number = {trial.number: trial for trial in completed_trials}
        attrs = storage.get_study_system_attrs(study_id)
        while True:
            key = f"told:{optimizer.generation}"
            numbers = attrs.get(key)
            if numbers is None:
                members = self._get_solution_trials(completed_trials, optimizer.generation)
                numbers = [trial.number for trial in members[: optimizer.population_size]]
                if len(numbers) < optimizer.population_size:
                    return optimizer
                storage.set_study_system_attr(study_id, key, numbers)
            solutions = []
            for trial in map(by_number.__getitem__, numbers):
                assert trial.value is not None
                solutions.append((self._place(trial, transform), sign * trial.value))
            optimizer.tell(solutions)

    def _place(self, trial: FrozenTrial, transform: _SearchSpaceTransform) -> Any:  # noqa: ANN401
        """Return a trial's point in the optimizer's coordinates; with margin, as the optimizer proposed it."""
        import numpy as np

        if "x_for_tell" in trial.system_attrs:
            return np.array(trial.system_attrs["x_for_tell"])
        return transform.transform(trial.params)


def _narrowed(trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> FrozenTrial:
    """Return a trial with the parameters of a space only; Optuna ignores source trials that have others."""
    narrowed = copy.copy(trial)
    narrowed.params = {name: trial.params[name] for name in search_space}
    narrowed.distributions = {name: trial.distributions[name] for name in search_space}
    return narrowed
