"""What mattered in a sweep: the importance of its parameters, computed from its records. A description, not a claim."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.journal.scored_trials import ScoredTrials, score_trials
from search.records import TrialRecord
from search.significance.importance.choices import ChoiceDifference, choice_differences
from search.significance.importance.factor import Factor, Share
from search.significance.importance.fanova import fanova
from search.significance.importance.ped_anova import ped_anova_shares
from spaces.space import Space

MIN_TRIALS = 20
"""Smallest number of trials from which importances are computed."""
MAX_TRIALS = 2000
"""Largest number of trials that fANOVA is fitted to, drawn at random from more."""
BEST = 0.25
"""Fraction of the trials that counts as best."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The importances of the parameters by one measure."""

    title: str
    num_trials: int
    shares: tuple[Share, ...] = ()
    """Highest first; empty if there are fewer than MIN_TRIALS trials."""
    too_few: str = ""
    """Why the trials are too few to tell the parameters apart; empty if they are enough."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What mattered in a sweep."""

    trials: ScoredTrials
    reaching: Ranking
    """PED-ANOVA on all trials: what separates the best quarter from the others."""
    within: Ranking
    """PED-ANOVA on the best quarter: what separates its better half from the other."""
    variance: Ranking
    """fANOVA over all trials, for the parameters that all of them have."""
    choices: tuple[ChoiceDifference, ...]
    """Differences between the values of the choices, most important parameter first."""

    best_rank: float
    """Lowest rank of the trials in the best quarter."""

    @property
    def rankings(self) -> tuple[Ranking, Ranking, Ranking]:
        """The three measures."""
        return self.reaching, self.within, self.variance

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters, most important first; in the order of the space if that is unknown."""
        if self.reaching.shares:
            return tuple(share.parameter for share in self.reaching.shares)
        return tuple(factor.name for factor in self.trials.factors)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The parameters as arrays, most important first."""
        by_name = {factor.name: factor for factor in self.trials.factors}
        return tuple(by_name[name] for name in self.parameters)

    @property
    def has_enough_trials(self) -> bool:
        """Whether importances were computed at all; the trials may still be too few to tell the parameters apart."""
        return bool(self.reaching.shares)


def what_mattered(records: Sequence[TrialRecord], space: Space) -> Importance:
    """Compute the importance of a sweep's parameters.

    Args:
        records: Records of the study; only trials that completed, that were stopped or infeasible after a
                validation, or that diverged count.
        space: The study's space.

    Example:
        >>> history = read_history(study.folder)  # doctest: +SKIP
        >>> what_mattered(list(history.records.values()), study.build_space()).parameters  # doctest: +SKIP
        ('lr', 'rnn', 'nodes')
    """
    trials = score_trials(records, space)
    best_rank = _cutoff(trials.rank)
    num_best = int((trials.rank >= best_rank).sum())
    reaching = _ranking("best quarter", trials, len(trials.rank), target=BEST, region=1.0)
    places = {share.parameter: place for place, share in enumerate(reaching.shares)}
    return Importance(
        trials=trials,
        reaching=reaching,
        within=_ranking("its better half", trials, num_best, target=BEST / 2, region=BEST),
        variance=_variance(trials),
        choices=choice_differences(
            sorted(trials.factors, key=lambda factor: places.get(factor.name, 0)), trials.accuracy
        ),
        best_rank=best_rank,
    )


def _cutoff(rank: NDArray[np.float64]) -> float:
    return float(np.sort(rank)[::-1][math.ceil(BEST * len(rank)) - 1]) if len(rank) else math.inf


def _ranking(title: str, trials: ScoredTrials, num_trials: int, *, target: float, region: float) -> Ranking:
    if few := _too_few(num_trials, trials.factors):
        return Ranking(title=title, num_trials=num_trials, too_few=few)
    shares = ped_anova_shares(trials.factors, trials.rank, target=target, region=region)
    same = "" if any(share.is_beyond_chance for share in shares) else "shuffled scores give importances as high"
    return Ranking(title=title, num_trials=num_trials, shares=shares, too_few=same)


def _variance(trials: ScoredTrials) -> Ranking:
    known = np.flatnonzero(~np.isnan(trials.accuracy))
    if len(known) > MAX_TRIALS:
        known = np.random.default_rng(0).choice(known, MAX_TRIALS, replace=False)
    title, num_trials = "variance", len(known)
    everywhere = (factor for factor in trials.factors if factor.is_active[known].all())
    own = [dataclasses.replace(factor, positions=factor.positions[known]) for factor in everywhere]
    if few := _too_few(num_trials, own):
        return Ranking(title=title, num_trials=num_trials, too_few=few)
    found = fanova(own, trials.accuracy[known])
    blind = "" if found.r2 > 0 else "the forest predicts no trial that it was not fitted to"
    return Ranking(title=title, num_trials=num_trials, shares=found.shares, too_few=blind)


def _too_few(num_trials: int, factors: Sequence[Factor]) -> str:
    if num_trials < MIN_TRIALS:
        return f"importances take at least {MIN_TRIALS}, there are {num_trials}"
    return "" if factors else "no parameter has two values among them"
