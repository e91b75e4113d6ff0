"""Two objectives and a limit: high accuracy with few parameters, on the same recorded trainings.

The number of parameters of a point is computed from its settings, without training.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import optuna

from bench.search_efficiency.__main__ import RESULTS, append_result, read_results
from bench.search_efficiency.clock import Decision, Job, Method, simulate
from bench.search_efficiency.judged import NUM_TIMES
from bench.search_efficiency.ours import Ours, free_values
from bench.search_efficiency.table import FOLDER, NUM_CHOSEN, Table
from bench.search_efficiency.with_optuna import define_by_run
from search.journal.fronts import front_rows, hypervolume
from search.study.bind import bind, load_facts
from search.study.goals import COUNTS
from search.study.load import load_study

NUM_WORKERS = 4
LIMIT_AT = 0.5
"""The limit lets this fraction of the points pass."""
OURS: dict[str, dict[str, Any]] = {
    "tpe + asha": {"sampler": "tpe", "scheduler": "asha"},
    "tpe + none": {"sampler": "tpe", "scheduler": "none"},
    "nsga2 + none": {"sampler": "nsga2", "scheduler": "none"},
    "random + asha": {"sampler": "random", "scheduler": "asha"},
}
"""Our methods -> fields of `search:` beside the objectives and the limit."""
NSGA2, TPE = "Optuna: NSGA-II", "Optuna: multi-objective TPE"


def count_parameters(table: Table, name: str) -> dict[int, int]:
    """Return the number of parameters of the model of each point."""
    study = load_study(FOLDER / f"{name}.yaml")
    facts, space = load_facts(study), study.build_space()
    counts = {}
    for point in space.enumerate():
        if table.has(params := free_values(space, point)):
            counts[table.find(params)] = COUNTS["num_parameters"](bind(study, point, facts, ()).model)
    return counts


def limit_of(counts: Mapping[int, int]) -> int:
    """Return the largest number of parameters that is allowed."""
    return sorted(counts.values())[round(LIMIT_AT * len(counts))]


class OptunaGoals:
    """A sampler of Optuna with two objectives. It has no pruner, as Optuna's pruners take one objective.

    A point above the limit is not trained and costs no time; the sampler receives the excess as a constraint.

    Args:
        table: The recorded trainings.
        sampler: The sampler.
        counts: Point -> number of parameters.
    """

    def __init__(self, table: Table, sampler: optuna.samplers.BaseSampler, counts: Mapping[int, int]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._table = table
        self._counts = counts
        self._limit = limit_of(counts)
        self._draw = define_by_run(table.choices())
        self._study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        self._trials: dict[Hashable, tuple[optuna.Trial, int]] = {}

    def next(self) -> Job:
        """Propose a point within the limit."""
        while True:
            trial = self._study.ask()
            point = self._table.find(self._draw(trial))
            count = self._counts[point]
            trial.set_constraint("num_parameters", count - self._limit)
            if count <= self._limit:
                self._trials[trial.number] = trial, point
                return Job(trial=trial.number, point=point)
            self._study.tell(trial, [0.0, count])

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        """Tell the values after the last epoch."""
        one, point = self._trials[trial]
        if epoch == self._table.num_epochs:
            self._study.tell(one, [value, self._counts[point]])
        return "continue"

    def fail(self, trial: Hashable) -> None:
        """Tell it as failed."""
        self._study.tell(self._trials[trial][0], state=optuna.trial.TrialState.FAIL)


Maker = Callable[[Table, str, Mapping[int, int], int], Method]


def _ours(search: Mapping[str, Any]) -> Maker:
    def make(table: Table, name: str, counts: Mapping[int, int], seed: int) -> Method:
        goals = {
            "objectives": "{val_accuracy: max, num_parameters: min}",
            "limits": f"{{num_parameters: {limit_of(counts)}}}",
        }
        return Ours(table, name, {**search, **goals}, seed, counts)

    return make


def _nsga2(table: Table, name: str, counts: Mapping[int, int], seed: int) -> Method:  # noqa: ARG001
    return OptunaGoals(table, optuna.samplers.NSGAIISampler(seed=seed), counts)


def _tpe(table: Table, name: str, counts: Mapping[int, int], seed: int) -> Method:  # noqa: ARG001
    return OptunaGoals(table, optuna.samplers.TPESampler(seed=seed), counts)


METHODS: dict[str, tuple[str, Maker]] = {
    **{name: ("hybrid-search", _ours(search)) for name, search in OURS.items()},
    NSGA2: ("optuna", _nsga2),
    TPE: ("optuna", _tpe),
}
"""Name -> (package, function that makes the method)."""


def run_goals(name: str, *, num_seeds: int, minutes: float) -> None:
    """Simulate sweeps with two objectives and a limit.

    Args:
        name: Name of the table.
        num_seeds: Number of sweeps per method.
        minutes: Time of a method after which no further sweep of it begins.
    """
    table, path = Table.load(name), RESULTS / f"{name}-goals.jsonl"
    counts = count_parameters(table, name)
    there = {(row["method"], row["seed"]) for row in read_results(path, table)}
    spent = dict.fromkeys(METHODS, 0.0)
    for seed, method in itertools.product(range(num_seeds), METHODS):
        if (method, seed) in there or spent[method] > 60 * minutes:
            continue
        began = time.monotonic()
        package, make = METHODS[method]
        made = simulate(table, seed % NUM_CHOSEN, make(table, name, counts, seed), NUM_WORKERS)
        secs = time.monotonic() - began
        spent[method] += secs
        row = {
            "method": method,
            "version": f"{package} {version(package)}",
            "seed": seed,
            "points": len(table.points),
            "secs": round(secs, 2),
            "trials": made.num_trials,
            "whole": made.whole,
        }
        append_result(path, row)


def volumes(table: Table, seen: int, whole: Sequence[Sequence[float]], counts: Mapping[int, int]) -> list[float]:
    """Return the hypervolume of the Pareto front at `NUM_TIMES` moments, as a share of that of all points.

    The front is that of the accuracies that the method saw. Its points count with the mean of their other trainings.
    The reference point is the limit, and the median of these means among the points within it.

    Args:
        table: The recorded trainings.
        seen: The seed whose trainings the method saw.
        whole: (part of the whole time, point) of each trial that was trained to the end.
        counts: Point -> number of parameters.
    """
    truth, limit = table.truth(seen), limit_of(counts)
    allowed = [point for point in table.points if counts[point] <= limit]
    # One parameter more than the limit: a point at the limit is allowed.
    reference = np.array([-np.median([truth[point] for point in allowed]), limit + 1.0])

    def volume(points: Sequence[int]) -> float:
        return hypervolume(np.array([[-truth[point], counts[point]] for point in points], dtype=float), reference)

    best = volume(allowed)
    found = []
    for place in range(1, NUM_TIMES + 1):
        known = [int(point) for part, point in whole if part <= place / NUM_TIMES]
        known = [point for point in dict.fromkeys(known) if counts[point] <= limit]
        if not known:
            found.append(0.0)
            continue
        losses = np.array([[-table.last(point, seen), counts[point]] for point in known], dtype=float)
        found.append(volume([known[row] for row in front_rows(losses)]) / best)
    return found
