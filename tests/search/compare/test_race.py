"""The race on arrays: what it decides when, whom it drops, and how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.compare.race import (
    Decided,
    Dropped,
    Race,
    Undecided,
    fewest_blocks,
    first_possible,
    num_won,
    run_race,
    survivor_of,
)
from search.study.claims import Family

Scores = Mapping[str, NDArray[np.float64]]
BASELINES = Family(name="", pairs=(("f", "x"), ("f", "y"), ("f", "z")))
TRIANGLE = Family(name="", pairs=(("a", "b"), ("a", "c"), ("b", "c")))


def race(scores: Scores, *families: Family, alpha: float = 0.05, cap: int | None = None) -> Race:
    longest = max(len(values) for values in scores.values())
    return run_race(scores, families or (BASELINES,), alpha=alpha, cap=cap or longest)


def noisy(seed: int, length: int, **means: float) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return {name: mean + 0.01 * rng.standard_normal(length) for name, mean in means.items()}


def e_value(diff: NDArray[np.float64]) -> float:
    """Equation of the t-test e-process with g = 1, by hand."""
    n = len(diff)
    t = math.sqrt(n) * diff.mean() / diff.std(ddof=1)
    return float((1 + n) ** -0.5 * ((1 + t**2 / (n - 1)) / (1 + t**2 / ((n - 1) * (1 + n)))) ** (n / 2))


def outcomes(found: Race) -> list[Any]:
    return [pair.outcome for pair in found.pairs]


def test_a_clear_winner_is_decided_as_early_as_can_be() -> None:
    scores = noisy(0, 20, f=0.9, x=0.5, y=0.5, z=0.5)
    found = race(scores)
    assert found.running == ()
    # Three pairs at .05: 60 is needed, and (1 + n)^((n - 1) / 2) is above it from n = 6 on.
    assert fewest_blocks(60) == first_possible([BASELINES], alpha=0.05) == 6
    assert {item.after for item in outcomes(found)} == {6}
    assert {item.winner for item in outcomes(found)} == {"f"}
    assert found.dropped == {"x": 6, "y": 6, "z": 6}
    assert found.length == 6
    assert num_won(found, "f") == 3
    assert survivor_of(found, scores, ["f"]) == "f"
    for pair in found.pairs:
        diff = scores["f"] - scores[pair.b]
        assert pair.e_values == pytest.approx([e_value(diff[:n]) for n in range(2, 7)])


def test_what_is_needed_falls_with_every_pair_that_is_decided() -> None:
    found = race(noisy(1, 30, f=0.9, x=0.5, y=0.888, z=0.5))
    assert sorted(item.needed for item in outcomes(found)) == [20, 40, 60]
    last = found.pairs[1]
    assert isinstance(last.outcome, Decided)
    assert last.outcome.needed == 20  # Holm's last step, where Bonferroni would still ask for 60
    assert 20 <= last.outcome.e_value < 60
    assert last.e_values[-2] < 20


@pytest.mark.parametrize(("needed", "blocks"), [(20, 5), (40, 6), (60, 6), (160, 7)])
def test_the_fewest_blocks_are_those_of_the_formula(needed: float, blocks: int) -> None:
    def limit(n: int) -> float:
        return (1 + n) ** ((n - 1) / 2)

    assert limit(blocks) > needed >= limit(blocks - 1)
    assert fewest_blocks(needed) == blocks


def test_a_loser_is_raced_no_further_and_its_other_pairs_are_closed() -> None:
    scores = noisy(2, 40, a=0.9, b=0.899, c=0.5)
    scores["c"] = scores["c"][:7]  # it is not trained once it has lost
    alone = {**scores, "a": scores["a"][:7], "b": scores["b"][:7]}
    found = race(alone, TRIANGLE, cap=40)
    first, second, third = outcomes(found)
    assert isinstance(first, Undecided)
    assert (second.winner, third.winner) == ("a", "b")
    assert found.running == ("a", "b")
    assert found.num_blocks["c"] == found.dropped["c"] <= 7
    assert race(scores, TRIANGLE, cap=40).num_blocks == {"a": 40, "b": 40, "c": found.dropped["c"]}

    both = (Family(name="", pairs=(("f", "x"), ("g", "x"))),)
    rng = np.random.default_rng(5)
    scores = {"f": 0.9 + 0.001 * rng.standard_normal(30), "g": 0.55 + 0.2 * rng.standard_normal(30)}
    scores["x"] = 0.5 + 0.001 * rng.standard_normal(30)
    found = race(scores, *both)
    won, left = outcomes(found)
    assert (won.winner, won.loser) == ("f", "x")
    assert left == Dropped(after=won.after, loser="x")
    assert found.running == ()
    assert found.length == won.after
    assert len(found.pairs[1].e_values) == won.after - 1


def test_equals_race_to_the_cap() -> None:
    scores = noisy(3, 15, f=0.9, x=0.9, y=0.9, z=0.9)
    found = race(scores, cap=12)
    assert found.running == ()
    assert found.length == 12
    assert all(isinstance(item, Undecided) for item in outcomes(found))
    assert [len(pair.e_values) for pair in found.pairs] == [11, 11, 11]
    assert found.dropped == {}
    assert survivor_of(found, scores, ["f"]) == "f"


def test_the_next_block_is_asked_of_those_who_are_still_in() -> None:
    scores = noisy(4, 3, f=0.9, x=0.9, y=0.9, z=0.9)
    scores["y"] = scores["y"][:2]
    found = race(scores, cap=10)
    assert found.length == 2
    assert found.running == ("f", "x", "y", "z")
    start = run_race({}, (BASELINES,), alpha=0.05, cap=10)
    assert (start.length, start.running) == (0, ("f", "x", "y", "z"))


def test_what_is_there_beyond_the_decision_changes_nothing() -> None:
    scores = noisy(5, 40, a=0.93, b=0.92, c=0.9)
    whole = race(scores, TRIANGLE, cap=40)
    have: dict[str, NDArray[np.float64]] = {name: np.empty(0) for name in scores}
    for _ in range(41):
        found = run_race(have, (TRIANGLE,), alpha=0.05, cap=40)
        if not found.running:
            break
        have |= {name: scores[name][: len(have[name]) + 1] for name in found.running}
    assert found == whole
    assert {name: len(values) for name, values in have.items()} == dict(whole.num_blocks)
    assert survivor_of(found, have, ["a", "b"]) == survivor_of(whole, scores, ["a", "b"])


def test_what_never_varies_is_no_evidence() -> None:
    found = race({"f": np.full(12, 0.9), "x": np.full(12, 0.5), "y": np.full(12, 0.9), "z": np.full(12, 0.9)})
    assert all(isinstance(item, Undecided) for item in outcomes(found))


def test_families_have_an_error_rate_each() -> None:
    families = (
        Family(name="one", pairs=(("f", "x"),)),
        Family(name="three", pairs=(("g", "x"), ("g", "y"), ("g", "z"))),
    )
    scores = noisy(6, 20, f=0.9, g=0.9, x=0.5, y=0.5, z=0.5)
    found = race(scores, *families)
    assert found.pairs[0].family == "one"
    assert isinstance(found.pairs[0].outcome, Decided)
    assert (found.pairs[0].outcome.after, found.pairs[0].outcome.needed) == (5, 20)
    # x is gone after five blocks; the pair keeps its place in the family all the same.
    assert found.pairs[1].outcome == Dropped(after=5, loser="x")
    assert sorted(pair.outcome.needed for pair in found.pairs[2:] if isinstance(pair.outcome, Decided)) == [40, 60]


def test_the_survivor_is_who_won_most_then_who_is_best_over_common_blocks() -> None:
    family = Family(name="", pairs=(("f", "x"), ("f", "y"), ("g", "x"), ("g", "y")))
    scores = noisy(7, 10, f=0.90, g=0.91, x=0.90, y=0.90)
    undecided = race({name: values.round(2) for name, values in scores.items()}, family, cap=5)
    assert set(undecided.dropped) == set()
    assert survivor_of(undecided, scores, ["f", "g"]) == "g"
    assert survivor_of(undecided, {**scores, "f": scores["f"] + 0.5}, ["f", "g"]) == "f"
    assert (
        survivor_of(undecided, {**scores, "x": scores["x"] + 0.5}, ["f", "g"]) == "g"
    )  # no baseline before a finalist
    # Beyond the race's blocks nothing counts.
    later = {**scores, "f": np.concatenate([scores["f"][:5], np.ones(5)])}
    assert survivor_of(undecided, later, ["f", "g"]) == "g"

    beaten = race(noisy(8, 20, f=0.5, g=0.5, x=0.9, y=0.5), family)
    assert set(beaten.dropped) == {"f", "g"}
    assert survivor_of(beaten, noisy(8, 20, f=0.5, g=0.5, x=0.9, y=0.5), ["f", "g"]) == "x"


@given(seed=st.integers(0, 10_000), spread=st.floats(0, 0.05), length=st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_there_is_always_a_survivor_and_the_mirror_decides_alike(seed: int, spread: float, length: int) -> None:
    rng = np.random.default_rng(seed)
    means = 0.5 + spread * rng.standard_normal(3)
    scores = noisy(seed, length, **dict(zip("abc", means, strict=True)))
    found = race(scores, TRIANGLE)
    assert found.running == ()
    assert survivor_of(found, scores, ["c"]) in scores
    assert set(found.dropped) != set(scores)
    mirrored = Family(name="", pairs=tuple((b, a) for a, b in TRIANGLE.pairs))
    assert outcomes(race(scores, mirrored)) == outcomes(found)


def test_looking_after_every_block_keeps_the_error_rate() -> None:
    """Four equal configurations, three pairs with a common one: any decision is false."""
    num_races, cap, alpha = 1000, 60, 0.1
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(num_races):
        noise = 0.9 + 0.01 * rng.standard_normal((4, cap))
        found = race(dict(zip("fxyz", noise, strict=True)), alpha=alpha)
        wrong += bool(found.dropped)
    rate = wrong / num_races
    assert 0 < rate <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / num_races)
