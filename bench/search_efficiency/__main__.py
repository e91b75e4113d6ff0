"""Simulate methods, and write the page.

`run METHOD ...` appends to `results/<table>.jsonl`, one line per simulated sweep; sweeps that are there are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from bench.search_efficiency.clock import simulate
from bench.search_efficiency.methods import METHODS, version_of
from bench.search_efficiency.table import NUM_CHOSEN, Table

RESULTS = Path(__file__).with_name("results")
WORKERS = (4, 16)


def run(name: str, methods: list[str], *, num_seeds: int, minutes: float) -> None:
    """Simulate sweeps: half of the seeds see one training of each point, half the other.

    Args:
        name: Name of the table.
        methods: Names of the methods; empty for all.
        num_seeds: Number of sweeps per method and number of workers.
        minutes: Time after which no sweep of a method begins.
    """
    table, path = Table.load(name), RESULTS / f"{name}.jsonl"
    RESULTS.mkdir(exist_ok=True)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    there = {(row["method"], row["workers"], row["seed"]) for row in rows}
    for method in methods or METHODS:
        end = time.monotonic() + 60 * minutes
        for seed in range(num_seeds):
            for workers in WORKERS:
                if (method, workers, seed) in there or time.monotonic() > end:
                    continue
                began = time.monotonic()
                made = simulate(table, seed % NUM_CHOSEN, METHODS[method][1](table, name, seed), workers)
                row = {
                    "method": method,
                    "version": version_of(method),
                    "workers": workers,
                    "seed": seed,
                    "points": len(table.points),
                    "secs": round(time.monotonic() - began, 2),
                    **dataclasses.asdict(made),
                }
                row["regret"] = [round(item, 5) for item in made.regret]
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row, separators=(",", ":")) + "\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="simulate sweeps")
    running.add_argument("methods", nargs="*", metavar="METHOD", help=f"all by default: {'; '.join(METHODS)}")
    running.add_argument("--table", default="digits")
    running.add_argument("--seeds", type=int, default=50)
    running.add_argument("--minutes", type=float, default=30.0)
    commands.add_parser("page", help="write the page and its picture")
    asked = parser.parse_args()
    if asked.command == "run":
        for method in asked.methods:
            if method not in METHODS:
                parser.error(f"unknown method {method!r}; known: {'; '.join(METHODS)}")
        run(asked.table, asked.methods, num_seeds=asked.seeds, minutes=asked.minutes)
    else:
        from bench.search_efficiency.page import write_page

        write_page()


if __name__ == "__main__":
    main()
