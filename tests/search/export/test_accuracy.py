"""Accuracy and confusion of predictions."""

from __future__ import annotations

import itertools

import pytest

from search.export.accuracy import Tally, wilson_interval


@pytest.fixture
def tally() -> Tally:
    """Two cats of which one is right, three dogs of which all are."""
    found = Tally(["ape", "cat", "dog", "eel"])
    for true_label, label in (("cat", "cat"), ("cat", "eel"), ("dog", "dog"), ("dog", "dog"), ("dog", "dog")):
        found.add(true_label, label)
    return found


def test_the_document(tally: Tally) -> None:
    document = tally.to_dict()
    assert document is not None
    assert (document["accuracy"], document["num_images"]) == (0.8, 5)
    assert document["interval"] == pytest.approx([0.3755, 0.9638], abs=5e-5)
    assert document["confusion"] == {
        "true": ["cat", "dog"],
        "predicted": ["ape", "cat", "dog", "eel"],
        "counts": [[0, 1, 0, 1], [0, 0, 3, 0]],
    }


def test_the_lines(tally: Tally) -> None:
    assert tally.to_lines() == [
        "accuracy    80.0 % (95 % CI 37.6 to 96.4 %): 4 of 5 images in folders of classes",
        "confusion   true classes are rows, predicted ones columns",
        "     cat  dog  eel",
        "cat    1    0    1",
        "dog    0    3    0",
    ]


def test_many_classes_are_listed_by_confusion() -> None:
    classes = [f"c{number}" for number in range(20)]
    tally = Tally(classes)
    for first, second in itertools.pairwise(classes):
        tally.add(first, first)
        tally.add(first, second)
    tally.add("c3", "c4")
    lines = tally.to_lines()
    assert lines[1] == "confusion   c3 predicted as c4: 2 images"
    assert len(lines) == 11
    assert not [line for line in lines if "c1 predicted as c1:" in line]


def test_nothing_is_measured_without_classes() -> None:
    assert (Tally(["a", "b"]).to_dict(), Tally(["a", "b"]).to_lines()) == (None, [])


@pytest.mark.parametrize(("right", "num"), [(0, 10), (7, 10), (10, 10), (931, 1203)])
def test_the_interval_is_that_of_scipy(right: int, num: int) -> None:
    from scipy.stats import binomtest

    interval = binomtest(right, num).proportion_ci(method="wilson")
    assert wilson_interval(right, num) == pytest.approx((interval.low, interval.high))
