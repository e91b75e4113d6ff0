"""When a parameter is active: plain data, no expressions to evaluate.

A condition is a list of alternatives (any), each a set of tests (all). A test about an inactive parameter never holds,
not even a negated one: `chunk: {not: 4}` means "chunk is active and is not 4".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from spaces.domains import Domain, Fixed, Float, Value, show
from spaces.errors import near_matches


@dataclass(frozen=True)
class Test:
    """One parameter is (or is not) one of some values."""

    __test__ = False  # pytest: not a test class

    name: str
    """The parameter asked about."""
    values: tuple[Value, ...]
    """What it is compared with; at least one."""
    negated: bool = False
    """Whether it must be none of them."""

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether the active parameters' values satisfy the test."""
        if self.name not in values:
            return False
        found = values[self.name]
        return any(type(found) is type(value) and found == value for value in self.values) is not self.negated


Condition: TypeAlias = tuple[tuple[Test, ...], ...]
"""Alternatives of tests; the empty tuple means always."""


def holds(condition: Condition, values: Mapping[str, Value]) -> bool:
    """Whether one alternative has all its tests satisfied."""
    return not condition or any(all(test.holds(values) for test in clause) for clause in condition)


def names_in(condition: Condition) -> frozenset[str]:
    """Every parameter that the condition asks about."""
    return frozenset(test.name for clause in condition for test in clause)


def parse_condition(data: object, where: str, known: Mapping[str, Domain], faults: list[str]) -> Condition:
    """Read a condition, noting what is wrong with it.

    Args:
        data: A mapping parameter -> value, list of values or {not: ...}; or a list of such mappings.
        where: Named in the faults.
        known: Parameters that may be named, with their domains.
        faults: Lines are appended here.
    """
    clauses: list[Any] = data if isinstance(data, list) else [data]
    if not clauses or not all(isinstance(clause, Mapping) and clause for clause in clauses):
        faults.append(f"{where}: expected a mapping parameter: value, or a list of such mappings; found {data!r}")
        return ()
    return tuple(
        tuple(_parse_test(str(name), wanted, where, known, faults) for name, wanted in clause.items())
        for clause in clauses
    )


def _parse_test(name: str, wanted: object, where: str, known: Mapping[str, Domain], faults: list[str]) -> Test:
    negated = False
    if isinstance(wanted, Mapping):
        if set(wanted) != {"not"}:
            faults.append(f"{where}.{name}: expected a value, a list of values or {{not: ...}}; found {dict(wanted)!r}")
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
            stored = value  # a pinned parameter leaves tests about its other values behind; they never hold
        if stored is None:
            faults.append(f"{where}.{name}: expected {domain.describe()}, found {show(value)}")
        else:
            values.append(stored)
    return Test(name, tuple(values), negated)


def condition_data(condition: Condition) -> object:
    """Write a condition as the plain data it was read from."""

    def plain(test: Test) -> object:
        listed: object = test.values[0] if len(test.values) == 1 else list(test.values)
        return {"not": listed} if test.negated else listed

    clauses = [{test.name: plain(test) for test in clause} for clause in condition]
    return clauses[0] if len(clauses) == 1 else clauses
