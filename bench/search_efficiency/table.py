"""The table of recorded trainings. Imports the standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

FOLDER = Path(__file__).parents[1] / "search_table"
COST_KEYS = ("enc_on", "enc_code", "rnn", "nodes", "layout")
"""Parameters on which the time of an epoch depends; the others change only values inside the same operations."""
NUM_CHOSEN = 2
"""Seeds that every point has: a method sees one of them."""

Params = dict[str, Any]


@dataclass(kw_only=True)
class Table:
    """Learning curves of every point of a finite space.

    Attributes:
        points: Parameters of each point.
        curves: (point, seed) -> validation accuracy by epoch; a diverged training has fewer epochs.
        secs: Seconds per epoch of each point: the tenth percentile over the recorded epochs of all points that cost the
            same, because other processes may have slowed down the rest.
        num_epochs: Epochs of a whole training.
    """

    points: dict[int, Params]
    curves: dict[tuple[int, int], list[float]]
    secs: dict[int, float]
    num_epochs: int
    _index: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Table:
        """Read a table; points that lack one of the first seeds are left out.

        Raises:
            ValueError: No point has them all.
        """
        text = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        seeds: dict[int, set[int]] = {}
        for row in rows:
            seeds.setdefault(row["point"], set()).add(row["seed"])
        whole = {point for point, there in seeds.items() if set(range(NUM_CHOSEN)) <= there}
        if not whole:
            raise ValueError(
                f"{name}: no point has {NUM_CHOSEN} trainings yet; record them: python -m bench.search_table"
            )
        rows = [row for row in rows if row["point"] in whole]
        costs: dict[str, list[float]] = {}
        for row in rows:
            if row["seed"] < NUM_CHOSEN:  # so that simulated sweeps stay valid when the best points are trained more
                costs.setdefault(_cost_key(row["params"]), []).extend(row["secs"])
        table = cls(
            points={row["point"]: row["params"] for row in rows},
            curves={(row["point"], row["seed"]): row["val_accuracy"] for row in rows},
            secs={row["point"]: _quick(costs[_cost_key(row["params"])]) for row in rows},
            num_epochs=max(len(row["val_accuracy"]) for row in rows),
        )
        table._index = {_key(params): point for point, params in table.points.items()}
        return table

    def find(self, params: Params) -> int:
        """Return the point with these parameters; those that are inactive may be given or not.

        Raises:
            KeyError: The table has no such point.
        """
        return self._index[_key(active(params))]

    def has(self, params: Params) -> bool:
        """Return whether the table has a point with these parameters."""
        return _key(active(params)) in self._index

    def last(self, point: int, seed: int) -> float:
        """Return the validation accuracy at the end of a training; 0 if it diverged."""
        curve = self.curves[point, seed]
        return curve[-1] if len(curve) == self.num_epochs else 0.0

    def truth(self, seen: int) -> dict[int, float]:
        """Return the mean validation accuracy of each point over all trainings but the one that a method sees."""
        values: dict[int, list[float]] = {}
        for point, seed in self.curves:
            if seed != seen:
                values.setdefault(point, []).append(self.last(point, seed))
        return {point: fmean(items) for point, items in values.items()}

    def best(self, seen: int) -> float:
        """Return the highest mean among the points with the most trainings, of which chance selects least."""
        counts: dict[int, int] = {}
        for point, _ in self.curves:
            counts[point] = counts.get(point, 0) + 1
        truth = self.truth(seen)
        return max(truth[point] for point, count in counts.items() if count == max(counts.values()))

    @property
    def mean_secs(self) -> float:
        """Seconds of a whole training, averaged over the points."""
        return self.num_epochs * fmean(self.secs.values())

    def choices(self) -> dict[str, list[Any]]:
        """Return the values of each parameter, in order."""
        found: dict[str, set[Any]] = {}
        for params in self.points.values():
            for name, value in params.items():
                found.setdefault(name, set()).add(value)
        return {name: sorted(values) for name, values in found.items()}


def active(params: Params) -> Params:
    """Leave out the parameters that are inactive at a point of the tables' spaces."""
    left = {name: value for name, value in params.items() if value is not None}
    if not left["enc_on"]:
        left.pop("enc_code", None)
    if left["rnn"] == "none":
        for name in ("nodes", "layout", "readout"):
            left.pop(name, None)
    return left


def _quick(secs: list[float]) -> float:
    return sorted(secs)[len(secs) // 10]


def _key(params: Params) -> str:
    return json.dumps(params, sort_keys=True)


def _cost_key(params: Params) -> str:
    return _key({name: params.get(name) for name in COST_KEYS})
