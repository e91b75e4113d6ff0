"""Optuna sampler restricted to allowed values. Imports optuna, so import this module inside functions."""

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
    """Wraps a sampler and replaces each value that is no longer allowed by a random allowed one, all equally likely.

    Optuna requires the same distribution of a parameter in all trials, so the restriction cannot be passed to it. The
    value is replaced before Optuna records it, so the wrapped sampler learns from the values that were trained.

    Args:
        inner: The wrapped sampler.
        seed: Seed of the replacements.
        joint: Parameters that the wrapped sampler proposes jointly; None lets it choose.

    Attributes:
        offered: Allowed values of the next parameter; the caller sets it before each suggestion. None allows all.
    """

    def __init__(self, inner: BaseSampler, seed: int, joint: dict[str, BaseDistribution] | None = None) -> None:
        self._inner = inner
        self._joint = joint
        self._random = random.Random(seed)  # noqa: S311
        self._proposed: dict[str, Any] = {}
        self.offered: Domain | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that the wrapped sampler proposes jointly."""
        if self._joint is not None:
            return self._joint
        space: dict[str, BaseDistribution] = self._inner.infer_relative_search_space(study, trial)
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Store the joint proposal and return {}, so that each of its values passes through `sample_independent`."""
        self._proposed = self._inner.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401
        """Return one value from `offered`."""
        value = self._proposed.get(param_name)
        if value is None:
            value = self._inner.sample_independent(study, trial, param_name, param_distribution)
        if self.offered is None or self.offered.contains(value):
            return value
        return self._random.choice(tuple(self.offered.members()))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Forward to the wrapped sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing: a study rebuilt from the journal could not repeat the call, and no sampler here needs it."""
