"""Early stopping by pauses: asynchronous successive halving that promotes trials."""

from __future__ import annotations

import bisect
import math


class PromotionAsha:
    """Asynchronous successive halving, the promotion variant.

    Each trial pauses at each rung and waits. A free worker resumes the best waiting trial of the highest rung that has
    a promotable one, and begins a new trial if no rung has. A trial is promotable while it is among the best
    1/reduction of all trials that have reached its rung; of equal values, the earlier one is better.

    So nothing is trained on a comparison with few others, as the first trials of the stopping variant are, and no trial
    is lost that later turns out to be among the best.

    >>> scheduler = PromotionAsha(grace_epochs=1, reduction=2, max_epochs=4)
    >>> [scheduler.observe(key, 1, value) for key, value in (("a", 0.5), ("b", 0.4), ("c", 0.6), ("d", 0.7))]
    [False, False, False, False]
    >>> scheduler.next_promotion(), scheduler.next_promotion(), scheduler.next_promotion()
    ('d', 'c', None)
    >>> scheduler.observe("d", 2, 0.8), scheduler.next_promotion(), scheduler.next_promotion(is_last=True)
    (False, None, 'd')
    >>> scheduler.observe("d", 3, 0.8), scheduler.observe("d", 4, 0.8)
    (True, True)

    Args:
        grace_epochs: Epoch of the first rung.
        reduction: Ratio between rungs, and between the trials that reach a rung and those that are promoted.
        max_epochs: Last epoch of a trial, which has no rung.
        validate_every: Number of epochs from one validation to the next; each rung is moved to the next validation.

    Reference: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning (algorithm 2).
    """

    def __init__(self, *, grace_epochs: int, reduction: int, max_epochs: int, validate_every: int = 1) -> None:
        self._reduction = reduction
        self._max_epochs = max_epochs
        self.rungs: dict[int, _Rung] = {}
        rung = grace_epochs
        while (epoch := -(-rung // validate_every) * validate_every) < max_epochs:
            self.rungs[epoch] = _Rung()
            rung *= reduction
        self._entered: dict[str, int] = {}
        """Key of a trial -> the highest rung that it has reached."""
        self._any_completed = False

    def observe(self, key: str, epoch: int, value: float | None) -> bool:
        """Record an epoch and return whether the trial continues; if not, it waits for its promotion.

        Args:
            key: Key of the trial.
            epoch: Number of the epoch, from 1.
            value: Validation accuracy, higher is better; a trial without one at a rung is the last there.
        """
        self._any_completed |= epoch >= self._max_epochs
        rung = self.rungs.get(epoch)
        if rung is None:
            return True
        if self._entered.get(key, 0) < epoch:
            self._entered[key] = epoch
            rung.add(key, -math.inf if value is None else value)
        return not rung.is_waiting(key)

    def next_promotion(self, *, is_last: bool = False) -> str | None:
        """Return the key of the trial that a free worker resumes, which no longer waits; None if there is none.

        Args:
            is_last: Whether no trial runs and none can begin. Then, if no trial has completed, the best one of the
                highest rung is resumed although too few have reached the rung: every sweep completes a trial.
        """
        for rung in reversed(self.rungs.values()):
            if (key := rung.promote(self._reduction)) is not None:
                return key
        if is_last and not self._any_completed:
            for rung in reversed(self.rungs.values()):
                if (key := rung.promote(1)) is not None:
                    return key
        return None

    def leave(self, key: str) -> None:
        """Record that a trial was resumed, or that it ended: it no longer waits. Its values still count."""
        if key in self._entered:
            self.rungs[self._entered[key]].leave(key)

    def is_waiting(self, key: str) -> bool:
        """Return whether a trial waits for its promotion."""
        return key in self._entered and self.rungs[self._entered[key]].is_waiting(key)

    def pause_after(self, epoch: int) -> int | None:
        """Return the epoch at which a trial pauses next that has finished an epoch; None if it does not."""
        return next((rung for rung in self.rungs if rung > epoch), None)


class _Rung:
    """Values of the trials that reached one rung, best first, and which of them wait."""

    def __init__(self) -> None:
        self._all: list[tuple[float, int]] = []
        """(negative value, number of trials before)."""
        self._waiting: list[tuple[float, int, str]] = []
        """The same of those that wait, with their keys."""
        self._keys: dict[str, tuple[float, int, str]] = {}

    def add(self, key: str, value: float) -> None:
        entry = (-value, len(self._all), key)
        bisect.insort(self._all, entry[:2])
        bisect.insort(self._waiting, entry)
        self._keys[key] = entry

    def is_waiting(self, key: str) -> bool:
        return key in self._keys

    def promote(self, reduction: int) -> str | None:
        """Take the best waiting trial if it is among the best 1/reduction of all."""
        if not self._waiting or bisect.bisect_left(self._all, self._waiting[0][:2]) >= len(self._all) // reduction:
            return None
        key = self._waiting.pop(0)[2]
        del self._keys[key]
        return key

    def leave(self, key: str) -> None:
        if (entry := self._keys.pop(key, None)) is not None:
            del self._waiting[bisect.bisect_left(self._waiting, entry)]
