"""What a comparison decides, in words: every number in it is the judge's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from search.journal.comparison import Choice, ComparisonDocument
from search.journal.decision import decision_of
from search.journal.nominee import CONFIRMED, NOMINATED
from search.significance.records import Comparison, Verdict
from search.significance.settling import what_settles

MakeDocument = Callable[[dict[str, Any]], ComparisonDocument]
OPEN = {"verdict": "inconclusive", "smallest_detectable": 0.022, "smallest_ever": 0.001, "num_images": 900}


@pytest.fixture
def decided(make_document: MakeDocument) -> Callable[..., str | None]:
    """Return the decision of comparisons of A (and B, of the sweep) with the baselines X and Y."""

    def decide(*comparisons: dict[str, Any], state: str = NOMINATED, choice: str = "A") -> str | None:
        names = ("A", "B", "X", "Y")
        contenders = [{"name": name, "finalist": name in "AB", "point": {"is": name}} for name in names]
        document = make_document({"contenders": contenders, "comparisons": list(comparisons)})
        return decision_of(Choice(name=choice, trial=0, state=state, notes=()), document)

    return decide


def pair(b: str = "X", a: str = "A", **fields: Any) -> dict[str, Any]:
    return {"a": a, "b": b, **fields}


def test_a_baseline_that_was_not_beaten_is_kept(decided: Any) -> None:
    assert (
        decided(pair(**OPEN, num_blocks_for_rope=55, num_blocks_for_rope_upper=153))
        == "keep X; 55 repeats would settle 0.5 points"
    )
    both = (pair(**OPEN, num_blocks_for_rope=55), pair("Y", **OPEN, num_blocks_for_rope=1200))
    assert decided(*both) == "keep X or Y; 1,200 repeats would settle 0.5 points"
    beaten = pair(verdict="better")
    assert decided(beaten, both[1]) == "keep Y; 1,200 repeats would settle 0.5 points"
    assert decided(pair(**OPEN)) == "keep X; no number of repeats would settle 0.5 points, only more test images"


def test_what_won_is_used_with_its_limitations(decided: Any) -> None:
    state = f"{CONFIRMED}, provisionally"
    assert decided(pair(verdict="better"), state=state) == "use A: confirmed, provisionally"
    assert decided(pair(verdict="worse"), pair("Y", verdict="better")) == "keep X, better than A"
    assert decided(pair(verdict="practically equivalent")) == (
        "A and X are practically equivalent; take the smaller or faster"
    )
    assert decided(pair(verdict="refused", reason="two repeats are too few")) == (
        "keep X; no verdict, because two repeats are too few"
    )


def test_finalists_alone_have_nothing_to_keep(decided: Any) -> None:
    assert decided(pair("B", **OPEN, num_blocks_for_rope=9)) == (
        "no choice between A and B; 9 repeats would settle 0.5 points"
    )
    assert decided(pair("A", "B", **OPEN), choice="X") is None  # was not compared


def test_the_nominee_that_is_a_baseline_is_kept_itself(decided: Any) -> None:
    assert decided(pair("X", "B", **OPEN, num_blocks_for_rope=9), choice="X") == (
        "keep X; 9 repeats would settle 0.5 points"
    )


def test_of_two_baselines_the_beaten_one_is_not_kept(decided: Any) -> None:
    open_pairs = (pair(**OPEN), pair("Y", **OPEN))
    assert decided(*open_pairs, pair("Y", "X", verdict="better")).startswith("keep X; ")
    assert decided(pair(verdict="worse"), pair("Y", verdict="worse"), pair("Y", "X", verdict="better")) == (
        "keep X, better than A"
    )


def test_an_unconfirmed_finalist_is_never_kept(decided: Any) -> None:
    lost = pair("B", verdict="worse")
    assert decided(lost, pair(**OPEN, num_blocks_for_rope=9), pair("X", "B", **OPEN)).startswith("keep X; ")
    assert decided(lost) == "no confirmed choice; B better than A"


def test_missing_repeats_are_the_reason_and_not_their_number(decided: Any) -> None:
    found = pair(**OPEN, num_blocks_for_rope=55, reason="2 of 10 repeats are missing")
    assert decided(found) == "keep X; no verdict, because 2 of 10 repeats are missing"


def test_repeats_that_would_have_found_the_gap_say_what_they_find(decided: Any) -> None:
    found = pair(**{**OPEN, "smallest_detectable": 0.0042}, num_blocks_for_rope=3, num_blocks=5)
    assert decided(found) == "keep X; these repeats settle 0.4 points"


def test_nothing_is_planned_on_a_spread_from_diverged_repeats(decided: Any, make_document: MakeDocument) -> None:
    fields = {**OPEN, "num_blocks_for_rope": 55, "sensitivity_verdict": "better", "reason": "it depends"}
    assert decided(pair(**fields)) == "keep X; no verdict, because it depends"
    both = (pair(**fields), pair("Y", **OPEN, num_blocks_for_rope=9))
    assert decided(*both) == "keep X or Y; no verdict, because it depends"
    (item,) = make_document({"contenders": [], "comparisons": [pair(**OPEN, num_blocks_for_rope=55)]}).comparisons
    assert isinstance(item, Comparison)
    assert what_settles([item])
    assert not what_settles([dataclasses.replace(item, verdict=Verdict.BETTER)])
    assert not what_settles([dataclasses.replace(item, smallest_detectable=None)])
