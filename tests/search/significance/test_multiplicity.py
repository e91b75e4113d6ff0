"""Adjusted p-values against statsmodels' numbers, closed testing by enumeration, bounds and simulated nulls."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from search.significance import ScoresError
from search.significance.adjust.multiplicity import LOGICAL_METHODS, METHODS, adjust, holm

CASE = json.loads(Path(__file__).with_name("oracles.json").read_text())["multiplicity"]
NAMES = {
    "holm": "holm",
    "hochberg": "simes-hochberg",
    "hommel": "hommel",
    "bh": "fdr_bh",
}
quick = settings(max_examples=60, deadline=None)
p_lists = st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=8)


@pytest.mark.parametrize("method", NAMES)
def test_the_eight_comparisons_of_the_paper(method: str) -> None:
    assert adjust(CASE["input"]["p"], method) == pytest.approx(CASE["expected"][NAMES[method]], abs=CASE["abs_tol"])


def bonferroni_of(p: NDArray[np.float64]) -> float:
    return float(min(1.0, p.size * p.min()))


def simes_of(p: NDArray[np.float64]) -> float:
    return float((p.size * np.sort(p) / np.arange(1, p.size + 1)).min())


@pytest.mark.parametrize(("method", "local"), [("holm", bonferroni_of), ("hommel", simes_of)])
def test_closed_testing_by_enumeration(method: str, local: Callable[[NDArray[np.float64]], float]) -> None:
    """An adjusted p is the largest p of all intersections that hold the hypothesis."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 7):
        raw = rng.uniform(size=size) ** 2
        subsets = [list(s) for n in range(1, size + 1) for s in itertools.combinations(range(size), n)]
        wanted = [max(local(raw[s]) for s in subsets if i in s) for i in range(size)]
        assert adjust(raw.tolist(), method) == pytest.approx(wanted, abs=1e-12)


@quick
@given(p_lists, st.sampled_from(sorted(METHODS)), st.integers(0, 2**32 - 1))
def test_every_adjustment_is_upward_and_in_order(raw: list[float | None], method: str, seed: int) -> None:
    adjusted = adjust(raw, method)
    assert [q is None for q in adjusted] == [p is None for p in raw]
    known = [(p, q) for p, q in zip(raw, adjusted, strict=True) if p is not None and q is not None]
    assert all(p - 1e-12 <= q <= 1 for p, q in known)
    assert all(q1 <= q2 + 1e-12 for (p1, q1), (p2, q2) in itertools.permutations(known, 2) if p1 < p2)
    assert all(q1 == q2 for (p1, q1), (p2, q2) in itertools.combinations(known, 2) if p1 == p2)
    order = np.random.default_rng(seed).permutation(len(raw))
    assert adjust([raw[i] for i in order], method) == pytest.approx([adjusted[i] for i in order])


@quick
@given(p_lists)
def test_who_is_never_less_powerful_than_whom(raw: list[float | None]) -> None:
    found = {method: [1.0 if q is None else q for q in adjust(raw, method)] for method in METHODS}
    for bolder, careful in itertools.pairwise(("bh", "hommel", "hochberg", "holm")):
        assert all(p <= q + 1e-12 for p, q in zip(found[bolder], found[careful], strict=True)), (bolder, careful)


@pytest.mark.parametrize("method", METHODS)
def test_a_refused_comparison_keeps_its_place_as_one(method: str) -> None:
    adjusted = adjust([0.01, None, 0.03], method)
    as_one = adjust([0.01, 1.0, 0.03], method)
    assert adjusted == (as_one[0], None, as_one[2])
    assert adjust([None, None], method) == (None, None)
    assert adjust([], method) == ()


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.5])
@pytest.mark.parametrize("method", ["holm", "shaffer"])
def test_what_is_no_p_value_is_refused(p: float, method: str) -> None:
    with pytest.raises(ScoresError, match=r"must lie in \[0, 1\]"):
        adjust([p], method, pairs=[("a", "b")])
    with pytest.raises(ScoresError, match=r"must lie in \[0, 1\]"):
        holm([0.5, p])


def test_an_unknown_name_lists_the_known_ones() -> None:
    words = "unknown adjustment 'tukey'; known: " + ", ".join([*METHODS, *LOGICAL_METHODS])
    with pytest.raises(ScoresError, match=words):
        adjust([0.1], "tukey")


@pytest.mark.parametrize("method", LOGICAL_METHODS)
def test_a_logical_method_asks_for_the_pairs(method: str) -> None:
    with pytest.raises(ScoresError, match="each of the 2 comparisons, got none"):
        adjust([0.1, 0.2], method)
    with pytest.raises(ScoresError, match="each of the 2 comparisons, got 1"):
        adjust([0.1, 0.2], method, pairs=[("a", "b")])
    assert adjust([], method, pairs=[]) == ()
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert adjust([0.01, None, 0.03], method, pairs=pairs) == (pytest.approx(0.03), None, pytest.approx(0.03))


@pytest.mark.parametrize("true_nulls", [8, 5])
def test_equal_configurations_against_a_control_are_rarely_told_apart(true_nulls: int) -> None:
    """Eight configurations share a control; some differ from it, and the promise is for the others."""
    rng, num_sims = np.random.default_rng(21), 1000
    noise = rng.normal(size=(num_sims, 9))
    z = (noise[:, 1:] - noise[:, :1]) / math.sqrt(2) + np.where(np.arange(8) < true_nulls, 0, 3)
    raw = 2 * stats.norm.sf(np.abs(z))
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims)
    for method in METHODS:
        claimed = np.array([adjust(row.tolist(), method) for row in raw], dtype=float) <= 0.05
        false = claimed[:, :true_nulls].any(axis=1).mean()
        if method == "bh":  # it promises a share of the claims, not a clean family
            false = (claimed[:, :true_nulls].sum(axis=1) / np.maximum(claimed.sum(axis=1), 1)).mean()
        assert false <= limit, method
        assert false > 0.01, method
