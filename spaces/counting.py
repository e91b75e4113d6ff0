"""Counts the points that complete a partial assignment, and finds the values that lead to one, without listing points.

A condition, like a forbidden clause, consists of alternatives, and an alternative holds if all its tests hold. All that
earlier values mean for later parameters is which alternatives they leave possible: a set, stored as the bits of an
integer. Counts are cached by this set, and values of a parameter that leave the same set are counted together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from spaces.conditions import Condition, Test
from spaces.domains import Choice, Domain, Value
from spaces.parse import Parameter

Alternative = tuple[Test, ...]
"""Tests of a forbidden clause: a point for which all of them hold is forbidden."""
_Bits = int
"""A set of alternatives; a negative number is an infinite set, the complement of a finite one."""
_UNNAMED = object()
"""Stands for all values that no test names."""


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


class _Effects:
    """Which alternatives each value of a parameter leaves possible.

    Args:
        parameter: The parameter.
        tests: All tests of it, each with the bit of its alternative.

    Attributes:
        inactive: What the inactive parameter leaves possible: every alternative without a test of it.
        sizes: What a value leaves possible -> number of such values; a continuous rest counts as one.
    """

    def __init__(self, parameter: Parameter, tests: Sequence[tuple[_Bits, Test]]) -> None:
        self._name = parameter.name
        self.inactive = _left(tests, {})
        self._rest = _left(tests, {self._name: _UNNAMED})
        self._named = {
            (type(value), value): _left(tests, {self._name: value}) for _, test in tests for value in test.values
        }
        match = parameter.domain.match
        self.sizes = Counter(left for (kind, value), left in self._named.items() if type(match(value)) is kind)
        if num_unnamed := (parameter.domain.size or 1) - self.sizes.total():
            self.sizes[self._rest] += num_unnamed

    def of(self, value: Value) -> _Bits:
        """Return what a value of the active parameter leaves possible."""
        return self._named.get((type(value), value), self._rest)

    def among(self, values: Mapping[str, Value]) -> _Bits:
        """Return what the parameter leaves possible, given the values of all active ones."""
        return self.of(values[self._name]) if self._name in values else self.inactive


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
        tests: dict[str, list[tuple[_Bits, Test]]] = {item.name: [] for item in parameters}
        bit = 1
        # Per parameter: the alternatives of its condition, the forbidden ones that it completes, and all from there on.
        self._when: list[_Bits] = []
        self._barred: list[_Bits] = []
        self._ahead: list[_Bits] = []
        for item, due in zip(parameters, due_alternatives(parameters, forbidden), strict=True):
            self._ahead.append(-bit)
            for role, alternatives in ((self._when, item.when), (self._barred, [clause for clause, _ in due])):
                first = bit
                for alternative in alternatives:
                    for test in alternative:
                        tests[test.name].append((bit, test))
                    bit <<= 1
                role.append(bit - first)
        self._effects = [_Effects(item, tests[item.name]) for item in parameters]
        # Per position, the earlier parameters that an alternative at or after it tests.
        self._needed = [
            [effects for effects in self._effects[:index] if ~effects.inactive & ahead]
            for index, ahead in enumerate(self._ahead)
        ]
        self._counts: list[dict[_Bits, int]] = [{} for _ in parameters]
        self._offers: list[dict[_Bits, Domain]] = [{} for _ in parameters]
        self.active: set[str] = set()
        self.num_points = self._count(0, -1)

    def possible_values(self, index: int, values: Mapping[str, Value]) -> Domain:
        """Return the values of an active parameter from which a point can be completed, or its domain if all can.

        Args:
            index: Position of the parameter.
            values: Values of the earlier active parameters, with which at least one point exists.
        """
        possible = self._ahead[index]
        for effects in self._needed[index]:
            possible &= effects.among(values)
        offer = self._offers[index].get(possible)
        if offer is None:
            offer = self._offers[index][possible] = self._narrow(index, possible)
        return offer

    def _narrow(self, index: int, possible: _Bits) -> Domain:
        domain, effects = self._parameters[index].domain, self._effects[index]
        lives = {left for left in effects.sizes if self._count_after(index, possible & left)}
        if len(lives) == len(effects.sizes):
            return domain
        return Choice(tuple(value for value in domain.members() if effects.of(value) in lives))

    def _count(self, index: int, possible: _Bits) -> int:
        """Return the number of points with values of the parameters before `index` that leave this possible."""
        if index == len(self._parameters):
            return 1
        possible &= self._ahead[index]
        found = self._counts[index].get(possible)
        if found is None:
            found = self._counts[index][possible] = self._branch(index, possible)
        return found

    def _branch(self, index: int, possible: _Bits) -> int:
        effects = self._effects[index]
        if self._when[index] and not self._when[index] & possible:
            return self._count(index + 1, possible & effects.inactive)
        total = sum(size * self._count_after(index, possible & left) for left, size in effects.sizes.items())
        if total:
            self.active.add(self._parameters[index].name)
        return total

    def _count_after(self, index: int, possible: _Bits) -> int:
        """Return the number of points with values of the parameters up to `index` that leave this possible."""
        return 0 if self._barred[index] & possible else self._count(index + 1, possible)


def _left(tests: Sequence[tuple[_Bits, Test]], values: Mapping[str, object]) -> _Bits:
    """Return the alternatives of which no test fails."""
    return ~sum({bit for bit, test in tests if not test.holds(values)})
