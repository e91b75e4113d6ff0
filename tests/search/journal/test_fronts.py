"""Pareto fronts against definitions by enumeration, and hypervolumes against inclusion and exclusion."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from search.journal.fronts import Fronts, crowding, front_rows, hypervolume, knee_order, spread_order

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
