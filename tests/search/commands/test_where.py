"""Filters of `trials --where`."""

from __future__ import annotations

from typing import Any

import pytest

from search.commands.where import RowTest, parse_where, select
from search.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"number": 0, "rnn": "none", "nodes": None, "on": True, "lr": 0.001},
    {"number": 1, "rnn": "gru", "nodes": 4, "on": False, "lr": 0.01},
    {"number": 2, "rnn": "flat scalar", "nodes": 8, "on": False, "lr": 0.1},
]
NAMES = list(ROWS[0])


def numbers(where: str) -> list[Any]:
    rows, notes = select(ROWS, parse_where(where), NAMES)
    assert not notes
    return [row["number"] for row in rows]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("lr <= 0.01", [0, 1]),
        ("lr<1e-2", [0]),
        ("lr > .01 and on = false", [2]),
        ("nodes >= 4 and nodes < 8", [1]),
        ("nodes != 4", [0, 2]),
        ("nodes = 4", [1]),
        ("number == 2", [2]),
        ("rnn in gru, none", [0, 1]),
        ("rnn in [gru,none] and lr=0.001", [0]),
        ("rnn in (gru)", [1]),
        ("rnn = 'flat scalar'", [2]),
        ('rnn != "flat scalar" and on != true', [1]),
        ("number in 0, 2", [0, 2]),
        ("on = true", [0]),
    ],
)
def test_rows_are_chosen(where: str, found: list[int]) -> None:
    assert numbers(where) == found


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "expected a test such as val_accuracy>=0.9, found nothing"),
        ("nods = 4", "expected a column, found 'nods'; did you mean nodes"),
        ("zzz = 4", "expected a column, found 'zzz'; known: number, rnn"),
        ("nodes", "or in after nodes, found the end"),
        ("nodes 4", "or in after nodes, found '4'"),
        ("nodes =", "expected a value after =, found the end"),
        ("nodes = = 4", "expected a value after =, found '='"),
        ("nodes = 4 or lr = 1", "expected and between two tests, found 'or'"),
        ("nodes = 4 and", "expected a column, found the end"),
        ("rnn in (gru", r"expected \) after the list, found the end"),
        ("rnn in gru,", "expected a value after ,, found the end"),
        ("rnn = 'gru", 'a quoted text ends with its quote, found "\'gru"'),
        ("rnn < gru", "rnn: expected =, != or in, as it is text"),
        ("lr > high", "lr: expected a number, found 'high'"),
        ("lr > nan", "lr: expected a number, found 'nan'"),
        ("nodes = gru", "nodes: expected a number, found 'gru'"),
        ("on = 1", "on: expected true or false, found '1'"),
        ("__import__('os').system('true')", "found"),
        ("a" * 3000, "expected at most 2,000 characters, found 3,000"),
    ],
)
def test_a_wrong_filter_is_one_line(where: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        numbers(where)
    (fault,) = caught.value.faults
    assert fault.startswith("--where: ")
    assert len(fault) < 200


def test_a_text_that_no_row_has_is_said() -> None:
    rows, notes = select(ROWS, parse_where("rnn = gur"), NAMES)
    assert rows == []
    assert notes == ["--where: no trial has rnn gur; did you mean gru?"]


def test_a_quoted_word_is_no_keyword() -> None:
    assert parse_where("rnn = 'and'") == (RowTest(name="rnn", op="=", words=("and",)),)
