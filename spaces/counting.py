"""Counts the points that complete a partial assignment, and finds the values that lead to one, without listing points.

Points are counted by classes of values: each value that a condition or forbidden clause names is a class of its own,
and all other values of the parameter share one class with a multiplicity. Counts are cached by the earlier classes
that they depend on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from spaces.conditions import Condition, Test
from spaces.domains import Choice, Domain, Value
from spaces.parse import Parameter

Alternative = tuple[Test, ...]
"""Tests of a forbidden clause: a point for which all of them hold is forbidden."""
_UNNAMED = 0
"""The class of all values that no test names."""
_State = Mapping[str, int]
"""Active parameter -> class of its value."""
_Tests = list[tuple[str, frozenset[int]]]
"""Parameters that must be active, each with the classes that satisfy the tests."""


def due_alternatives(
    parameters: Sequence[Parameter], forbidden: Sequence[tuple[Condition, str]]
) -> list[list[tuple[Alternative, str]]]:
    """Return, per parameter, the forbidden alternatives whose last tested parameter it is, with the reasons."""
    position = {parameter.name: index for index, parameter in enumerate(parameters)}
    due: list[list[tuple[Alternative, str]]] = [[] for _ in parameters]
    for when, why in forbidden:
        for alternative in when:
            due[max(position[test.name] for test in alternative)].append((alternative, why))
    return due


class Completions:
    """Completions of partial assignments, made in the order of the parameters.

    Args:
        parameters: The parameters in order; conditions test earlier ones only.
        forbidden: Clauses that no point may satisfy, with the reasons.

    Attributes:
        num_points: Number of points; a continuous parameter counts as one value.
        active: Parameters that are active in at least one point.
    """

    def __init__(self, parameters: Sequence[Parameter], forbidden: Sequence[tuple[Condition, str]]) -> None:
        self._parameters = parameters
        due = [[tests for tests, _ in alternatives] for alternatives in due_alternatives(parameters, forbidden)]
        # Per parameter, the values with a class of their own and its number.
        self._classes: dict[str, dict[tuple[type, Value], int]] = {item.name: {} for item in parameters}
        last_use: dict[str, int] = {}
        for index, parameter in enumerate(parameters):
            for test in (test for tests in (*parameter.when, *due[index]) for test in tests):
                last_use[test.name] = index
                classes = self._classes[test.name]
                for value in test.values:
                    classes.setdefault((type(value), value), len(classes) + 1)
        self._sizes = [self._class_sizes(item) for item in parameters]
        self._when = [[self._compile(tests) for tests in item.when] for item in parameters]
        # Per position and class, the tests that forbid it together with earlier values.
        self._barred = [
            {each: [self._compile(rest) for rest in self._left(due[index], item.name, each)] for each in sizes}
            for index, (item, sizes) in enumerate(zip(parameters, self._sizes, strict=True))
        ]
        # Per position, the earlier parameters that a condition or clause at or after it tests.
        self._needed = [
            [item.name for item in parameters[:index] if last_use.get(item.name, -1) >= index]
            for index in range(len(parameters) + 1)
        ]
        self._counts: list[dict[tuple[int, ...], int]] = [{} for _ in self._needed]
        self._offers: list[dict[tuple[int, ...], Domain]] = [{} for _ in self._needed]
        self.active: set[str] = set()
        self.num_points = self._count(0, {})

    def _class_sizes(self, parameter: Parameter) -> dict[int, int]:
        """Return the number of values in each class of a parameter; a continuous rest counts as one."""
        domain = parameter.domain
        named = {
            number: 1
            for (kind, value), number in self._classes[parameter.name].items()
            if type(domain.match(value)) is kind
        }
        rest = (domain.size or 1) - len(named)
        return {**named, _UNNAMED: rest} if rest else named

    def _ids(self, test: Test) -> frozenset[int]:
        classes = self._classes[test.name]
        named = frozenset(classes[type(value), value] for value in test.values)
        return frozenset(range(len(classes) + 1)) - named if test.negated else named

    def _compile(self, tests: Iterable[Test]) -> _Tests:
        return [(test.name, self._ids(test)) for test in tests]

    def _left(self, alternatives: Iterable[Alternative], name: str, chosen: int) -> Iterator[Alternative]:
        """Yield the alternatives that still apply if `name` has the chosen class, each without its tests of `name`."""
        for tests in alternatives:
            if all(chosen in self._ids(test) for test in tests if test.name == name):
                yield tuple(test for test in tests if test.name != name)

    def narrowed(self, index: int, values: Mapping[str, Value]) -> Domain:
        """Return the values of an active parameter from which a point can be completed, or its domain if all can.

        Args:
            index: Position of the parameter.
            values: Values of the earlier active parameters, with which at least one point exists.
        """
        state = {
            name: self._classes[name].get((type(values[name]), values[name]), _UNNAMED)
            for name in self._needed[index]
            if name in values
        }
        key = self._key(index, state)
        offer = self._offers[index].get(key)
        if offer is None:
            offer = self._offers[index][key] = self._narrow(index, state)
        return offer

    def _narrow(self, index: int, state: _State) -> Domain:
        name, domain = self._parameters[index].name, self._parameters[index].domain
        lives = {chosen for chosen in self._sizes[index] if self._count_with(index, state, chosen)}
        if len(lives) == len(self._sizes[index]):
            return domain
        classes = self._classes[name]
        members = (value for value in domain.members() if classes.get((type(value), value), _UNNAMED) in lives)
        return Choice(tuple(members))

    def _key(self, index: int, state: _State) -> tuple[int, ...]:
        return tuple(state.get(name, -1) for name in self._needed[index])

    def _count(self, index: int, state: _State) -> int:
        """Return the number of points with these classes of the parameters before `index`."""
        if index == len(self._parameters):
            return 1
        key = self._key(index, state)
        found = self._counts[index].get(key)
        if found is None:
            found = self._counts[index][key] = self._branch(index, state)
        return found

    def _branch(self, index: int, state: _State) -> int:
        when = self._when[index]
        if when and not any(_hold(tests, state) for tests in when):
            return self._count(index + 1, state)
        total = sum(size * self._count_with(index, state, each) for each, size in self._sizes[index].items())
        if total:
            self.active.add(self._parameters[index].name)
        return total

    def _count_with(self, index: int, state: _State, chosen: int) -> int:
        if any(_hold(tests, state) for tests in self._barred[index][chosen]):
            return 0
        return self._count(index + 1, {**state, self._parameters[index].name: chosen})


def _hold(tests: _Tests, state: _State) -> bool:
    return all(state.get(name, -1) in classes for name, classes in tests)
