"""How often the analysis cries wolf, and what it finds: from stored repeats of real trainings, and from simulation.

Null studies (`bench/nulls.py`) hold the correctness bits of one configuration trained on many blocks. Split into two
fake configurations, again and again, they say how often a test tells a configuration from itself.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench import designs, simulated
from bench.calibration_page import Nulls, cell_name, offered_on, spread_words, to_page
from bench.calibration_picture import draw
from bench.claims import Share, count_claims, draws
from bench.nulls import load_null
from bench.offered import JUDGED, SLOW, family_rows, judged, single_rows
from bench.planted import Found, measure_power
from bench.report import write_page
from search.significance.records import Verdict

STUDIES = ("digits", "cifar10")
BLOCKS = (3, 5, 10, 30)
NUM_SPLITS = 1000
AGAIN = 5
"""So many times as many splits for what exceeds."""
NUM_POWER_SPLITS = 400
NUM_SIMS = 4000
DROPS = {"digits": (0.005, 0.01, 0.02, 0.04), "cifar10": (0.0025, 0.005, 0.01, 0.02)}
POWER_BLOCKS = (5, 10, 30)
SIM_BLOCKS = (3, 5, 10, 30)
DATA_SETS = (6, 10, 20)
PICTURES = Path(__file__).parent / "pictures"


def _count(name: str, num_blocks: int, num_splits: int) -> tuple[dict[str, Share], dict[str, Share], dict[str, int]]:
    null = load_null(name)
    singles = count_claims(null, single_rows(), num_blocks, num_splits)
    families = count_claims(null, family_rows(len(null.correct), num_blocks), num_blocks, num_splits)
    verdicts = dict.fromkeys((str(word) for word in Verdict), 0)
    for split, arms in enumerate(draws(null, 2, num_blocks, num_splits)):
        if split % SLOW == 0:
            verdicts[str(judged(arms).verdict)] += 1
    apart = verdicts[Verdict.BETTER] + verdicts[Verdict.WORSE]
    return {JUDGED: Share(count=apart, total=sum(verdicts.values())), **singles}, families, verdicts


def _again(name: str, num_blocks: int, title: str, num_splits: int) -> Share:
    null = load_null(name)
    rows = [*single_rows(), *family_rows(len(null.correct), num_blocks)]
    chosen = [dataclasses.replace(row, every=1) for row in rows if row.title == title]
    return count_claims(null, chosen, num_blocks, AGAIN * num_splits, first=num_splits)[title]


def recount(pool: ProcessPoolExecutor, found: Mapping[str, Nulls], num_splits: int) -> dict[str, Share]:
    """Count what exceeds once more, on fresh splits: luck does not strike twice."""
    jobs = {
        cell_name(title, name, number): pool.submit(_again, name, number, title, num_splits)
        for name, nulls in found.items()
        for number in nulls.singles
        for title, share in offered_on(nulls, number).items()
        if share.exceeds and title != JUDGED
    }
    return {cell: job.result() for cell, job in jobs.items()}


def _power(name: str, num_blocks: int, drop: float, num_splits: int) -> dict[str, Found]:
    return measure_power(load_null(name), drop, num_blocks, num_splits)


def run(pool: ProcessPoolExecutor, name: str, num_splits: int, num_power_splits: int) -> Nulls:
    """Count everything on one null study, every number of blocks in a process of its own."""
    num_repeats = len(load_null(name).correct)
    blocks = [number for number in BLOCKS if 2 * number <= num_repeats]
    counted = {number: pool.submit(_count, name, number, num_splits) for number in blocks}
    power = {
        (number, drop): pool.submit(_power, name, number, drop, num_power_splits)
        for number in POWER_BLOCKS
        if number in blocks
        for drop in DROPS[name]
    }
    done = {number: future.result() for number, future in counted.items()}
    return Nulls(
        singles={number: found[0] for number, found in done.items()},
        families={number: found[1] for number, found in done.items()},
        verdicts={number: found[2] for number, found in done.items()},
        power={key: future.result() for key, future in power.items()},
    )


def simulate(pool: ProcessPoolExecutor, num_sims: int) -> dict[str, Any]:
    """Everything that no stored repeat can show."""
    fixed = {number: pool.submit(simulated.fixed_test_set, number, num_sims) for number in SIM_BLOCKS}
    halves = pool.submit(designs.five_by_two, num_sims // 4)
    across = {number: pool.submit(designs.over_data_sets, number, 5, num_sims // 2) for number in DATA_SETS}
    pair = pool.submit(simulated.two_checkpoints, num_sims)
    return {
        "fixed": {number: future.result() for number, future in fixed.items()},
        "halves": halves.result(),
        "across": {number: future.result() for number, future in across.items()},
        "checkpoints": pair.result(),
    }


def main(num_splits: int = NUM_SPLITS, num_power_splits: int = NUM_POWER_SPLITS, num_sims: int = NUM_SIMS) -> None:
    """Count, and write bench/calibration.md with its picture."""
    start = time.perf_counter()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = {name: run(pool, name, num_splits, num_power_splits) for name in STUDIES}
        more = simulate(pool, num_sims)
        again = recount(pool, found, num_splits)
    nulls = {name: load_null(name) for name in STUDIES}
    sizes = [(len(nulls[name].correct), number) for name in STUDIES for number in found[name].singles]
    spread = spread_words(simulated.spread_over_pools(*size) for size in sizes)
    minutes = (time.perf_counter() - start) / 60
    draw(found, more, PICTURES / "calibration.png")
    write_page("calibration.md", to_page(nulls, found, more, again, spread=spread, minutes=minutes))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
