"""A short run of the harness, the same each time: three faults hit a real sweep; longer ones are marked slow."""

from __future__ import annotations

import itertools

import pytest
from kinds import KINDS
from run import Row, Task, is_bad, make_tasks, run_all
from studies import FLAVOURS
from world import World

CHAIN = ("term-driver", "cut-journal-line", "cut-checkpoint")
"""Cutting a file kills the driver first."""
LONGER = (
    ("kill-driver", "cut-journal-line", "kill-mirror"),
    ("kill-everything", "start-twice"),
    ("term-driver", "lose-journal-line", "cut-checkpoint", "lose-optuna-lines"),
)
SEED = 11
"""Each sweep needs one of its own, as it names the folder."""


def _tell(rows: list[Row]) -> list[str]:
    return [f"{row.kind} (seed {row.seed}, {row.moment}): {row.result}" for row in rows]


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_done_twice(world: World) -> None:
    rows = run_all(world, [Task(CHAIN, SEED)], jobs=1)
    assert [row.kind for row in rows if row.result == "ok"] == list(CHAIN), "\n".join(_tell(rows))


@pytest.mark.slow
def test_nothing_is_lost_in_longer_chains(world: World) -> None:
    rows = run_all(world, [Task(chain, SEED + place) for place, chain in enumerate(LONGER, start=1)], jobs=2)
    assert not _tell([row for row in rows if is_bad(row)])


@pytest.mark.slow
@pytest.mark.ray
def test_nothing_is_lost_with_ray(world: World) -> None:
    rows = run_all(world, [Task(("kill-everything-with-ray", "kill-worker", "kill-ray-driver"), SEED - 1)], jobs=1)
    assert not _tell([row for row in rows if is_bad(row)])


def test_a_whole_run_has_at_least_sixty_faults_of_every_kind_and_is_the_same_for_a_seed() -> None:
    tasks = make_tasks(3)
    dealt = list(itertools.chain.from_iterable(task.kinds for task in tasks))
    assert len(dealt) >= 60
    assert set(dealt) == set(KINDS)
    assert tasks == make_tasks(3)
    assert tasks != make_tasks(4)
    for task in tasks:
        assert {KINDS[kind].flavour for kind in task.kinds} == {task.flavour}, "one sweep is of one flavour"
        assert len(task.kinds) <= FLAVOURS[task.flavour].chain


@pytest.mark.slow
def test_a_fault_of_one_episode_is_told_and_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("run.Episode", _Burning)
    rows = run_all(world, [Task(("kill-driver", "ctrl-c"), 1), Task(("stop-driver",), 2)], jobs=1)
    assert sorted((row.kind, row.result.splitlines()[-1]) for row in rows) == [
        ("ctrl-c", "OSError: on fire"),
        ("kill-driver", "OSError: on fire"),
        ("stop-driver", "OSError: on fire"),
    ]
    assert all(is_bad(row) for row in rows)


@pytest.mark.slow
def test_what_this_user_cannot_do_is_skipped_by_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("world.find_postgres", lambda: None)
    (row,) = run_all(world, [Task(("postgres-restart",), 1)], jobs=1)
    assert (row.kind, row.result) == ("postgres-restart", "skipped: PostgreSQL is not installed")
    assert not is_bad(row)


class _Burning:
    def __init__(self, *_: object) -> None:
        raise OSError("on fire")
