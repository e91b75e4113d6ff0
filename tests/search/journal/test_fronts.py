"""Pareto fronts against definitions by enumeration, and hypervolumes against inclusion and exclusion."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from search.journal.fronts import (
    Fronts,
    crowding,
    front_of,
    front_rows,
    hypervolume,
    knee_order,
    num_startup_of,
    spread_order,
)
from search.records import Completed, Failed, Infeasible, Stopped, TrialRecord

shapes = st.tuples(st.integers(1, 7), st.integers(1, 4))
tables = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 4).map(float)))
quick = settings(max_examples=80, deadline=None)


def is_dominated(one: NDArray[np.float64], by: NDArray[np.float64]) -> bool:
    return all(b <= a for a, b in zip(one, by, strict=True)) and any(b < a for a, b in zip(one, by, strict=True))


def ranks_of(losses: NDArray[np.float64]) -> list[int]:
    """Ranks by peeling front after front."""
    ranks, left, rank = [0] * len(losses), set(range(len(losses))), 0
    while left:
        front = {i for i in left if not any(is_dominated(losses[i], losses[j]) for j in left)}
        for i in front:
            ranks[i] = rank
        left, rank = left - front, rank + 1
    return ranks


@quick
@given(tables)
def test_ranks_are_peeled_fronts(losses: NDArray[np.float64]) -> None:
    fronts = Fronts()
    for num, row in enumerate(losses, start=1):
        wanted = ranks_of(losses[:num])
        assert fronts.insert(row) == wanted[-1]
        assert fronts.sizes == [wanted.count(rank) for rank in range(max(wanted) + 1)]
    assert front_rows(losses).tolist() == [i for i, rank in enumerate(ranks_of(losses)) if rank == 0]


@quick
@given(tables)
def test_hypervolume_by_inclusion_and_exclusion(losses: NDArray[np.float64]) -> None:
    reference = np.full(losses.shape[1], 3.0)
    wanted = 0.0
    for size in range(1, len(losses) + 1):
        for chosen in itertools.combinations(losses, size):
            edges = np.clip(reference - np.max(chosen, axis=0), 0, None)
            wanted -= (-1) ** size * float(np.prod(edges))
    assert hypervolume(losses, reference) == pytest.approx(wanted, abs=1e-9)


def test_the_ends_of_a_front_come_first() -> None:
    losses = np.array([[0.5, 0.5], [0.0, 1.0], [0.9, 0.1], [1.0, 0.0], [0.1, 0.9]])
    assert spread_order(losses) == [1, 3, 0, 2, 4]


def test_ten_thousand_points_take_no_time() -> None:
    losses = np.random.default_rng(0).normal(size=(10_000, 2))
    began, fronts = time.process_time(), Fronts()
    assert 1 < len(front_rows(losses)) < 100
    for row in losses[:300]:
        fronts.insert(row)
    assert time.process_time() - began < 5


def test_a_knee_and_its_neighbours() -> None:
    losses = np.array([[-0.99, 9e6], [-0.97, 1e5], [-0.90, 2e4], [-0.50, 1e4]])
    assert knee_order(losses)[0] == 1
    assert crowding(losses).tolist()[0] == math.inf
    assert spread_order(np.empty((0, 2))) == knee_order(np.empty((0, 2))) == []


def test_four_objectives_take_no_time(make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]) -> None:
    """Two hundred trials, nearly all of them on the front, with the hypervolume after each."""
    rows = np.abs(np.random.default_rng(0).normal(size=(200, 4)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    records = [
        make_record(
            f"k{number}",
            number=number,
            curve=(make_epoch(1, 1 - row[0], val_loss=row[1], elapsed_secs=row[2]),),
            counts={"macs": int(1e6 * row[3])},
            outcome=Completed(),
        )
        for number, row in enumerate(rows)
    ]
    objectives = {"val_accuracy": "max", "val_loss": "min", "train_secs_per_epoch": "min", "macs": "min"}
    began = time.process_time()
    front = front_of(records, objectives, {}, num_startup=10)  # type: ignore[arg-type]
    assert len(front.trials) > 150
    assert len(front.hypervolumes) == 200
    assert time.process_time() - began < 10


@pytest.fixture
def six(make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]) -> list[TrialRecord]:
    """Trials of accuracy 0.5, 0.51, ... and 100, 99, ... operations; the first three did not complete."""
    outcomes = [Stopped(epoch=1), Failed(reason="x"), Infeasible(measure="latency_ms", value=2.0, limit=1.0)]
    return [
        make_record(
            f"k{number}",
            number=number,
            curve=() if number == 1 else (make_epoch(1, 0.5 + 0.01 * number),),
            counts={"macs": 100 - number},
            outcome=outcomes[number] if number < 3 else Completed(),
        )
        for number in range(6)
    ]


def test_the_reference_does_not_move(six: list[TrialRecord]) -> None:
    """Not with the outcomes of the first trials, and not while some of them run."""
    objectives = {"val_accuracy": "max", "macs": "min"}
    for trials in (six, six[::-1], six[:5]):
        assert front_of(trials, objectives, {}, num_startup=3).reference == (0.5, 100.0)  # type: ignore[arg-type]
    running = [dataclasses.replace(six[0], outcome=None), *six[1:]]
    front = front_of(running, objectives, {}, num_startup=3)  # type: ignore[arg-type]
    assert (front.reference, front.hypervolumes, len(front.trials)) == (None, (), 1)
    early = front_of(six, objectives, {}, num_startup=7)  # type: ignore[arg-type]
    assert (early.reference, early.hypervolumes) == (None, ()), "one of the first seven has not begun"
    limited = front_of(running, objectives, {"macs": 98.5}, num_startup=3)  # type: ignore[arg-type]
    assert limited.reference is None, "the accuracy has no limit"
    limited = front_of(six, objectives, {"macs": 98.5}, num_startup=3)  # type: ignore[arg-type]
    assert limited.reference == (0.5, 98.5)
    assert [number for number, _ in limited.hypervolumes] == [3, 4, 5]
    shares = [(0.53 - 0.5) * 1.5 / 49.25, (0.54 - 0.5) * 2.5 / 49.25, (0.55 - 0.5) * 3.5 / 49.25]
    assert [volume for _, volume in limited.hypervolumes] == pytest.approx(shares), "each one dominates the last"


def test_a_new_end_of_the_front_adds_to_the_hypervolume(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., Any]
) -> None:
    """It is no share of what the present front spans: a single trial would dominate all of that."""
    rows = [(0, 0.0, 100), (1, 0.5, 50), (2, 0.6, 99)]
    records = [
        make_record(f"k{n}", number=n, curve=(make_epoch(1, accuracy),), counts={"macs": macs}, outcome=Completed())
        for n, accuracy, macs in rows
    ]
    objectives = {"val_accuracy": "max", "macs": "min"}
    volumes = front_of(records, objectives, {}, num_startup=1).hypervolumes  # type: ignore[arg-type]
    assert volumes == ((0, 0.0), (1, pytest.approx(0.25)), (2, pytest.approx(0.251)))


def test_the_reference_is_that_of_the_first_start() -> None:
    marks = [{"event": "session", "verb": "sweep", "num_startup": 6}, {"event": "session", "num_startup": 10}]
    assert num_startup_of(marks, default=10) == 6
    assert num_startup_of([{"event": "session"}], default=10) == 10
