"""Calibration: false-positive rates and power of the analysis, from stored repeats of real training and simulation.

Null studies (`bench/nulls.py`) hold the correctness bits of one configuration trained on many blocks. Splitting them
repeatedly into two fake configurations shows how often a test claims a difference where there is none. Families of
configurations that interact with images are in `bench/families.py`.

`python -m bench.calibration` counts everything in cached pieces (`bench/pieces.py`) and writes the page.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench import designs, families, simulated
from bench.calibration_page import Nulls, cell_name, offered_on, spread_words, to_page
from bench.calibration_picture import draw
from bench.claims import Share, count_claims, draws
from bench.families_page import Families
from bench.nulls import load_null
from bench.offered import JUDGED, SLOW, family_rows, judged, single_rows
from bench.pieces import FOLDER, Pieces
from bench.planted import Found, measure_power
from bench.report import write_page
from search.significance.records import Verdict

STUDIES = ("digits", "cifar10")
BLOCKS = (3, 5, 10, 30)
NUM_SPLITS = 1000
CHUNK = 250
"""Number of splits per piece."""
FAMILIES = 1000
"""Number of simulated families per piece."""
STUDIES_JUDGED = 50
"""Number of families per piece that the whole analysis judges."""
AGAIN = 5
"""Factor by which the number of splits grows when a rate above alpha is counted again."""
NUM_POWER_SPLITS = 400
NUM_SIMS = 4000
NUM_JUDGED = 1000
JUDGED_CELL = (families.STRONG, 500, 3)
"""World, number of images and number of repeats of the families that the whole analysis judges."""
DROPS = {"digits": (0.005, 0.01, 0.02, 0.04), "cifar10": (0.0025, 0.005, 0.01, 0.02)}
POWER_BLOCKS = (5, 10, 30)
SIM_BLOCKS = (3, 5, 10, 30)
DATA_SETS = (6, 10, 20)
PICTURES = Path(__file__).parent / "pictures"

Counted = tuple[dict[str, Share], dict[str, Share], dict[str, int]]


def _count(name: str, num_blocks: int, first: int, num_splits: int) -> Counted:
    null = load_null(name)
    singles = count_claims(null, single_rows(), num_blocks, num_splits, first=first)
    whole = count_claims(null, family_rows(len(null.correct), num_blocks), num_blocks, num_splits, first=first)
    verdicts = dict.fromkeys((str(word) for word in Verdict), 0)
    for split, arms in enumerate(draws(null, 2, num_blocks, num_splits, first=first)):
        if split % SLOW == 0:
            verdicts[str(judged(arms).verdict)] += 1
    apart = verdicts[Verdict.BETTER] + verdicts[Verdict.WORSE]
    return {JUDGED: Share(count=apart, total=sum(verdicts.values())), **singles}, whole, verdicts


def _add(first: Counted, second: Counted) -> Counted:
    singles, whole = ({title: a[title] + b[title] for title in a} for a, b in zip(first[:2], second[:2], strict=True))
    return singles, whole, {word: first[2][word] + second[2][word] for word in first[2]}


def _chunks(total: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def _again(name: str, num_blocks: int, title: str, num_splits: int) -> Share:
    null = load_null(name)
    rows = [*single_rows(), *family_rows(len(null.correct), num_blocks)]
    chosen = [dataclasses.replace(row, every=1) for row in rows if row.title == title]
    return count_claims(null, chosen, num_blocks, AGAIN * num_splits, first=num_splits)[title]


def recount(pieces: Pieces, found: Mapping[str, Nulls], num_splits: int) -> dict[str, Share]:
    """Count rates that exceed alpha again on more, independent splits, which tells bias from Monte-Carlo error."""
    jobs = {
        cell_name(title, name, number): pieces.ask(_again, name, number, title, num_splits)
        for name, nulls in found.items()
        for number in nulls.singles
        for title, share in offered_on(nulls, number).items()
        if share.exceeds and title != JUDGED
    }
    return {cell: job.result() for cell, job in jobs.items()}


def _power(name: str, num_blocks: int, drop: float, num_splits: int) -> dict[str, Found]:
    return measure_power(load_null(name), drop, num_blocks, num_splits)


def run(pieces: Pieces, name: str, num_splits: int, num_power_splits: int) -> Nulls:
    """Count claims, verdicts and power on one null study."""
    num_repeats = len(load_null(name).correct)
    blocks = [number for number in BLOCKS if 2 * number <= num_repeats]
    counted = {
        number: [pieces.ask(_count, name, number, *part) for part in _chunks(num_splits, CHUNK)] for number in blocks
    }
    power = {
        (number, drop): pieces.ask(_power, name, number, drop, num_power_splits)
        for number in POWER_BLOCKS
        if number in blocks
        for drop in DROPS[name]
    }
    done: dict[int, Counted] = {}
    for number, parts in counted.items():
        first, *more = (part.result() for part in parts)
        done[number] = first
        for part in more:
            done[number] = _add(done[number], part)
    return Nulls(
        singles={number: found[0] for number, found in done.items()},
        families={number: found[1] for number, found in done.items()},
        verdicts={number: found[2] for number, found in done.items()},
        power={key: job.result() for key, job in power.items()},
    )


def simulate(pieces: Pieces, num_sims: int) -> dict[str, Any]:
    """Count what stored repeats cannot show, by simulation."""
    worlds = list(enumerate(simulated.WORLDS))
    fixed = {
        number: {world.name: pieces.ask(simulated.fixed_test_set, place, number, num_sims) for place, world in worlds}
        for number in SIM_BLOCKS
    }
    halves = pieces.ask(designs.five_by_two, num_sims // 4)
    across = {number: pieces.ask(designs.over_data_sets, number, 5, num_sims // 2) for number in DATA_SETS}
    pair = pieces.ask(simulated.two_checkpoints, num_sims)
    return {
        "fixed": {number: {name: job.result() for name, job in jobs.items()} for number, jobs in fixed.items()},
        "halves": halves.result(),
        "across": {number: job.result() for number, job in across.items()},
        "checkpoints": pair.result(),
    }


def count_families(pieces: Pieces, num_families: int, num_judged: int) -> Families:
    """Count claims in families: simulated, made from stored repeats, and judged by the whole analysis."""
    world, num_images, num_repeats = JUDGED_CELL
    cells = [
        [pieces.ask(families.simulated_cell, place, images, number, *part) for part in _chunks(num_families, FAMILIES)]
        for place, images in families.CELLS
        for number in families.REPEATS
    ]
    stored = [
        [pieces.ask(families.stored_cell, name, number, *part) for part in _chunks(num_families, FAMILIES)]
        for name in STUDIES
        for number in families.REPEATS
    ]
    through = [
        pieces.ask(families.judge_families, world, num_images, num_repeats, *part)
        for part in _chunks(num_judged, STUDIES_JUDGED)
    ]
    return Families(
        simulated=tuple(_sum(parts) for parts in cells),
        stored=tuple(_sum(parts) for parts in stored),
        judged=_sum(through),
    )


def _sum(parts: Sequence[Future[Any]]) -> Any:
    first, *more = (part.result() for part in parts)
    for part in more:
        first = first + part
    return first


def main(
    num_splits: int = NUM_SPLITS,
    num_power_splits: int = NUM_POWER_SPLITS,
    num_sims: int = NUM_SIMS,
    num_judged: int = NUM_JUDGED,
    *,
    folder: Path = FOLDER,
) -> None:
    """Count everything, and write bench/calibration.md and its figure."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        pieces = Pieces(pool, folder)
        tasty = count_families(pieces, num_sims, num_judged)
        more = simulate(pieces, num_sims)
        found = {name: run(pieces, name, num_splits, num_power_splits) for name in STUDIES}
        again = recount(pieces, found, num_splits)
    nulls = {name: load_null(name) for name in STUDIES}
    sizes = [(len(nulls[name].correct), number) for name in STUDIES for number in found[name].singles]
    spread = spread_words(simulated.spread_over_pools(*size) for size in sizes)
    draw(found, more, PICTURES / "calibration.png")
    write_page("calibration.md", to_page(nulls, found, more, again, tasty, spread=spread))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
