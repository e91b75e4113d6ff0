"""Learning curves of every point of a small space: the table on which search methods are compared without training.

`python -m bench.search_table digits` trains what the table lacks, a point and a seed at a time, and appends one line
per training to `bench/search_table/digits.jsonl`; a diverged training has fewer epochs than the others. It may be
stopped at any time; the next run continues.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from search.data.store import default_cache_dir, open_data
from search.errors import DivergedError
from search.seeds import make_block
from search.study.bind import bind, load_facts
from search.study.load import load_study
from search.training.loop import train

FOLDER = Path(__file__).with_name("search_table")
NUM_SEEDS = 2
"""Trainings of every point: a method sees one and is judged on the other."""
NUM_BEST, NUM_MORE = 40, 8
"""The points of the highest mean get this many trainings more, so that the best one is known well."""

Row = dict[str, Any]


def read_table(path: Path) -> list[Row]:
    """Read the trainings recorded so far; a last line that was cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def missing(rows: list[Row], num_points: int) -> Iterator[tuple[int, int]]:
    """List the trainings that a table lacks, as (point, seed): all points first, then more seeds of the best."""
    there = {(row["point"], row["seed"]) for row in rows}
    todo = [(point, seed) for seed in range(NUM_SEEDS) for point in range(num_points)]
    if not set(todo) - there:
        best = best_points(rows)
        todo += [(point, seed) for point in best for seed in range(NUM_SEEDS, NUM_SEEDS + NUM_MORE)]
    yield from (item for item in todo if item not in there)


def best_points(rows: list[Row]) -> list[int]:
    """Rank the points by the mean of their first seeds' last validation accuracy, and keep the highest."""
    scores: dict[int, list[float]] = {}
    for row in rows:
        if row["seed"] < NUM_SEEDS:
            scores.setdefault(row["point"], []).append(row["val_accuracy"][-1] if row["val_accuracy"] else 0.0)
    return sorted(scores, key=lambda point: (-sum(scores[point]) / len(scores[point]), point))[:NUM_BEST]


def pick(todo: list[tuple[int, int]], *, from_end: bool) -> tuple[int, int]:
    """Choose the next training: of the lowest seed, in a random but fixed order or in the reverse of it."""
    same_seed = [item for item in todo if item[1] == todo[0][1]]
    choose = max if from_end else min
    return choose(same_seed, key=lambda item: random.Random(str(item)).random())


def record(name: str, *, root: str | None, minutes: float, from_end: bool) -> None:
    """Train what the table lacks, in a random but fixed order within each seed, until the time is over."""
    overrides = [f"data.root={root}"] if root else []
    study = load_study(FOLDER / f"{name}.yaml", overrides)
    space = study.build_space()
    points, free = list(space.enumerate()), set(space.free)
    facts, data = load_facts(study), open_data(study.data, default_cache_dir())
    torch.set_num_threads(1)
    path = FOLDER / f"{name}.jsonl"
    end = time.monotonic() + 60 * minutes
    while (todo := list(missing(read_table(path), len(points)))) and time.monotonic() < end:
        index, seed = pick(todo, from_end=from_end)
        spec = bind(study, points[index], facts, (make_block(study.seed, "sweep", seed),))
        row: Row = {"point": index, "seed": seed, "val_accuracy": [], "val_loss": [], "train_loss": [], "secs": []}
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DivergedError):
            for progress in train(spec, data, Path(folder), device="cpu"):
                if progress is None:
                    continue
                row["val_accuracy"].append(round(progress.metrics.val_accuracy or 0.0, 6))
                row["val_loss"].append(round(progress.metrics.val_loss or 0.0, 6))
                row["train_loss"].append(round(progress.metrics.train_loss, 6))
                row["secs"].append(round(progress.metrics.elapsed_secs, 4))
        row["params"] = {key: value for key, value in points[index].items() if key in free}
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, separators=(",", ":")) + "\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=sorted(path.stem for path in FOLDER.glob("*.yaml")))
    parser.add_argument("--root", help="where the images lie, for tables of a data set that is not embedded")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--from-end", action="store_true", help="for a second process beside the first")
    asked = parser.parse_args()
    record(asked.table, root=asked.root, minutes=asked.minutes, from_end=asked.from_end)


if __name__ == "__main__":
    main()
