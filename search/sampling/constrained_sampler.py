"""An Optuna sampler that keeps to what may still be chosen. Imports optuna: import it inside functions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from spaces.domains import Domain


class ConstrainedSampler(BaseSampler):
    """Proposes as another sampler does, and replaces what was ruled out by one of the values left, all alike.

    Optuna must see one and the same distribution of a parameter in all trials, so it cannot be told which of the values
    the earlier ones leave. The replacement happens before Optuna records a value: what it learns from is what was
    trained.

    Args:
        inner: Who proposes.
        seed: Of the replacements.

    Attributes:
        offered: What the next parameter may be; set before each suggestion.
    """

    def __init__(self, inner: BaseSampler, seed: int) -> None:
        self._inner = inner
        self._random = random.Random(seed)  # noqa: S311
        self._proposed: dict[str, Any] = {}
        self.offered: Domain | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the inner sampler which parameters it proposes together."""
        space: dict[str, BaseDistribution] = self._inner.infer_relative_search_space(study, trial)
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Keep the joint proposal back, so that each of its values passes through `sample_independent`."""
        self._proposed = self._inner.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401
        """Propose one value out of `offered`."""
        value = self._proposed.get(param_name)
        if value is None:
            value = self._inner.sample_independent(study, trial, param_name, param_distribution)
        if self.offered is None or self.offered.contains(value):
            return value
        return self._random.choice(tuple(self.offered.members()))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on."""
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass on."""
        self._inner.after_trial(study, trial, state, values)
