"""Domains keep one type per value and say what they allow."""

import pytest

from spaces.domains import Choice, Fixed, Float, Int
from spaces.errors import SpaceError

DOMAINS = [Float(1e-4, 1e-2, log=True), Int(8, 64, step=8), Choice((0.0, 0.1, "a", True)), Fixed(16)]


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (Float(0.0, 1.0), [0.0, 1, 0.5], [-0.1, 1.1, True, "0.5", float("nan"), None]),
        (Int(1, 9, step=2), [1, 3, 9], [0, 2, 10, 11, 3.0, True, "3"]),
        (Choice((16, True, "x")), [16, True, "x"], [16.0, 1, False, "16", "y", None]),
        (Choice((0.0, 0.5)), [0.0, 0], [False, "0.0", 1]),
        (Fixed(False), [False], [0, 0.0, "false"]),
    ],
)
def test_contains(domain, inside, outside):
    assert all(domain.contains(value) for value in inside)
    assert not any(domain.contains(value) for value in outside)


def test_match_gives_the_stored_type():
    assert type(Float(0, 1).match(1)) is float
    assert type(Choice((0.0, 0.5)).match(0)) is float
    assert type(Choice((0, 0.0)).match(0)) is int
    assert str(Float(-1, 1).match(-0.0)) == "0.0"


@pytest.mark.parametrize("domain", DOMAINS[1:])
def test_size_is_the_number_of_members(domain):
    members = list(domain.members())
    assert len(members) == domain.size
    assert all(domain.contains(value) for value in members)


def test_continuous_has_no_size():
    assert DOMAINS[0].size is None
    assert Float(2, 2).size == 1
    assert list(Float(2, 2).members()) == [2.0]
    with pytest.raises(SpaceError, match="cannot be listed"):
        next(DOMAINS[0].members())


def test_describe():
    words = [domain.describe() for domain in DOMAINS]
    assert words == [
        "a number from 0.0001 to 0.01 (log)",
        "a whole number from 8 to 64 in steps of 8",
        "one of 0.0, 0.1, a, true",
        "exactly 16",
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Float(2, 1), "expected low <= high, found 2.0 > 1.0"),
        (lambda: Float(0, 1, log=True), "expected low > 0 with log"),
        (lambda: Float("0", 1), "low: expected a finite number, found '0'"),
        (lambda: Float(0, float("inf")), "high: expected a finite number"),
        (lambda: Int(2, 1), "expected low <= high, found 2 > 1"),
        (lambda: Int(0, 1, log=True), "expected low > 0 with log"),
        (lambda: Int(1, 2.0), "high: expected a whole number, found 2.0"),
        (lambda: Int(1, 2, step=0), "step: expected at least 1, found 0"),
        (lambda: Int(1, 9, step=2, log=True), "step: expected 1 with log"),
        (lambda: Choice(()), "found an empty choice"),
        (lambda: Choice((1, 1)), "found 1 twice"),
        (lambda: Choice((None,)), "expected a truth value, a finite number or text, found null"),
        (lambda: Fixed([1]), "expected a truth value"),
    ],
)
def test_faulty_domains_say_so(make, words):
    with pytest.raises(SpaceError, match=words):
        make()
