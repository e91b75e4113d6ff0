"""Schedulers that stop trials early. Their state is rebuilt by observing the recorded epochs again, in order."""

from __future__ import annotations

import bisect
from typing import Protocol

from search.study.config import SearchSection
from search.sweep.promotion import PromotionAsha


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

    @property
    def first_rung(self) -> int | None:
        """Epoch of the first rung; None if no trial is ever stopped."""
        return next(iter(self.rungs), None)

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


class Hyperband:
    """Hyperband with asynchronous brackets: each bracket is an `Asha` whose first rung is higher by one than the last.

    The trials are distributed in the order of their first observed epochs, in the proportions of Hyperband's brackets:
    most of them go to the bracket that stops earliest, and the last bracket stops none. So a trial that learns slowly
    has a chance, at the price of more training.

    >>> scheduler = Hyperband(grace_epochs=1, reduction=3, max_epochs=9)
    >>> [bracket.first_rung for bracket in scheduler.brackets], scheduler.shares
    ([1, 3, None], (9, 5, 3))

    Args:
        grace_epochs: Epoch of the first rung of the first bracket.
        reduction: Ratio between rungs, and between the trials that reach a rung and those that pass it.
        max_epochs: Last epoch of a trial, which has no rung.

    Reference: Li et al. 2018, Hyperband (algorithm 1); Li et al. 2020, section 3.3, for asynchronous brackets.
    """

    def __init__(self, *, grace_epochs: int, reduction: int, max_epochs: int) -> None:
        self.brackets: list[Asha] = []
        first = grace_epochs
        while not self.brackets or self.brackets[-1].rungs:
            self.brackets.append(Asha(grace_epochs=first, reduction=reduction, max_epochs=max_epochs))
            first *= reduction
        num = len(self.brackets)
        self.shares = tuple(-(-num * reduction ** (left - 1) // left) for left in range(num, 0, -1))
        """Number of trials per bracket in one round of Hyperband."""
        self._bracket_of: dict[str, int] = {}
        self._num_in = [0] * num

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Put a new trial into the bracket that is furthest below its share, and compare it within its bracket."""
        if key not in self._bracket_of:
            num, whole = sum(self._num_in) + 1, sum(self.shares)
            missing = [num * share - whole * held for share, held in zip(self.shares, self._num_in, strict=True)]
            place = missing.index(max(missing))
            self._bracket_of[key] = place
            self._num_in[place] += 1
        return self.brackets[self._bracket_of[key]].observe(key, epoch, value)


class Plateau:
    """Stops a trial that has had no new best value for a number of epochs, whatever the other trials do.

    >>> scheduler = Plateau(grace_epochs=1, patience_epochs=2, max_epochs=9)
    >>> [scheduler.observe("a", epoch, value) for epoch, value in enumerate((0.5, 0.6, 0.6, 0.5), start=1)]
    [True, True, True, False]

    Args:
        grace_epochs: Last epoch at which no trial is stopped yet.
        patience_epochs: Number of epochs since the best value after which a trial is stopped.
        max_epochs: Last epoch of a trial, at which none is stopped.
    """

    def __init__(self, *, grace_epochs: int, patience_epochs: int, max_epochs: int) -> None:
        self._grace_epochs = grace_epochs
        self._patience_epochs = patience_epochs
        self._max_epochs = max_epochs
        self._best: dict[str, tuple[float, int]] = {}
        """Key of a trial -> its best value, and the first epoch that had it."""

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Compare the value with the best one; epochs without validation decide nothing."""
        if value is None:
            return True
        best, since = self._best.setdefault(key, (value, epoch))
        if value > best:
            self._best[key] = value, epoch
            return True
        return not self._grace_epochs < epoch < self._max_epochs or epoch - since < self._patience_epochs


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


def make_scheduler(search: SearchSection, max_epochs: int, validate_every: int = 1) -> Scheduler:
    """Return the scheduler that the study selects."""
    match search.scheduler:
        case "asha":
            return Asha(grace_epochs=search.grace_epochs, reduction=search.reduction, max_epochs=max_epochs)
        case "asha-promote":
            return PromotionAsha(
                grace_epochs=search.grace_epochs,
                reduction=search.reduction,
                max_epochs=max_epochs,
                validate_every=validate_every,
            )
        case "hyperband":
            return Hyperband(grace_epochs=search.grace_epochs, reduction=search.reduction, max_epochs=max_epochs)
        case "plateau":
            return Plateau(
                grace_epochs=search.grace_epochs, patience_epochs=search.patience_epochs, max_epochs=max_epochs
            )
        case "median":
            return MedianStopping(grace_epochs=search.grace_epochs, max_epochs=max_epochs)
        case "none":
            return NoScheduler()
