"""Pareto fronts of trials under several objectives: front, knee, order and hypervolume. Pure functions.

Shapes: N trials, K objectives. All functions take losses: of each objective, lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.journal.measures import Direction, value_of
from search.records import Completed, TrialRecord

Losses = NDArray[np.float64]


def losses_of(record: TrialRecord, objectives: Mapping[str, Direction]) -> list[float]:
    """Return the objectives of a trial, those to be maximised negated.

    Args:
        record: The trial.
        objectives: Measure -> direction.

    Returns:
        K numbers; NaN where a measure is not known.
    """
    values = [value_of(record, name) for name in objectives]
    signs = [-1 if direction == "max" else 1 for direction in objectives.values()]
    return [math.nan if value is None else sign * float(value) for sign, value in zip(signs, values, strict=True)]


def dominates(losses_NK: Losses) -> NDArray[np.bool_]:
    """Return which row dominates which: it is nowhere worse, and somewhere better.

    Returns:
        Entry (i, j) is whether row i dominates row j, shape (N, N).
    """
    one, other = losses_NK[:, None], losses_NK[None]
    return np.asarray((one <= other).all(axis=2) & (one < other).any(axis=2))


def front_ranks(losses_NK: Losses) -> NDArray[np.int64]:
    """Return the rank of each row: 0 for those that no row dominates, 1 for those that are so without the former, ...

    >>> front_ranks(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [3.0, 3.0]])).tolist()
    [0, 0, 1, 2]
    """
    beats_NN = dominates(losses_NK)
    ranks_N = np.full(len(losses_NK), -1, dtype=np.int64)
    rank = 0
    while (left := ranks_N < 0).any():
        ranks_N[left & ~beats_NN[left].any(axis=0)] = rank
        rank += 1
    return ranks_N


def crowding(losses_NK: Losses) -> Losses:
    """Return the distance of each row of a front to its neighbours, summed over the objectives; infinite at the ends.

    Reference:
        Deb et al. 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II, section III B.
    """
    distances_N = np.zeros(len(losses_NK))
    for values in losses_NK.T:
        order = np.argsort(values, kind="stable")
        spread = values[order[-1]] - values[order[0]] if len(order) else 0.0
        if spread > 0:
            distances_N[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / spread
        distances_N[order[[0, -1]]] = math.inf
    return distances_N


def front_order(losses_NK: Losses) -> list[int]:
    """Return the rows from best to worst: by rank, then by distance to their neighbours, then by place."""
    if not len(losses_NK):
        return []
    ranks_N, distances_N = front_ranks(losses_NK), np.zeros(len(losses_NK))
    for rank in range(int(ranks_N.max()) + 1):
        distances_N[ranks_N == rank] = crowding(losses_NK[ranks_N == rank])
    return sorted(range(len(losses_NK)), key=lambda row: (ranks_N[row], -distances_N[row], row))


def knee_order(losses_NK: Losses) -> list[int]:
    """Return the rows of a front by their distance to the ideal point, nearest first; each objective spans 0 to 1.

    >>> knee_order(np.array([[0.0, 1.0], [0.2, 0.2], [1.0, 0.0]]))
    [1, 0, 2]
    """
    if not len(losses_NK):
        return []
    low, high = losses_NK.min(axis=0), losses_NK.max(axis=0)
    scaled_NK = (losses_NK - low) / np.where(high > low, high - low, 1.0)
    distances_N = np.sqrt((scaled_NK**2).sum(axis=1))
    return sorted(range(len(losses_NK)), key=lambda row: (distances_N[row], row))


def hypervolume(losses_NK: Losses, reference_K: Losses) -> float:
    """Return the volume between a set of points and a reference point that they dominate.

    >>> hypervolume(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([2.0, 2.0]))
    3.0

    Args:
        losses_NK: Points; those that are not better than the reference in every objective count nothing.
        reference_K: The reference point.

    Returns:
        The volume, in the product of the objectives' units.
    """
    inside = losses_NK[(losses_NK < reference_K).all(axis=1)]
    if not len(inside):
        return 0.0
    if inside.shape[1] == 1:
        return float(reference_K[0] - inside.min())
    # Slices along the last objective: between two of its values, the points below the slice span a smaller problem.
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    edges = np.append(inside[:, -1], reference_K[-1])
    heights = np.diff(edges)
    return sum(
        float(heights[place]) * hypervolume(inside[: place + 1, :-1], reference_K[:-1])
        for place in np.flatnonzero(heights > 0)
    )


def choose_from_front(
    ranked: Sequence[TrialRecord], objectives: Mapping[str, Direction], choose: str
) -> list[TrialRecord]:
    """Return a sweep's nominated trials in the order in which they become finalists.

    Args:
        ranked: The trials by accuracy, as `search.journal.summary.nominees` returns them.
        objectives: Measure -> direction.
        choose: `accuracy` keeps the order; `knee` begins with the Pareto front from its knee on, `front` with the
            trials of the front that are farthest from each other, its ends first.

    Returns:
        All trials; those that are not on the front follow by accuracy.
    """
    done = [record for record in ranked if isinstance(record.outcome, Completed)]
    rows = [losses_of(record, objectives) for record in done]
    known = [place for place, losses in enumerate(rows) if not any(map(math.isnan, losses))]
    if choose == "accuracy" or not known:
        return list(ranked)
    losses_NK = np.array([rows[place] for place in known])
    on_front = np.flatnonzero(front_ranks(losses_NK) == 0)
    order = (knee_order if choose == "knee" else front_order)(losses_NK[on_front])
    first = [done[known[on_front[place]]] for place in order]
    return [*first, *(record for record in ranked if record not in first)]


@dataclass(frozen=True, kw_only=True)
class Front:
    """The Pareto front of a sweep."""

    objectives: Mapping[str, Direction]
    trials: tuple[TrialRecord, ...]
    """Completed trials that no other one dominates, by validation accuracy, highest first."""
    knee: TrialRecord | None
    """The trial of the front nearest to the ideal point; None without trials."""
    reference: tuple[float, ...] | None
    """Reference point of the hypervolume, in the measures' own units; None while it is not known."""
    hypervolumes: tuple[tuple[int, float], ...]
    """(trial number, hypervolume of the completed trials up to it), in units of the reference box; empty if unknown."""


def front_of(
    trials: Sequence[TrialRecord],
    objectives: Mapping[str, Direction],
    limits: Mapping[str, float],
    *,
    num_startup: int,
) -> Front:
    """Return the Pareto front of a sweep's completed trials.

    Args:
        trials: All trials.
        objectives: Measure -> direction.
        limits: Measure -> largest allowed value.
        num_startup: Where a measure has no limit, its worst value among the first so many trials is the reference.

    Returns:
        The front; trials that lack a measure do not count.
    """
    done = sorted((record for record in trials if isinstance(record.outcome, Completed)), key=lambda item: item.number)
    rows = [(record, losses_of(record, objectives)) for record in done]
    rows = [(record, losses) for record, losses in rows if not any(map(math.isnan, losses))]
    if not rows:
        return Front(objectives=objectives, trials=(), knee=None, reference=None, hypervolumes=())
    losses_NK = np.array([losses for _, losses in rows])
    on_front = np.flatnonzero(front_ranks(losses_NK) == 0)
    best = sorted((rows[row][0] for row in on_front), key=lambda item: (-(item.val_accuracy or 0.0), item.number))
    reference_K = losses_NK[:num_startup].max(axis=0)
    for place, (name, direction) in enumerate(objectives.items()):
        if name in limits:
            reference_K[place] = limits[name] if direction == "min" else -limits[name]
    ideal_K = losses_NK.min(axis=0)
    box = float(np.prod(reference_K - ideal_K))
    volumes = [
        (record.number, hypervolume(losses_NK[: place + 1], reference_K) / box if box > 0 else 0.0)
        for place, (record, _) in enumerate(rows)
    ]
    signs = np.array([-1 if direction == "max" else 1 for direction in objectives.values()])
    return Front(
        objectives=objectives,
        trials=tuple(best),
        knee=rows[on_front[knee_order(losses_NK[on_front])[0]]][0],
        reference=tuple((signs * reference_K).tolist()),
        hypervolumes=tuple(volumes),
    )
