"""Simulate methods, and write the page.

`run METHOD ...` appends to `results/<table>.jsonl`, `goals` to `results/<table>-goals.jsonl`, one line per simulated
sweep. Sweeps that are there are left out, unless the table has got more points since. After a change of a method,
delete its lines. More trainings of the best points need no further simulation, as `page` judges the answers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

from bench.search_efficiency.clock import simulate
from bench.search_efficiency.methods import METHODS, version_of
from bench.search_efficiency.table import NUM_CHOSEN, Table

RESULTS = Path(__file__).with_name("results")
WORKERS = (4, 16)


def run(name: str, methods: list[str], *, num_seeds: int, minutes: float) -> None:
    """Simulate sweeps: half of the seeds see one training of each point, half the other.

    Args:
        name: Name of the table.
        methods: Names of the methods; empty for all whose packages are installed here.
        num_seeds: Number of sweeps per method and number of workers.
        minutes: Time of a method after which no further sweep of it begins.
    """
    table, path = Table.load(name), RESULTS / f"{name}.jsonl"
    there = {(row["method"], row["workers"], row["seed"]) for row in read_results(path, table)}
    spent = dict.fromkeys(methods or [name for name in METHODS if version_of(name)], 0.0)
    for seed, method, workers in itertools.product(range(num_seeds), spent, WORKERS):
        if (method, workers, seed) in there or spent[method] > 60 * minutes:
            continue
        began = time.monotonic()
        made = simulate(table, seed % NUM_CHOSEN, METHODS[method][1](table, name, seed), workers)
        secs = time.monotonic() - began
        spent[method] += secs
        row = {
            "method": method,
            "version": version_of(method),
            "workers": workers,
            "seed": seed,
            "points": len(table.points),
            "secs": round(secs, 2),
            "answers": made.answers,
            "trials": made.num_trials,
            "whole": len(made.whole),
        }
        append_result(path, row)


def read_results(path: Path, table: Table) -> list[dict[str, Any]]:
    """Read simulated sweeps; those on fewer points than the table has now are left out."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if row["points"] == len(table.points)]


def append_result(path: Path, row: dict[str, Any]) -> None:
    """Append one simulated sweep."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, separators=(",", ":")) + "\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="simulate sweeps with one objective")
    running.add_argument("methods", nargs="*", metavar="METHOD", help=f"by default all installed: {'; '.join(METHODS)}")
    goals = commands.add_parser("goals", help="simulate sweeps with two objectives and a limit")
    for each in (running, goals):
        each.add_argument("--table", default="digits")
        each.add_argument("--seeds", type=int, default=50, help="sweeps per method and number of workers")
        each.add_argument("--minutes", type=float, default=30.0, help="time of a method after which none begins")
    commands.add_parser("page", help="write the page and its picture")
    asked = parser.parse_args()
    if asked.command == "run":
        for method in asked.methods:
            if method not in METHODS:
                parser.error(f"unknown method {method!r}; known: {'; '.join(METHODS)}")
            if not version_of(method):
                parser.error(f"{method!r} needs {METHODS[method][0]}, which is not installed here; see peers.txt")
        run(asked.table, asked.methods, num_seeds=asked.seeds, minutes=asked.minutes)
    elif asked.command == "goals":
        from bench.search_efficiency.goals import run_goals

        run_goals(asked.table, num_seeds=asked.seeds, minutes=asked.minutes)
    else:
        from bench.search_efficiency.page import write_page

        write_page()


if __name__ == "__main__":
    main()
