"""Which configuration is nominated, which is exported, and the notes on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from search.console.tables import to_table
from search.journal.comparison import ComparisonDocument
from search.journal.nominee import CONFIRMED, NOMINATED, PROVISIONAL, choose_reported
from search.journal.summary import nominee, nominees, summarise
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord

MakeRecord = Callable[..., TrialRecord]
MakeEpoch = Callable[..., EpochMetrics]
MakeDocument = Callable[[dict[str, Any]], ComparisonDocument]
Verdicts = list[tuple[str, str, str]]


@pytest.fixture
def trials(make_record: MakeRecord, make_epoch: MakeEpoch) -> list[TrialRecord]:
    """Trial 0 is nominated, then 1, 2 and 3; their points are A, B, C and D."""
    return [
        make_record(
            f"k{number}",
            number=number,
            point={"is": name},
            curve=(make_epoch(1, 0.9 - number / 10),),
            outcome=Completed(),
        )
        for number, name in enumerate("ABCD")
    ]


def compared(means: dict[str, float | None], verdicts: Verdicts, finalists: str = "AB") -> dict[str, Any]:
    """A comparison of configurations A, B, ... with their mean test accuracies; None: it diverged and left nothing."""
    return {
        "data": {"num_classes": 10},
        "contenders": [
            {
                "name": name,
                "finalist": name in finalists,
                "point": {"is": name},
                "repeats": [{"test_accuracy": mean, "diverged_in_epoch": None if mean is not None else 1}],
            }
            for name, mean in means.items()
        ],
        "comparisons": [
            {
                "a": a,
                "b": b,
                "verdict": word,
                "provisional": "P" in {a, b},
                "estimand": "new data of this kind",
                "adjust_method": "holm",
                "family_size": len(verdicts),
            }
            for a, b, word in verdicts
        ],
    }


@pytest.mark.parametrize(
    ("finalists", "means", "verdicts", "name", "state"),
    [
        # The nominee won all of its comparisons, or not.
        ("A", {"A": 0.8, "X": 0.6, "Y": 0.5}, [("A", "X", "better"), ("A", "Y", "better")], "A", CONFIRMED),
        ("A", {"A": 0.8, "X": 0.6, "P": 0.5}, [("A", "X", "better"), ("A", "P", "better")], "A", PROVISIONAL),
        ("A", {"A": 0.8, "X": 0.6, "Y": 0.8}, [("A", "X", "better"), ("A", "Y", "inconclusive")], "A", NOMINATED),
        ("A", {"A": 0.8, "X": 0.6}, [("A", "X", "refused")], "A", NOMINATED),
        # A baseline beat the nominee, and that was all that it had to beat.
        ("A", {"A": 0.6, "X": 0.7, "Y": 0.5}, [("A", "X", "worse"), ("A", "Y", "better")], "X", CONFIRMED),
        ("A", {"A": 0.6, "X": 0.7, "Y": 0.8}, [("A", "X", "worse"), ("A", "Y", "worse")], "Y", CONFIRMED),
        # The first finalist shows nothing, the second beats everybody.
        ("AB", {"A": 0.6, "B": 0.7, "X": 0.6}, [("A", "X", "inconclusive"), ("B", "X", "better")], "B", CONFIRMED),
        # Of two winners the higher mean, of equal ones the lower trial number; chance for what diverged.
        ("AB", {"A": 0.7, "B": 0.8, "X": 0.6}, [("A", "X", "better"), ("B", "X", "better")], "B", CONFIRMED),
        ("AB", {"B": 0.8, "A": 0.8, "X": 0.6}, [("A", "X", "better"), ("B", "X", "better")], "A", CONFIRMED),
        ("AB", {"A": None, "B": 0.2, "X": 0.6}, [("A", "X", "better"), ("B", "X", "better")], "B", CONFIRMED),
        # A baseline beat one finalist, not the other: the nominee stays.
        ("AB", {"A": 0.6, "B": 0.7, "X": 0.7}, [("A", "X", "worse"), ("B", "X", "inconclusive")], "A", NOMINATED),
        # The nominee is a baseline itself: B and C are compared with it in its place.
        (
            "BC",
            {"B": 0.5, "C": 0.4, "A": 0.6},
            [("B", "A", "inconclusive"), ("C", "A", "inconclusive")],
            "A",
            NOMINATED,
        ),
        ("BC", {"B": 0.5, "C": 0.4, "A": 0.6}, [("B", "A", "worse"), ("C", "A", "worse")], "A", CONFIRMED),
        ("BC", {"B": 0.7, "C": 0.4, "A": 0.6}, [("B", "A", "better"), ("C", "A", "worse")], "B", CONFIRMED),
        # A comparison among baselines says nothing about the sweep.
        ("A", {"A": 0.6, "X": 0.6, "Y": 0.5}, [("A", "X", "inconclusive"), ("X", "Y", "better")], "A", NOMINATED),
        (
            "A",
            {"A": 0.6, "X": 0.9, "Y": 0.5, "Z": 0.6},
            [("A", "Z", "inconclusive"), ("X", "Y", "better")],
            "A",
            NOMINATED,
        ),
        # The comparison does not hold the nominee: a winner stays one, a finalist that shows nothing does not.
        ("B", {"B": 0.7, "X": 0.6}, [("B", "X", "better")], "B", CONFIRMED),
        ("B", {"B": 0.7, "X": 0.6}, [("B", "X", "inconclusive")], "trial k0", NOMINATED),
    ],
)
def test_the_rule(
    trials: list[TrialRecord],
    make_document: MakeDocument,
    finalists: str,
    means: dict[str, float],
    verdicts: Verdicts,
    name: str,
    state: str,
) -> None:
    document = compared(means, verdicts, finalists)
    for order in itertools.permutations(document["contenders"]):
        choice = choose_reported(trials, make_document(document | {"contenders": list(order)}))
        assert choice is not None
        assert (choice.name, choice.state) == (name, state)


def test_without_a_comparison_it_is_the_nominee(trials: list[TrialRecord]) -> None:
    choice = choose_reported(trials[::-1], None)
    assert choice is not None
    assert (choice.name, choice.trial, choice.state, choice.notes) == ("trial k0", 0, NOMINATED, ())
    assert choose_reported([], None) is None


def test_notes_name_a_higher_mean_and_a_nominee_that_was_not_compared(
    trials: list[TrialRecord], make_document: MakeDocument
) -> None:
    document = compared({"A": 0.6, "B": 0.7, "X": 0.7}, [("A", "X", "worse"), ("B", "X", "inconclusive")])
    choice = choose_reported(trials, make_document(document))
    assert choice is not None
    assert choice.notes == (
        "B has a higher mean test accuracy (70.00 % against 60.00 %), but it did not win its declared comparisons",
        "X was better than A, but not than every configuration it was compared with",
    )
    choice = choose_reported(trials, make_document(compared({"B": 0.7, "X": 0.6}, [("B", "X", "better")])))
    assert choice is not None
    (note,) = choice.notes
    assert note == (
        "the sweep now nominates trial k0, which the newest comparison does not contain; run `hybrid-search "
        "compare` again"
    )
    choice = choose_reported(trials, make_document(compared({"A": 0.8, "X": 0.6}, [("A", "X", "better")])))
    assert choice is not None
    assert choice.notes == ()


def test_finalists_of_the_front_need_not_contain_the_nominee(
    trials: list[TrialRecord], make_document: MakeDocument
) -> None:
    """To compare again would choose the same finalists again, and no finalist takes the place of a baseline."""
    document = compared({"B": 0.7, "D": 0.6, "C": 0.6}, [("B", "C", "inconclusive")], "BD")
    for rank, place in ((2, 0), (4, 1), (3, 2)):
        document["contenders"][place]["sweep_rank"] = rank
    declared = {"repeats": 1, "family": "all-pairs", "alpha": 0.05, "rope": 0.01}
    told = {}
    for choose in (None, "knee"):
        whole = make_document(document | {"declared": {**declared, "choose": choose}})
        choice = choose_reported(trials, whole)
        assert choice is not None
        told[choose] = choice.notes[-1], "in its place" in to_table(whole)
    assert told[None] == (
        "the sweep now nominates trial k0, which the newest comparison does not contain; run `hybrid-search compare` "
        "again",
        True,
    )
    assert told["knee"] == (
        "the sweep nominates trial k0, but compare.choose knee chose other finalists; if the sweep has gone on since, "
        "run `hybrid-search compare` again",
        False,
    )


def test_a_race_leaves_its_survivor_nominated(trials: list[TrialRecord], make_document: MakeDocument) -> None:
    raced = [{"name": name, "point": {"is": name}} for name in "ABX"]
    document = compared({"B": 0.6, "X": 0.6}, [("B", "X", "inconclusive")], "B")
    document["race"] = {"survivor": "B", "contenders": raced}
    choice = choose_reported(trials, make_document(document))
    assert choice is not None
    assert (choice.name, choice.trial, choice.notes) == ("B", 1, ())
    # A nominee that took no part in the race was not dropped by it.
    document["race"]["contenders"] = raced[1:]
    choice = choose_reported(trials, make_document(document))
    assert choice is not None
    assert (choice.name, choice.trial, len(choice.notes)) == ("trial k0", 0, 1)


def test_ties_go_to_the_lower_number_whatever_ended_first(make_record: MakeRecord, make_epoch: MakeEpoch) -> None:
    def end(number: int, outcome: Any, *scores: float, at: float) -> TrialRecord:
        curve = tuple(make_epoch(epoch, score) for epoch, score in enumerate(scores, start=1))
        return make_record(str(number), number=number, curve=curve, outcome=outcome, finished_at=at)

    stopped = [end(4, Stopped(epoch=1), 0.9, at=1.0), end(3, Stopped(epoch=1), 0.9, at=2.0)]
    failed = end(0, Failed(reason="x"), 0.99, at=0.0)
    completed = [end(2, Completed(), 0.5, 0.8, at=3.0), end(1, Completed(), 0.9, 0.8, at=4.0)]
    for records in itertools.permutations([*stopped, *completed, failed]):
        assert [record.number for record in nominees(records)] == [1, 2, 3, 4]
        assert nominee(records) is summarise(records, 5).nominee is completed[1]
    assert nominee([*stopped, failed]) is stopped[1]
    assert nominee([failed]) is None
