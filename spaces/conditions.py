"""Conditions under which a parameter is active, as plain data; no expressions are evaluated.

A condition is a list of alternatives, of which any must hold; an alternative is a set of tests, which must all hold. A
test of an inactive parameter never holds, even if negated: `chunk: {not: 4}` means "chunk is active and is not 4".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from spaces.domains import Domain, Fixed, Float, Value, show
from spaces.errors import near_matches


@dataclass(frozen=True)
class Test:
    """A test whether a parameter has, or does not have, one of some values."""

    __test__ = False  # pytest: not a test class

    name: str
    """Name of the tested parameter."""
    values: tuple[Value, ...]
    """Values to compare with; at least one."""
    negated: bool = False
    """Whether the parameter must have none of the values."""

    def holds(self, values: Mapping[str, object]) -> bool:
        """Return whether the values of the active parameters satisfy the test."""
        if self.name not in values:
            return False
        found = values[self.name]
        return any(type(found) is type(value) and found == value for value in self.values) is not self.negated


Condition: TypeAlias = tuple[tuple[Test, ...], ...]
"""Alternatives, each a tuple of tests; the empty tuple always holds."""


def holds(condition: Condition, values: Mapping[str, Value]) -> bool:
    """Return whether all tests of at least one alternative hold.

    >>> holds(((Test("rnn", ("lstm", "gru")),),), {"rnn": "gru"})
    True
    """
    return not condition or any(all(test.holds(values) for test in clause) for clause in condition)


def names_in(condition: Condition) -> frozenset[str]:
    """Return the names of all parameters that a condition tests."""
    return frozenset(test.name for clause in condition for test in clause)


def parse_condition(data: object, where: str, known: Mapping[str, Domain], faults: list[str]) -> Condition:
    """Read a condition and collect its faults.

    Args:
        data: A mapping parameter -> value, list of values or {not: ...}; or a list of such mappings.
        where: Path of the condition, for fault lines.
        known: Parameters declared earlier, with their domains; a condition may name no others.
        faults: Receives one line per fault.
    """
    clauses: list[Any] = data if isinstance(data, list) else [data]
    if not clauses or not all(isinstance(clause, Mapping) and clause for clause in clauses):
        faults.append(f"{where}: expected a mapping parameter: value, or a list of such mappings; found {show(data)}")
        return ()
    return tuple(
        tuple(_parse_test(str(name), wanted, where, known, faults) for name, wanted in clause.items())
        for clause in clauses
    )


def _parse_test(name: str, wanted: object, where: str, known: Mapping[str, Domain], faults: list[str]) -> Test:
    negated = False
    if isinstance(wanted, Mapping):
        if set(wanted) != {"not"}:
            faults.append(f"{where}.{name}: expected a value, a list of values or {{not: ...}}; found {show(wanted)}")
            return Test(name, ())
        wanted, negated = wanted["not"], True
    listed = tuple(wanted) if isinstance(wanted, list) else (wanted,)
    if not listed:
        faults.append(f"{where}.{name}: expected at least one value, found an empty list")
    if name not in known:
        near = near_matches(name, known)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        faults.append(f"{where}.{name}: expected a parameter declared earlier, found an unknown name{hint}")
        return Test(name, ())
    domain = known[name]
    if isinstance(domain, Float):
        faults.append(f"{where}.{name}: expected a parameter with countable values, found {domain.describe()}")
        return Test(name, ())
    values: list[Value] = []
    for value in listed:
        stored = domain.match(value)
        if stored is None and isinstance(domain, Fixed) and isinstance(value, bool | int | float | str):
            stored = value  # tests of other values than a pinned one remain in the space; they never hold
        if stored is None:
            faults.append(f"{where}.{name}: expected {domain.describe()}, found {show(value)}")
        else:
            values.append(stored)
    return Test(name, tuple(values), negated)


def condition_data(condition: Condition) -> object:
    """Return a condition as the plain data that `parse_condition` reads."""

    def plain(test: Test) -> object:
        listed: object = test.values[0] if len(test.values) == 1 else list(test.values)
        return {"not": listed} if test.negated else listed

    clauses = [{test.name: plain(test) for test in clause} for clause in condition]
    return clauses[0] if len(clauses) == 1 else clauses
