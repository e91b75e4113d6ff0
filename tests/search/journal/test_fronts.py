"""Pareto fronts against definitions by enumeration, and hypervolumes against inclusion and exclusion."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from search.journal.fronts import crowding, front_order, front_ranks, hypervolume, knee_order

shapes = st.tuples(st.integers(1, 7), st.integers(1, 4))
tables = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 4).map(float)))
quick = settings(max_examples=80, deadline=None)


def is_dominated(one: NDArray[np.float64], by: NDArray[np.float64]) -> bool:
    return all(b <= a for a, b in zip(one, by, strict=True)) and any(b < a for a, b in zip(one, by, strict=True))


@quick
@given(tables)
def test_ranks_are_peeled_fronts(losses: NDArray[np.float64]) -> None:
    ranks, left, rank = front_ranks(losses), set(range(len(losses))), 0
    while left:
        front = {i for i in left if not any(is_dominated(losses[i], losses[j]) for j in left)}
        assert {i for i in left if ranks[i] == rank} == front
        left, rank = left - front, rank + 1


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


@quick
@given(tables)
def test_order_begins_with_the_front_and_its_ends(losses: NDArray[np.float64]) -> None:
    order, ranks = front_order(losses), front_ranks(losses)
    assert sorted(order) == list(range(len(losses)))
    assert [ranks[row] for row in order] == sorted(ranks)
    first = [row for row in order if ranks[row] == 0]
    distances = dict(zip(np.flatnonzero(ranks == 0), crowding(losses[ranks == 0]), strict=True))
    assert [distances[row] for row in first] == sorted((distances[row] for row in first), reverse=True)


def test_a_knee_and_its_neighbours() -> None:
    losses = np.array([[-0.99, 9e6], [-0.97, 1e5], [-0.90, 2e4], [-0.50, 1e4]])
    assert knee_order(losses)[0] == 1
    assert crowding(losses).tolist()[0] == math.inf
    assert front_order(np.empty((0, 2))) == knee_order(np.empty((0, 2))) == []
