"""Schedulers that stop trials early. Their state is rebuilt by observing the recorded epochs again, in order."""

from __future__ import annotations

import bisect
from typing import Protocol

from search.study.config import SearchSection


class Scheduler(Protocol):
    """Decides after each epoch whether a trial continues. Higher values are better.

    Decisions depend only on the calls so far, in order. Observing an epoch again changes nothing. Not thread-safe.
    """

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Record an epoch and return whether the trial continues.

        Args:
            key: Key of the trial.
            epoch: Number of the epoch, from 1.
            value: Validation accuracy; None if the epoch was not validated, in which case the trial continues.
        """
        ...


class NoScheduler:
    """Lets every trial run to its last epoch."""

    def observe(self, key: str, epoch: int, value: float | None) -> bool:  # noqa: ARG002
        """Return True."""
        return True


class Asha:
    """Asynchronous successive halving, the stopping variant.

    At each rung a trial continues only while it is among the best 1/reduction of all trials that have reached the rung;
    while fewer than `reduction` have, only the best one continues. A trial enters a rung with the value of its first
    validated epoch from there on; if that is past the next rung, it enters only the later one.

    >>> scheduler = Asha(grace_epochs=1, reduction=2, max_epochs=8)
    >>> [scheduler.observe(key, 1, value) for key, value in (("a", 0.5), ("b", 0.4), ("c", 0.6))]
    [True, False, True]

    Args:
        grace_epochs: Epoch of the first rung.
        reduction: Ratio between rungs, and between the trials that reach a rung and those that pass it.
        max_epochs: Last epoch of a trial, which has no rung.

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
        """Enter the value in the highest rung reached, unless the trial is already in it, and compare."""
        rung = max((rung for rung in self.rungs if rung <= epoch), default=None)
        if value is None or rung is None or epoch >= self._max_epochs or (key, rung) in self._seen:
            return True
        self._seen.add((key, rung))
        values = self.rungs[rung]
        bisect.insort(values, value)
        num_better = len(values) - bisect.bisect_right(values, value)
        return num_better < max(1, len(values) // self._reduction)


class MedianStopping:
    """Stops a trial whose best value so far is below the median of the other trials' running means at the same epoch.

    Args:
        grace_epochs: Last epoch at which no trial is stopped yet.
        max_epochs: Last epoch of a trial, at which none is stopped.
        min_trials: Number of other trials that must have reached an epoch before a trial is stopped there.

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
        """Add the value to the trial's curve and compare."""
        if value is None or (key, epoch) in self._seen:
            return True
        self._seen.add((key, epoch))
        curve = self._values.setdefault(key, [])
        curve.append(value)
        # Sorted running means of the trials that reached this epoch, so that the median is a look-up.
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
    """Return the scheduler that the study selects."""
    match search.scheduler:
        case "asha":
            return Asha(grace_epochs=search.grace_epochs, reduction=search.reduction, max_epochs=max_epochs)
        case "median":
            return MedianStopping(grace_epochs=search.grace_epochs, max_epochs=max_epochs)
        case "none":
            return NoScheduler()
