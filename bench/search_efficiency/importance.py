"""What mattered in simulated sweeps, beside what matters in the whole table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from bench.search_efficiency.clock import simulate
from bench.search_efficiency.ours import Ours, free_values, metrics
from bench.search_efficiency.table import NUM_CHOSEN, Params, Table
from search.journal.importance import Importance, what_mattered
from search.records import Completed, EpochMetrics, Failed, Outcome, TrialRecord
from spaces.point import Point
from spaces.space import Space

NUM_TRIALS = 100
"""Trials of each sweep."""
NUM_SWEEPS = 10
NUM_WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The importances of a table's parameters, and those that sweeps of our default find.

    Attributes:
        main_effects: Share of the variance of the mean accuracy that lies between the values of each parameter that
            every point has.
        whole: What our measures say of all points.
        sweeps: What they say of each sweep.
    """

    main_effects: Mapping[str, float]
    whole: Importance
    sweeps: Sequence[Importance]


def compare(table: Table, name: str) -> Comparison:
    """Compute the importances of the whole table and of some sweeps on it."""
    sweeps = []
    for seed in range(NUM_SWEEPS):
        method = Ours(table, name, {"trials": NUM_TRIALS}, seed)
        simulate(table, seed % NUM_CHOSEN, method, NUM_WORKERS)
        points = _points(table, method.space)
        records = [
            record_of(number, points[method.points[number]], method.curves[number], outcome)
            for number, outcome in sorted(method.outcomes.items())
        ]
        sweeps.append(what_mattered(records, method.space))
    space = Ours(table, name, {}, 0).space
    points = _points(table, space)
    whole = [record_of(point, points[point], *_mean_training(table, point)) for point in sorted(table.points)]
    means = {point: fmean(table.last(point, seed) for seed in range(NUM_CHOSEN)) for point in table.points}
    return Comparison(main_effects=main_effects(table.points, means), whole=what_mattered(whole, space), sweeps=sweeps)


def _points(table: Table, space: Space) -> dict[int, Point]:
    found = {}
    for point in space.enumerate():
        if table.has(params := free_values(space, point)):
            found[table.find(params)] = point
    return found


def _mean_training(table: Table, point: int) -> tuple[list[EpochMetrics], Outcome]:
    """Return the mean curve of a point's first trainings; if one diverged, the epochs before."""
    curves = [table.curves[point, seed] for seed in range(NUM_CHOSEN)]
    mean = [metrics(epoch, fmean(values)) for epoch, values in enumerate(zip(*curves, strict=False), start=1)]
    return mean, Completed() if len(mean) == table.num_epochs else Failed(reason="diverged", diverged=True)


def main_effects(points: Mapping[int, Params], scores: Mapping[int, float]) -> dict[str, float]:
    """Return the share of the scores' variance that lies between the values of each parameter, highest first.

    Args:
        points: Parameters of each point. Those that not all points have are left out.
        scores: Score of each point.
    """
    values_N = np.array([scores[point] for point in points])
    shares = {}
    for name in set.intersection(*(set(params) for params in points.values())):
        own_N = np.array([repr(params[name]) for params in points.values()])
        means = {value: values_N[own_N == value].mean() for value in set(own_N)}
        shares[name] = float(np.var([means[value] for value in own_N]) / np.var(values_N))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def record_of(number: int, point: Point, curve: Sequence[EpochMetrics], outcome: Outcome) -> TrialRecord:
    """Return the record of a trial as a sweep writes it."""
    return TrialRecord(
        key=f"p{number}",
        number=number,
        label="",
        kind="trial",
        point=dict(point),
        blocks=("sweep-0",),
        curve=tuple(curve),
        outcome=outcome,
        started_at=0.0,
        finished_at=1.0,
        node="",
    )
