"""Runs every kind of fault against real sweeps and tells what came of each: `python tests/faults/run.py --seed 7`."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from episode import Broken, Episode, Missed
from invariant import summary
from kinds import KINDS
from page import write_page
from studies import FLAVOURS
from world import World

MAX_MISSES = 3
"""So often another moment is drawn for a fault that came too late."""
ALONE_EVERY = 6
"""From one sweep that hurts a shared server to the next, in sweeps."""


@dataclass(frozen=True)
class Task:
    """An episode that is to come: some faults that hit one sweep one after another."""

    kinds: tuple[str, ...]
    seed: int
    num_misses: int = 0

    @property
    def flavour(self) -> str:
        """Of the sweep; the kinds share it."""
        return KINDS[self.kinds[0]].flavour

    def again(self, position: int) -> Task:
        """What is left of it from a place on, at other moments."""
        return Task(self.kinds[position:], self.seed + 10**6, self.num_misses + 1)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault and what came of it."""

    kind: str
    seed: int
    chain: tuple[str, ...]
    """All kinds of its episode: what a replay is given."""
    moment: str
    starts: int
    """Of the command after the fault, until the next fault or the end."""
    secs: float
    result: str
    """`ok`, `missed`, `skipped: why`, or what was broken."""


def make_tasks(seed: int, names: Sequence[str] = tuple(KINDS), *, times: int | None = None) -> list[Task]:
    """Deal kinds into episodes, at random but the same for a seed."""
    rng = random.Random(seed)
    tasks = []
    for flavour, manner in FLAVOURS.items():
        kinds = [name for name in names if KINDS[name].flavour == flavour for _ in range(times or KINDS[name].times)]
        rng.shuffle(kinds)
        tasks += [tuple(kinds[first : first + manner.chain]) for first in range(0, len(kinds), manner.chain)]
    # The long ones first, so that both hands are busy to the end.
    tasks.sort(key=lambda kinds: -list(FLAVOURS).index(KINDS[kinds[0]].flavour))
    # Those that share a server apart: one hand would wait for the other.
    alone = [kinds for kinds in tasks if FLAVOURS[KINDS[kinds[0]].flavour].alone]
    tasks = [kinds for kinds in tasks if kinds not in alone]
    for number, kinds in enumerate(alone):
        tasks.insert(ALONE_EVERY * number, kinds)
    return [Task(kinds, 1000 * seed + number) for number, kinds in enumerate(tasks)]


def run_task(world: World, task: Task) -> Iterator[Row | Task]:
    """Run an episode; yields its faults, and what of it must be tried again in another one."""
    flavour = FLAVOURS[task.flavour]
    if why := world.why_not(flavour):
        yield from (_row(task, kind, "-", 0, 0.0, f"skipped: {why}") for kind in task.kinds)
        return
    if flavour.alone:
        with world.alone:
            yield from _run(world, task)
    else:
        yield from _run(world, task)


def _run(world: World, task: Task) -> Iterator[Row | Task]:
    world.reference(FLAVOURS[task.flavour].body)
    since = time.monotonic()
    injected: list[tuple[str, str, int, float]] = []
    """Kind, moment, starts of the command and seconds until it had hit."""
    episode = None
    position, fault = 0, None
    try:
        episode = Episode(world, task.flavour, f"e{task.seed}", task.seed, len(task.kinds))
        for position, kind in enumerate(task.kinds):
            episode.begin_fault(f"{kind}/{position}", len(task.kinds) - position)
            KINDS[kind].inject(episode)
            injected.append((kind, str(episode.moment or "-"), episode.starts, time.monotonic() - since))
            episode.check(finished=False)
        position = len(task.kinds)
        episode.recover()
        episode.check(finished=True)
        print(f"         {episode.name}: {summary(episode.folder)}", flush=True)
    except Missed:
        fault = "missed"
    except Broken as error:
        fault = f"BROKEN: {error}"
    except Exception:  # noqa: BLE001  a fault of the harness must not stop the other episodes
        fault = f"HARNESS: {traceback.format_exc()}"
    finally:
        if episode is not None:
            episode.close()
    yield from _rows(task, episode, injected, position, fault, since)


def _rows(
    task: Task,
    episode: Episode | None,
    injected: list[tuple[str, str, int, float]],
    position: int,
    fault: str | None,
    since: float,
) -> Iterator[Row | Task]:
    total = time.monotonic() - since
    ends = [*(item[3] for item in injected[:-1]), total]
    starts = [*(item[2] for item in injected[1:]), episode.starts if episode else 0]
    before = 0.0
    for number, (kind, moment, first, _) in enumerate(injected):
        last = number == len(injected) - 1
        # What was found after the last fault is told of the last one.
        result = fault if fault and fault != "missed" and last and position in {number, len(task.kinds)} else "ok"
        yield _row(task, kind, moment, starts[number] - first, ends[number] - before, result)
        before = ends[number]
    if fault == "missed":
        # The sweep was over before: what is left is tried on another one, at other moments.
        if task.num_misses < MAX_MISSES:
            yield task.again(position)
        else:
            yield _row(task, task.kinds[position], "-", 0, 0.0, f"MISSED {MAX_MISSES + 1} times")
    elif fault:
        if position < len(task.kinds) and len(injected) == position:
            moment = str(episode.moment or "-") if episode else "-"
            yield _row(task, task.kinds[position], moment, 0, total - before, fault)
        if task.kinds[position + 1 :]:
            yield task.again(position + 1)


def _row(task: Task, kind: str, moment: str, starts: int, secs: float, result: str) -> Row:
    return Row(
        kind=kind, seed=task.seed, chain=task.kinds, moment=moment, starts=max(0, starts), secs=secs, result=result
    )


def run_all(world: World, tasks: Sequence[Task], *, jobs: int) -> list[Row]:
    """Run episodes, some at a time, and show each fault as it is over."""
    rows: list[Row] = []
    num_faults = sum(len(task.kinds) for task in tasks)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = {pool.submit(lambda task=task: list(run_task(world, task))) for task in tasks}
        while waiting:
            done = next(as_completed(waiting))
            waiting.remove(done)
            for item in done.result():
                if isinstance(item, Task):
                    waiting.add(pool.submit(lambda task=item: list(run_task(world, task))))
                    continue
                rows.append(item)
                _show(item, len(rows), num_faults)
    return rows


def _show(row: Row, number: int, total: int) -> None:
    first, *more = row.result.splitlines()
    print(
        f"{number:3}/{total} {row.kind:24} seed {row.seed}  {row.moment:16} {row.starts} starts {row.secs:6.1f} s  "
        f"{first}",
        flush=True,
    )
    for line in more:
        print(f"         {line}", flush=True)
    if is_bad(row):
        chain = ",".join(row.chain)
        print(f"         replay: python tests/faults/run.py --kind {chain} --seed {row.seed}", flush=True)


def is_bad(row: Row) -> bool:
    """Whether a row is a reason to fail."""
    return row.result != "ok" and not row.result.startswith("skipped")


def main() -> int:
    """Parse, run, tell.

    Returns:
        1 if anything was broken.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of all draws; drawn itself if not given")
    parser.add_argument("--kind", help="only these, as one episode with this very seed: kill-driver,cut-checkpoint")
    parser.add_argument("--only", help="only these kinds, dealt into episodes as ever")
    parser.add_argument("--times", type=int, help="so many of each kind, whatever the table says")
    parser.add_argument("--jobs", type=int, default=2, help="episodes at a time")
    parser.add_argument("--page", action="store_true", help="write bench/faults.md")
    parser.add_argument("--keep", action="store_true", help="keep the folder, even if all is well")
    options = parser.parse_args()
    seed = random.randrange(1, 10**5) if options.seed is None else options.seed
    names = [name for name in (options.kind or options.only or "").split(",") if name]
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        parser.error(f"no such kind: {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    tasks = [Task(tuple(names), seed)] if options.kind else make_tasks(seed, names or tuple(KINDS), times=options.times)
    world = World()
    print(
        f"seed {seed}, {sum(len(task.kinds) for task in tasks)} faults in {len(tasks)} sweeps, {world.folder}",
        flush=True,
    )
    since = time.monotonic()
    rows: list[Row] = []
    try:
        rows = run_all(world, tasks, jobs=options.jobs)
    finally:
        bad = [row for row in rows if is_bad(row)]
        world.close(keep=bool(bad) or options.keep or not rows)
    skipped = [row for row in rows if row.result.startswith("skipped")]
    mins = (time.monotonic() - since) / 60
    kinds = {row.kind for row in rows} - {row.kind for row in skipped}
    print(
        f"\n{len(rows) - len(skipped)} faults of {len(kinds)} kinds in {mins:.1f} min: "
        f"{len(rows) - len(bad) - len(skipped)} ok, {len(bad)} not, {len(skipped)} skipped"
        f"{f'; see {world.folder}' if bad else ''}"
    )
    for reason in sorted({f"{row.kind} {row.result}" for row in skipped}):
        print(reason)
    if options.page:
        write_page(rows, seed=seed, mins=mins, jobs=options.jobs, num_cpus=os.cpu_count() or 1)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
