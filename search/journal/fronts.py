"""Pareto fronts of trials under several objectives: front, knee, order and hypervolume. Pure functions.

Shapes: N trials, K objectives. All functions take losses: of each objective, lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.journal.measures import Direction, value_of
from search.records import Completed, TrialRecord

Losses = NDArray[np.float64]
MOST_AT_ONCE = 500
"""Number of points up to which all pairs are compared at once."""


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


class Fronts:
    """Points sorted into fronts: rank 0 for those that no other dominates, 1 for those that are so without the former.

    >>> fronts = Fronts()
    >>> [fronts.insert(np.array(row)) for row in ([1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [0.0, 0.0])]
    [0, 0, 1, 0]
    >>> fronts.sizes
    [1, 2, 1]

    Reference:
        Buzdalov et al. 2015, Various degrees of steadiness in NSGA-II and their influence on the quality of results
        (incremental sorting).
    """

    def __init__(self) -> None:
        self._fronts: list[Losses] = []

    @property
    def sizes(self) -> list[int]:
        """Number of points of each rank."""
        return [len(front) for front in self._fronts]

    def insert(self, losses_K: Losses) -> int:
        """Add a point and return its rank. Points that it dominates fall to later fronts."""
        rank = next(
            (rank for rank, front_NK in enumerate(self._fronts) if not _dominate(front_NK, losses_K).any()),
            len(self._fronts),
        )
        fallen_NK, place = losses_K[None], rank
        while len(fallen_NK):
            if place == len(self._fronts):
                self._fronts.append(fallen_NK)
                break
            front_NK = self._fronts[place]
            falls_N = np.zeros(len(front_NK), dtype=bool)
            for row_K in fallen_NK:
                falls_N |= _is_dominated(front_NK, row_K)
            self._fronts[place] = np.concatenate([front_NK[~falls_N], fallen_NK])
            fallen_NK, place = front_NK[falls_N], place + 1
        return rank


def _dominate(losses_NK: Losses, losses_K: Losses) -> NDArray[np.bool_]:
    """Return which rows dominate a point: nowhere worse, and somewhere better."""
    return np.asarray((losses_NK <= losses_K).all(axis=1) & (losses_NK < losses_K).any(axis=1))


def _is_dominated(losses_NK: Losses, losses_K: Losses) -> NDArray[np.bool_]:
    """Return which rows a point dominates."""
    return np.asarray((losses_NK >= losses_K).all(axis=1) & (losses_NK > losses_K).any(axis=1))


def front_rows(losses_NK: Losses) -> NDArray[np.int64]:
    """Return the rows that no other dominates, in order.

    >>> front_rows(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])).tolist()
    [0, 1]
    """
    kept: list[int] = []
    for row in np.lexsort(losses_NK.T[::-1]):  # a row is dominated by earlier ones only
        if not _dominate(losses_NK[kept], losses_NK[row]).any():
            kept.append(int(row))
    return np.array(sorted(kept), dtype=np.int64)


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
        distances_N[order[:1]] = distances_N[order[-1:]] = math.inf
    return distances_N


def spread_order(losses_NK: Losses) -> list[int]:
    """Return the rows of a front by their distance to their neighbours, the largest first: its ends, then the rest."""
    distances_N = crowding(losses_NK)
    return sorted(range(len(losses_NK)), key=lambda row: (-distances_N[row], row))


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
    if inside.shape[1] == 2:
        inside = inside[np.argsort(inside[:, 0], kind="stable")]
        steps = np.minimum.accumulate(inside[:, 1])
        heights = np.append(reference_K[1], steps[:-1]) - steps
        return float(((reference_K[0] - inside[:, 0]) * heights).sum())
    # From the worst value of the last objective on, a point adds a slab to the points that are better in it.
    inside = _undominated(inside)
    inside = inside[np.argsort(-inside[:, -1], kind="stable")]
    depths = reference_K[-1] - inside[:, -1]
    return sum(
        float(depths[place]) * _gain(inside[place, :-1], inside[place + 1 :, :-1], reference_K[:-1])
        for place in range(len(inside))
    )


def _gain(losses_K: Losses, others_NK: Losses, reference_K: Losses) -> float:
    """Return by how much a point increases the hypervolume of others.

    Reference:
        While et al. 2012, A fast way of calculating exact hypervolumes (exclusive hypervolume by limiting).
    """
    whole = float(np.prod(np.maximum(reference_K - losses_K, 0.0)))
    return max(0.0, whole - hypervolume(np.maximum(others_NK, losses_K), reference_K)) if whole > 0 else 0.0


def _undominated(losses_NK: Losses) -> Losses:
    """Return the rows that no other dominates, each once."""
    rows_NK = np.unique(losses_NK, axis=0)
    if len(rows_NK) > MOST_AT_ONCE:
        return rows_NK[front_rows(rows_NK)]
    beats_NN = (rows_NK[:, None] <= rows_NK).all(axis=2)
    return np.asarray(rows_NK[beats_NN.sum(axis=0) == 1])  # itself


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
    on_front = front_rows(losses_NK)
    order = (knee_order if choose == "knee" else spread_order)(losses_NK[on_front])
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
    """(trial number, hypervolume of the completed trials up to it), as a share of the box between the reference point
    and the ideal: 1 for each score, 0 for each loss and cost. It never falls. Empty if unknown."""


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
        num_startup: Where a measure has no limit, its worst value among the first so many trials is the reference,
            once they have ended; 0 for no hypervolume.

    Returns:
        The front; trials that lack a measure do not count.
    """
    done = sorted((record for record in trials if isinstance(record.outcome, Completed)), key=lambda item: item.number)
    rows = [(record, losses_of(record, objectives)) for record in done]
    rows = [(record, losses) for record, losses in rows if not any(map(math.isnan, losses))]
    if not rows:
        return Front(objectives=objectives, trials=(), knee=None, reference=None, hypervolumes=())
    losses_NK = np.array([losses for _, losses in rows])
    on_front = front_rows(losses_NK)
    best = sorted((rows[row][0] for row in on_front), key=lambda item: (-(item.val_accuracy or 0.0), item.number))
    reference_K = _reference(trials, objectives, limits, num_startup)
    numbers = [record.number for record, _ in rows]
    signs = np.array([-1 if direction == "max" else 1 for direction in objectives.values()])
    ideal_K = np.minimum(signs, 0.0)  # no score is above 1, and no cost or loss below 0
    return Front(
        objectives=objectives,
        trials=tuple(best),
        knee=rows[on_front[knee_order(losses_NK[on_front])[0]]][0],
        reference=None if reference_K is None else tuple((signs * reference_K).tolist()),
        hypervolumes=()
        if reference_K is None
        else tuple(zip(numbers, _shares(losses_NK, reference_K, ideal_K), strict=True)),
    )


def _reference(
    trials: Sequence[TrialRecord], objectives: Mapping[str, Direction], limits: Mapping[str, float], num_startup: int
) -> Losses | None:
    """Return the reference point of the hypervolume, which does not move; None while it is not known."""
    rows_NK = np.full((1, len(objectives)), math.nan)
    first = sorted(trials, key=lambda record: record.number)[:num_startup]
    if num_startup and len(first) == num_startup and all(record.outcome is not None for record in first):
        rows_NK = np.array([losses_of(record, objectives) for record in first])
    reference_K = np.fmax.reduce(rows_NK, axis=0)  # of the known values
    for place, (name, direction) in enumerate(objectives.items()):
        if name in limits:
            reference_K[place] = limits[name] if direction == "min" else -limits[name]
    return None if np.isnan(reference_K).any() else reference_K


def num_startup_of(marks: Iterable[Mapping[str, Any]], *, default: int) -> int:
    """Return `num_startup` of a sweep as its first start recorded it: `search.trials` may grow afterwards.

    Args:
        marks: Events of the journal.
        default: The number if none is recorded, as by earlier versions.
    """
    recorded = (mark["num_startup"] for mark in marks if mark["event"] == "session" and mark.get("num_startup"))
    return int(next(recorded, default))


def _shares(losses_NK: Losses, reference_K: Losses, ideal_K: Losses) -> list[float]:
    """Return which share of the box between the reference and the ideal the points up to each one dominate."""
    box = float(np.prod(np.maximum(reference_K - ideal_K, 0.0)))
    shares, volume, front_NK = [], 0.0, losses_NK[:0]
    for losses_K in losses_NK:
        if box > 0 and not _dominate(front_NK, losses_K).any():  # else the volume stays
            volume += _gain(losses_K, front_NK, reference_K) / box
            front_NK = np.concatenate([front_NK[~_is_dominated(front_NK, losses_K)], losses_K[None]])
        shares.append(volume)
    return shares
