"""The trials of a sweep with their scores and parameters as arrays, the input of everything about importance.

There are two scores. The rank of a trial in the sweep puts stopped and infeasible ones below completed ones, and needs
no value that they lack. The accuracy after one epoch that nearly all trials reached can be averaged. The last
accuracies of the completed trials alone would be those of the survivors of the scheduler, among which what mattered
seems not to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import Completed, Failed, Infeasible, Stopped, TrialRecord, scores_by_epoch
from search.significance.importance.factor import Factor
from spaces.domains import Choice, Domain, Float, Int, show
from spaces.space import Space

SHARED = 0.9
"""Fraction of the trials that must have been validated in the epoch whose accuracy is averaged."""


@dataclass(frozen=True, kw_only=True)
class ScoredTrials:
    """The trials of a sweep that have a result, best first, with their parameters as arrays."""

    records: tuple[TrialRecord, ...]
    """Completed, stopped and infeasible trials with a validated epoch, then diverged ones."""
    rank: NDArray[np.float64]
    """Rank in the sweep as a fraction, 1 for the best, equal for ties, (N,)."""
    epoch: int
    """The epoch of the accuracies; 0 if no trial was validated."""
    accuracy: NDArray[np.float64]
    """Validation accuracy after that epoch; NaN in trials without it, (N,)."""
    factors: tuple[Factor, ...]
    """Parameters with at least two values among the trials, in the order of the space."""

    def ended(self, kind: type[Completed | Stopped | Infeasible | Failed]) -> NDArray[np.bool_]:
        """Return whether each trial has this outcome, (N,)."""
        return np.array([isinstance(record.outcome, kind) for record in self.records], dtype=np.bool_)

    @property
    def last_accuracy(self) -> NDArray[np.float64]:
        """The last validation accuracy of each trial, after different numbers of epochs; NaN without one, (N,)."""
        last = [record.val_accuracy for record in self.records]
        return np.array([math.nan if value is None else value for value in last])


def score_trials(records: Sequence[TrialRecord], space: Space) -> ScoredTrials:
    """Return the trials with a result, their ranks, their accuracies and their parameters as arrays."""
    keys = {record.key: key for record in records if record.kind == "trial" and (key := _sort_key(record))}
    own = sorted((record for record in records if record.key in keys), key=lambda item: keys[item.key], reverse=True)
    levels = {key: level for level, key in enumerate(sorted(set(keys.values())), start=1)}
    rank = np.array([levels[keys[record.key]] / len(levels) for record in own])
    epoch = _shared_epoch(own)
    at_epoch = [scores_by_epoch(record.curve, record.keep).get(epoch) for record in own]
    return ScoredTrials(
        records=tuple(own),
        rank=rank,
        epoch=epoch,
        accuracy=np.array([math.nan if value is None else value for value in at_epoch]),
        factors=tuple(_factors(own, space)),
    )


def _sort_key(record: TrialRecord) -> tuple[int, int, float] | None:
    """Return the place of a trial in the sweep, higher is better; None without a result. Ties are equal."""
    accuracy = record.val_accuracy
    match record.outcome:
        case Completed() if accuracy is not None:
            return 2, 0, accuracy
        case Stopped() | Infeasible() if accuracy is not None:
            return 1, len(record.curve), accuracy
        case Failed(diverged=True):
            return 0, 0, 0.0
    return None


def _shared_epoch(records: Sequence[TrialRecord]) -> int:
    """Return the last epoch in which nearly all trials that did not diverge were validated; 0 if none were."""
    own = [record for record in records if not isinstance(record.outcome, Failed)]
    counts = Counter(item.epoch for record in own for item in record.curve if item.val_accuracy is not None)
    if not counts:
        return 0
    wanted = min(SHARED * len(own), max(counts.values()))
    return max(epoch for epoch, count in counts.items() if count >= wanted)


def _factors(records: Sequence[TrialRecord], space: Space) -> list[Factor]:
    free = set(space.free)
    made = [
        _factor(parameter.name, parameter.domain, [record.point.get(parameter.name) for record in records])
        for parameter in space.parameters
        if parameter.name in free
    ]
    return [factor for factor in made if len(np.unique(factor.positions[factor.is_active])) > 1]


def _factor(name: str, domain: Domain, values: Sequence[Any]) -> Factor:
    match domain:
        case Float(low=low, high=high, log=log) | Int(low=low, last=high, log=log):
            scale = math.log if log else float
            width = scale(high) - scale(low)
            known = [value if domain.contains(value) else None for value in values]
            positions = [math.nan if value is None else (scale(value) - scale(low)) / width for value in known]
            return Factor(
                name=name,
                positions=np.array(positions),
                num_values=domain.size,
                ends=(float(low), float(high)),
                is_log=log,
            )
        case _:
            members = list(domain.members()) if isinstance(domain, Choice) else []
            places = {(type(value), value): float(index) for index, value in enumerate(members)}
            return Factor(
                name=name,
                positions=np.array([places.get((type(value), value), math.nan) for value in values]),
                num_values=len(members),
                choices=tuple(map(show, members)),
            )
