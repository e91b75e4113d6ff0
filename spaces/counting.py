"""How many points a space has, without building them.

Points are counted class by class: of each parameter only the values that some later condition or forbidden clause
names are told apart, the others share one class with a multiplicity. Sub-counts that depend on the same earlier
classes are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from spaces.conditions import Condition, holds, names_in
from spaces.domains import Domain, Value
from spaces.parse import Parameter


class _Other:
    """Stands for every value that nobody asks about."""


_OTHER = _Other()


@dataclass
class Count:
    """What counting found."""

    num_points: int
    """Points, each continuous parameter counted as one value."""
    active: set[str] = field(default_factory=set)
    """Parameters that are active in at least one point."""


def due_clauses(
    parameters: Sequence[Parameter], forbidden: Sequence[tuple[Condition, str]]
) -> list[list[tuple[Condition, str]]]:
    """Per parameter, the forbidden clauses that are decided once it has its value."""
    position = {parameter.name: index for index, parameter in enumerate(parameters)}
    due: list[list[tuple[Condition, str]]] = [[] for _ in parameters]
    for when, why in forbidden:
        due[max(position[name] for name in names_in(when))].append((when, why))
    return due


def count_points(parameters: Sequence[Parameter], forbidden: Sequence[tuple[Condition, str]]) -> Count:
    """Count the points and see which parameters are ever active."""
    asked: dict[str, set[tuple[type, Value]]] = {}
    last_use: dict[str, int] = {}
    due = due_clauses(parameters, forbidden)
    for index, parameter in enumerate(parameters):
        for condition in (parameter.when, *(when for when, _ in due[index])):
            for test in (test for clause in condition for test in clause):
                asked.setdefault(test.name, set()).update((type(value), value) for value in test.values)
                last_use[test.name] = index
    memo: dict[tuple[int, frozenset[tuple[str, type, object]]], int] = {}
    found = Count(0)

    def count(index: int, values: Mapping[str, Value]) -> int:
        if index == len(parameters):
            return 1
        needed = {name: value for name, value in values.items() if last_use.get(name, -1) >= index}
        key = (index, frozenset((name, type(value), value) for name, value in needed.items()))
        if key not in memo:
            memo[key] = branch(index, needed)
        return memo[key]

    def branch(index: int, values: Mapping[str, Value]) -> int:
        parameter = parameters[index]
        if not holds(parameter.when, values):
            return 0 if any(holds(when, values) for when, _ in due[index]) else count(index + 1, values)
        total = 0
        for value, multiplicity in _classes(parameter.domain, asked.get(parameter.name, set())):
            # _OTHER equals no value that a test names, so every test on it comes out right.
            chosen = {**values, parameter.name: value}
            if not any(holds(when, chosen) for when, _ in due[index]):
                total += multiplicity * count(index + 1, chosen)
        if total:
            found.active.add(parameter.name)
        return total

    found.num_points = count(0, {})
    return found


def _classes(domain: Domain, asked: set[tuple[type, Value]]) -> Iterator[tuple[Value, int]]:
    named = [value for kind, value in asked if type(domain.match(value)) is kind]
    yield from ((value, 1) for value in named)
    rest = (domain.size or 1) - len(named)
    if rest:
        yield _OTHER, rest  # type: ignore[misc]
