"""Filters of `trials --where`: parsed and applied to rows; no text is ever evaluated.

    filter = test {"and" test}
    test   = name ("=" | "!=" | "<" | "<=" | ">" | ">=") value
           | name "in" value {"," value}          (the list may stand in brackets)

A value is a word or a quoted text. Whether it means a number, true or false, or a text follows from the column.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from search.errors import InputError
from spaces.errors import near_matches

Cell = bool | int | float | str | None
"""A value of a row; None if the row has none."""

MAX_CHARACTERS = 2_000
_TOKEN = re.compile(
    r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<op><=|>=|!=|==?|<|>)|(?P<mark>[,()\[\]])"""
    r"""|(?P<word>[^\s=<>!,()\[\]"']+))"""
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS = "=, !=, <, <=, >, >= or in"


@dataclass(frozen=True, kw_only=True)
class RowTest:
    """One test of a filter."""

    name: str
    op: str
    """`=`, `!=`, `<`, `<=`, `>`, `>=` or `in`."""
    words: tuple[str, ...]
    """The values as they were written, without quotes; one, except for `in`."""


def parse_where(text: str) -> tuple[RowTest, ...]:
    """Parse a filter.

    >>> [(test.name, test.op, test.words) for test in parse_where("val_accuracy >= 0.9 and rnn in [lstm, gru]")]
    [('val_accuracy', '>=', ('0.9',)), ('rnn', 'in', ('lstm', 'gru'))]

    Raises:
        InputError: The text is no filter; the message says where.
    """
    tokens = _tokens(text)
    tests: list[RowTest] = []
    while tokens:
        if tests:
            _expect(tokens, "and", "and between two tests")
        kind, name = _take(tokens, "a column")
        if kind != "word":
            raise _fault("a column", name)
        kind, op = _take(tokens, f"{_OPERATORS} after {name}")
        if kind == "op" or (kind, op) == ("word", "in"):
            words = _list(tokens) if op == "in" else (_value(tokens, op),)
            tests.append(RowTest(name=name, op="=" if op == "==" else op, words=words))
        else:
            raise _fault(f"{_OPERATORS} after {name}", op)
    if not tests:
        raise InputError("--where: expected a test such as val_accuracy>=0.9, found nothing")
    return tuple(tests)


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"--where: expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}")
    tokens, place = [], 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise _fault("a column, an operator or a value; a quoted text ends with its quote", text[place:].strip())
        kind = str(found.lastgroup)
        tokens.append(("quoted" if kind in {"double", "single"} else kind, found[kind]))
        place = found.end()
    return tokens


def _take(tokens: list[tuple[str, str]], expected: str) -> tuple[str, str]:
    if not tokens:
        raise InputError(f"--where: expected {expected}, found the end")
    return tokens.pop(0)


def _expect(tokens: list[tuple[str, str]], word: str, expected: str) -> None:
    kind, found = _take(tokens, expected)
    if (kind, found) not in {("word", word), ("mark", word)}:
        raise _fault(expected, found)


def _value(tokens: list[tuple[str, str]], after: str) -> str:
    kind, value = _take(tokens, f"a value after {after}")
    if kind not in {"word", "quoted"}:
        raise _fault(f"a value after {after}", value)
    return value


def _list(tokens: list[tuple[str, str]]) -> tuple[str, ...]:
    closing = {"(": ")", "[": "]"}.get(tokens[0][1]) if tokens and tokens[0][0] == "mark" else None
    if closing:
        tokens.pop(0)
    values = [_value(tokens, "in")]
    while tokens and tokens[0] == ("mark", ","):
        tokens.pop(0)
        values.append(_value(tokens, ","))
    if closing:
        _expect(tokens, closing, f"{closing} after the list")
    return tuple(values)


def _fault(expected: str, found: str) -> InputError:
    return InputError(f"--where: expected {expected}, found {found[:40]!r}")


def check_name(option: str, name: str, known: Sequence[str]) -> None:
    """Check the name of a column.

    Args:
        option: The option that names it, for the message.
        name: The name.
        known: Names of all columns.

    Raises:
        InputError: There is no such column; the message offers similar ones.
    """
    if name not in known:
        near = near_matches(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"{option}: expected a column, found {name[:40]!r}; {hint}")


def select(
    rows: Iterable[Mapping[str, Cell]], tests: Sequence[RowTest], names: Sequence[str]
) -> tuple[list[Mapping[str, Cell]], list[str]]:
    """Return the rows that pass all tests, and notes on texts that no row has.

    A row without the value of a column passes only `!=`.

    Args:
        rows: The rows.
        tests: The tests.
        names: Names of all columns.

    Raises:
        InputError: A column is unknown, or its values cannot be compared like this.
    """
    left, notes = list(rows), []
    everything = left
    for test in tests:
        check_name("--where", test.name, names)
        held = [row[test.name] for row in everything if row[test.name] is not None]
        values = [_converted(word, test, {_kind(value) for value in held}) for word in test.words]
        notes += _notes(test, values, held)
        left = [row for row in left if _passes(row[test.name], test.op, values)]
    return left, notes


def _kind(value: Cell) -> str:
    return "true or false" if isinstance(value, bool) else "text" if isinstance(value, str) else "a number"


def _converted(word: str, test: RowTest, kinds: set[str]) -> Cell:
    """Return a value of a filter in the type of its column."""
    if test.op in _COMPARE and kinds and "a number" not in kinds:
        raise InputError(f"--where: {test.name}: expected =, != or in, as it is {' or '.join(sorted(kinds))}")
    if "true or false" in kinds and word in {"true", "false"}:
        return word == "true"
    number = _number(word)
    if number is not None and ("a number" in kinds or test.op in _COMPARE):
        return number
    if test.op not in _COMPARE and ("text" in kinds or not kinds):
        return word
    expected = "a number" if test.op in _COMPARE else " or ".join(sorted(kinds))
    raise InputError(f"--where: {test.name}: expected {expected}, found {word[:40]!r}")


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _notes(test: RowTest, values: Sequence[Cell], held: Sequence[Cell]) -> list[str]:
    texts = [value for value in dict.fromkeys(held) if isinstance(value, str)]
    missing = [value for value in values if isinstance(value, str) and value not in texts]
    notes = []
    for value in missing:
        near = near_matches(value, texts)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; found: {', '.join(texts[:8])}" if texts else ""
        notes.append(f"--where: no trial has {test.name} {value}{hint}")
    return notes


def _passes(value: Cell, op: str, values: Sequence[Cell]) -> bool:
    if value is None:
        return op == "!="
    if op in _COMPARE:
        return all(
            _COMPARE[op](value, other)
            for other in values
            if isinstance(value, int | float) and isinstance(other, int | float)
        )
    is_any = any(_kind(value) == _kind(other) and value == other for other in values)
    return is_any != (op == "!=")
