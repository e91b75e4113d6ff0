"""Early stopping with several objectives: asynchronous successive halving by Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from search.journal.fronts import Fronts


class FrontAsha:
    """Asynchronous successive halving of trials with several losses; lower is better.

    At each rung a trial continues while fewer than 1/reduction of all trials that have reached the rung have a lower
    non-dominated rank. A trial on the rung's Pareto front always continues, so that the front is trained to the end.

    >>> scheduler = FrontAsha(grace_epochs=1, reduction=2, max_epochs=8)
    >>> losses = {"a": (0.5, 9.0), "b": (0.6, 9.5), "c": (0.7, 1.0), "d": (0.4, 0.5)}
    >>> [scheduler.observe(key, 1, pair) for key, pair in losses.items()]
    [True, False, True, True]

    Args:
        grace_epochs: Epoch of the first rung.
        reduction: Ratio between rungs, and between the trials that reach a rung and those that pass it.
        max_epochs: Last epoch of a trial, which has no rung.

    Reference:
        Schmucker et al. 2021, Multi-objective Asynchronous Successive Halving, arXiv 2106.12639.
    """

    def __init__(self, *, grace_epochs: int, reduction: int, max_epochs: int) -> None:
        self._reduction = reduction
        self._max_epochs = max_epochs
        self.rungs: dict[int, Fronts] = {}
        rung = grace_epochs
        while rung < max_epochs:
            self.rungs[rung] = Fronts()
            rung *= reduction
        self._seen: set[tuple[str, int]] = set()

    def observe(self, key: str, epoch: int, losses: Sequence[float]) -> bool:
        """Record an epoch and return whether the trial continues.

        Args:
            key: Key of the trial.
            epoch: Number of the epoch, from 1.
            losses: The objectives, those to be maximised negated; the trial continues where one is NaN.
        """
        rung = max((rung for rung in self.rungs if rung <= epoch), default=None)
        if rung is None or epoch >= self._max_epochs or (key, rung) in self._seen or any(map(math.isnan, losses)):
            return True
        self._seen.add((key, rung))
        fronts = self.rungs[rung]
        rank = fronts.insert(np.array(losses))
        return sum(fronts.sizes[:rank]) < max(1, sum(fronts.sizes) // self._reduction)
