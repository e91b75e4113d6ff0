"""All-pairs adjustments against printed numbers, against sets of equalities by enumeration, and simulated nulls."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.significance import ScoresError
from search.significance.adjust.multiplicity import adjust
from search.significance.adjust.shaffer import _numbers_of_true, _partitions, bergmann_hommel, shaffer

CASE = json.loads(Path(__file__).with_name("oracles.json").read_text())["scmamp_shaffer_bergmann"]
quick = settings(max_examples=60, deadline=None)


def all_pairs(num: int) -> list[tuple[str, str]]:
    return list(itertools.combinations([f"c{i}" for i in range(num)], 2))


def exhaustive_sets(pairs: list[tuple[str, str]]) -> list[tuple[int, ...]]:
    """Sets of equalities that imply no other one, found by trying all sets."""
    found = []
    for size in range(1, len(pairs) + 1):
        for chosen in itertools.combinations(range(len(pairs)), size):
            equal = {frozenset(pairs[i]) for i in chosen}
            implied = (a ^ b for a, b in itertools.combinations(equal, 2) if len(a & b) == 1)
            if all(pair in equal for pair in implied):
                found.append(chosen)
    return found


@pytest.mark.parametrize("method", ["shaffer", "bergmann_hommel"])
def test_the_example_of_scmamp(method: str) -> None:
    pairs = [(f"c{a}", f"c{b}") for a, b in CASE["input"]["pairs"]]
    adjusted = adjust(CASE["input"]["p"], method.replace("_", "-"), pairs=pairs)
    assert adjusted == pytest.approx(CASE["expected"][method], abs=CASE["abs_tol"])


def test_numbers_of_true_equalities_are_shaffers() -> None:
    # Shaffer 1986, table 1
    assert _numbers_of_true(3) == {0, 1, 3}
    assert _numbers_of_true(4) == {0, 1, 2, 3, 6}
    assert _numbers_of_true(5) == {0, 1, 2, 3, 4, 6, 10}
    assert _numbers_of_true(6) == {0, 1, 2, 3, 4, 6, 7, 10, 15}
    assert [len(_partitions(k)) for k in range(1, 10)] == [1, 2, 5, 15, 52, 203, 877, 4140, 21147]  # Bell's numbers


@pytest.mark.parametrize("num", [2, 3, 4, 5])
def test_against_all_sets_of_equalities(num: int) -> None:
    pairs, rng = all_pairs(num), np.random.default_rng(num)
    sets = exhaustive_sets(pairs)
    for _ in range(20):
        raw = rng.uniform(size=len(pairs)) ** 3
        largest = [max(len(s) * min(raw[j] for j in s) for s in sets if i in s) for i in range(len(pairs))]
        assert bergmann_hommel(raw.tolist(), pairs) == pytest.approx(np.minimum(largest, 1), abs=1e-15)
        ranked = sorted(range(len(pairs)), key=lambda i: raw[i])
        seen, wanted = 0.0, {}
        for step, i in enumerate(ranked):
            most = max(len(s) for s in sets if len(s) <= len(pairs) - step)
            seen = max(seen, most * raw[i])
            wanted[i] = min(1.0, seen)
        assert shaffer(raw.tolist(), pairs) == pytest.approx([wanted[i] for i in range(len(pairs))], abs=1e-15)


@quick
@given(st.data(), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_bergmann_below_shaffer_below_holm(data: st.DataObject, num: int, seed: int) -> None:
    pairs = all_pairs(num)
    p = st.one_of(st.none(), st.floats(0, 1), st.floats(0, 0.05))
    raw = data.draw(st.lists(p, min_size=len(pairs), max_size=len(pairs)))
    rows = [adjust(raw, method, pairs=pairs) for method in ("bergmann-hommel", "shaffer", "holm")]
    for own, *adjusted in zip(raw, *rows, strict=True):
        if own is None:
            assert adjusted == [None, None, None]
        else:
            bergmann, static, stepwise = (q for q in adjusted if q is not None)
            assert own <= bergmann + 1e-15 <= static + 2e-15 <= stepwise + 3e-12
            assert static <= 1
    known = sorted((p, q) for p, q in zip(raw, rows[1], strict=True) if p is not None and q is not None)
    assert all(q1 <= q2 for (_, q1), (_, q2) in itertools.pairwise(known))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    turned = [pairs[i][::-1] if rng.integers(2) else pairs[i] for i in order]
    for method, row in zip(("bergmann-hommel", "shaffer"), rows, strict=False):
        assert adjust([raw[i] for i in order], method, pairs=turned) == tuple(row[i] for i in order)


def test_bergmann_hommel_may_pass_over_a_smaller_p() -> None:
    """Four near-equal ones with p = .02 among themselves may all be equal; c3 = c4 cannot hold beside them."""
    pairs = all_pairs(5)
    raw = [0.02 if "c4" not in pair else 0.021 if "c3" in pair else 1e-6 for pair in pairs]
    adjusted = dict(zip(pairs, bergmann_hommel(raw, pairs), strict=True))
    assert adjusted["c0", "c1"] == pytest.approx(6 * 0.02)
    assert adjusted["c3", "c4"] == pytest.approx(4 * 0.02)


@pytest.mark.parametrize("method", ["shaffer", "bergmann-hommel"])
def test_a_family_that_is_not_all_pairs_is_refused(method: str) -> None:
    against_control = [("a", "b"), ("a", "c"), ("a", "d")]
    with pytest.raises(
        ScoresError, match=r"all pairs of its 4 configurations; missing: b and c, b and d, c and d\. Use"
    ):
        adjust([0.1] * 3, method, pairs=against_control)
    with pytest.raises(ScoresError, match="a and c, b and d, b and e, and 1 more"):
        adjust([0.1] * 6, method, pairs=[("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("a", "d"), ("a", "e")])
    for pairs in ([("a", "b"), ("b", "a")], [("a", "b"), ("b", "b")]):
        with pytest.raises(ScoresError, match="every pair of two configurations once"):
            adjust([0.1] * 2, method, pairs=pairs)


def test_ten_configurations_are_too_many_for_bergmann_hommel() -> None:
    pairs = all_pairs(10)
    with pytest.raises(ScoresError, match="at most 9 configurations, got 10; use shaffer"):
        adjust([0.1] * len(pairs), "bergmann-hommel", pairs=pairs)
    assert adjust([1e-4] * len(pairs), "shaffer", pairs=pairs) == (pytest.approx(45e-4),) * 45
    assert adjust([1e-4] * 36, "bergmann-hommel", pairs=all_pairs(9)) == (pytest.approx(36e-4),) * 36


@pytest.mark.parametrize("means", [(0, 0, 0, 0), (0, 0, 6, 6), (0, 0, 0, 6)])
def test_equal_configurations_are_rarely_told_apart(means: tuple[int, ...]) -> None:
    """All pairs of four, of which all, two and two, or three are equal."""
    rng, num_sims, pairs = np.random.default_rng(22), 2000, all_pairs(4)
    first, second = np.array([(int(a[1]), int(b[1])) for a, b in pairs]).T
    scores = rng.normal(size=(num_sims, 4)) + means
    raw = 2 * stats.norm.sf(np.abs(scores[:, first] - scores[:, second]) / math.sqrt(2))
    null = np.array(means)[first] == np.array(means)[second]
    for method in (shaffer, bergmann_hommel):
        claimed = np.array([method(row.tolist(), pairs) for row in raw]) <= 0.05
        false = claimed[:, null].any(axis=1).mean()
        assert 0.02 < false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sims), method
