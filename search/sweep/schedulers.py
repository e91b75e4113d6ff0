"""Who stops a trial early: pure decisions over (trial, epoch, value), rebuilt by telling the recorded curves again."""

from __future__ import annotations

import bisect
from typing import Protocol

from search.study.config import SearchSection


class Scheduler(Protocol):
    """Decides after each epoch whether a trial goes on. Higher values are better; without one it does."""

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Take note of an epoch; return whether the trial may go on."""
        ...


class NoScheduler:
    """Lets every trial run to its last epoch."""

    def observe(self, key: str, epoch: int, value: float | None) -> bool:  # noqa: ARG002
        """Go on, always."""
        return True


class Asha:
    """Asynchronous successive halving, the stopping variant.

    At each rung a trial goes on only while it is among the best 1/reduction of all that have reached the rung so
    far; as long as fewer than `reduction` have, only the best of them does. It stands on a rung with the value of the
    first epoch from there on that has one; if that lies past the next rung, it stands on that one only.

    Args:
        grace_epochs: The first rung.
        reduction: Ratio of rungs, and of trials that pass each.
        max_epochs: Where trials end by themselves; no rung lies there.

    Reference: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning (algorithm 2).
    """

    def __init__(self, *, grace_epochs: int, reduction: int, max_epochs: int) -> None:
        self._reduction = reduction
        self._max_epochs = max_epochs
        self.rungs: dict[int, list[float]] = {}
        rung = grace_epochs
        while rung < max_epochs:
            self.rungs[rung] = []
            rung *= reduction
        self._seen: set[tuple[str, int]] = set()

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Enter the value in the highest rung that the epoch has reached, if the trial does not stand on it yet."""
        rung = max((rung for rung in self.rungs if rung <= epoch), default=None)
        if value is None or rung is None or epoch >= self._max_epochs or (key, rung) in self._seen:
            return True
        self._seen.add((key, rung))
        values = self.rungs[rung]
        bisect.insort(values, value)
        num_better = len(values) - bisect.bisect_right(values, value)
        return num_better < max(1, len(values) // self._reduction)


class MedianStopping:
    """Stops a trial whose best value so far is below the median of the others' running means at the same epoch.

    Args:
        grace_epochs: No trial is stopped before or at this epoch.
        min_trials: No trial is stopped before so many others have come as far.

    Reference: Golovin et al. 2017, Google Vizier, section 3.2.2.
    """

    def __init__(self, *, grace_epochs: int, max_epochs: int, min_trials: int = 3) -> None:
        self._grace_epochs = grace_epochs
        self._max_epochs = max_epochs
        self._min_trials = min_trials
        self._values: dict[str, list[float]] = {}
        self._means: dict[int, list[float]] = {}
        self._seen: set[tuple[str, int]] = set()

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Enter the value in the trial's curve and compare."""
        if value is None or (key, epoch) in self._seen:
            return True
        self._seen.add((key, epoch))
        curve = self._values.setdefault(key, [])
        curve.append(value)
        # Running means of the others that have come as far, in order: the median is a look-up.
        means = self._means.setdefault(epoch, [])
        middle = len(means) // 2
        go_on = (
            not self._grace_epochs < epoch < self._max_epochs
            or len(means) < self._min_trials
            or max(curve) >= (means[middle] if len(means) % 2 else (means[middle - 1] + means[middle]) / 2)
        )
        bisect.insort(means, sum(curve) / len(curve))
        return go_on


def make_scheduler(search: SearchSection, max_epochs: int) -> Scheduler:
    """Make the scheduler that the study file asks for."""
    match search.scheduler:
        case "asha":
            return Asha(grace_epochs=search.grace_epochs, reduction=search.reduction, max_epochs=max_epochs)
        case "median":
            return MedianStopping(grace_epochs=search.grace_epochs, max_epochs=max_epochs)
        case "none":
            return NoScheduler()
