"""What a sampler sees of trials that have trained for different numbers of epochs.

Imports optuna, so import this module inside functions.
"""

from __future__ import annotations

import bisect
import copy
import functools
from collections.abc import Callable, Container, Sequence

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class Memory(InMemoryStorage):
    """Optuna's study in memory, of which the sampler sees another picture than is stored.

    Args:
        see: Returns the trials as the sampler sees them: as many, in the same order. It must not change its argument.
    """

    def __init__(self, see: Callable[[list[FrozenTrial]], list[FrozenTrial]]) -> None:
        super().__init__()
        self._see = see

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials as the sampler sees them."""
        if states == (TrialState.WAITING,):  # enqueued points; Optuna answers this in constant time
            return super().get_all_trials(study_id, deepcopy, states)
        seen = self._see(super().get_all_trials(study_id, deepcopy=False))
        kept = [trial for trial in seen if states is None or trial.state in states]
        return copy.deepcopy(kept) if deepcopy else kept


def make_storage(
    *, rungs: Sequence[int], num_needed: int, counts_unfinished: bool, completes_stopped: bool
) -> InMemoryStorage:
    """Return the memory for Optuna's study of a sweep.

    Args:
        rungs: Epochs at which trials are compared, ascending; empty to let them count by their last values.
        num_needed: Number of trials that are enough for a rung.
        counts_unfinished: Whether unfinished trials count by their epochs so far.
        completes_stopped: Whether stopped trials count as COMPLETE.
    """
    if not counts_unfinished:
        return InMemoryStorage()
    if rungs:
        return Memory(functools.partial(at_rung, rungs=rungs, num_needed=num_needed))
    state = TrialState.COMPLETE if completes_stopped else TrialState.PRUNED
    return Memory(functools.partial(by_last_value, state=state))


def by_last_value(trials: Sequence[FrozenTrial], *, state: TrialState = TrialState.PRUNED) -> list[FrozenTrial]:
    """Let unfinished trials count by their curves so far, as stopped ones do.

    Args:
        trials: The trials.
        state: State of a stopped trial.
    """
    return [
        _as(trial, state, trial.intermediate_values[max(trial.intermediate_values)])
        if trial.state is TrialState.RUNNING and trial.intermediate_values
        else trial
        for trial in trials
    ]


def at_rung(trials: Sequence[FrozenTrial], *, rungs: Sequence[int], num_needed: int) -> list[FrozenTrial]:
    """Let trials count by their values at one rung, the highest that enough trials have reached.

    So trials of different outcomes are compared at the same epoch. All others, which are unfinished or were stopped
    before that rung, count as running: for TPE they are bad points, if it has the constant liar. Failed and infeasible
    trials are left as they are.

    Args:
        trials: The trials, with their curves.
        rungs: Epochs, ascending. A trial's value at a rung is that of its first validated epoch from there on.
        num_needed: Number of trials that are enough; if no rung has so many, the first rung is taken.

    Reference: Falkner et al. 2018, BOHB: Robust and Efficient Hyperparameter Optimization at Scale (section 3.2).
    """
    values = [_values_at(trial, rungs) for trial in trials]
    counts = [sum(len(item) > place for item in values) for place in range(len(rungs))]
    chosen = next((place for place in reversed(range(len(rungs))) if counts[place] >= num_needed), 0)
    return [
        _as(trial, TrialState.COMPLETE, item[chosen])
        if len(item) > chosen
        else _as(trial, TrialState.RUNNING, None)
        if _is_compared(trial)
        else trial
        for trial, item in zip(trials, values, strict=True)
    ]


def _is_compared(trial: FrozenTrial) -> bool:
    return trial.state in {TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED} and not any(
        excess > 0 for excess in trial.constraints.values()
    )


def _values_at(trial: FrozenTrial, rungs: Sequence[int]) -> list[float]:
    """Return the values of a trial at the rungs that it has reached."""
    if not trial.intermediate_values or not _is_compared(trial):
        return []
    epochs = sorted(trial.intermediate_values)
    places = [bisect.bisect_left(epochs, rung) for rung in rungs if rung <= epochs[-1]]
    return [trial.intermediate_values[epochs[place]] for place in places]


def _as(trial: FrozenTrial, state: TrialState, value: float | None) -> FrozenTrial:
    seen = copy.copy(trial)
    seen.state, seen.value = state, value
    return seen
