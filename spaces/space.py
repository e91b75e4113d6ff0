"""Search spaces: ordered parameters with conditions, and forbidden combinations."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spaces.conditions import Condition, condition_data, holds, names_in, parse_condition
from spaces.counting import Alternative, Completions, due_alternatives
from spaces.domains import Domain, Fixed, Value, show
from spaces.errors import SpaceError, near_matches
from spaces.parse import Parameter, parameter_data, parse_parameter
from spaces.point import Point, digest_of

__all__ = ["Forbidden", "Parameter", "Point", "Space", "SpaceError"]

Forbidden = tuple[Condition, str]
"""A forbidden combination, and the reason."""


@dataclass(frozen=True)
class Space:
    """A search space with conditional parameters and forbidden combinations.

    Raises:
        SpaceError: A name is used twice, a condition tests a later parameter, or the space has no point.

    Example:
        >>> space = Space.from_dict("s", {"rnn": ["none", "lstm"], "nodes": {"int": [8, 64], "when": {"rnn": "lstm"}}})
        >>> space.size
        58
        >>> dict(space.point({"rnn": "lstm", "nodes": 16}))
        {'rnn': 'lstm', 'nodes': 16}
    """

    name: str
    """Name of the space, for error messages."""
    parameters: tuple[Parameter, ...]
    """At least one parameter, with unique names; a condition tests earlier parameters only."""
    forbidden: tuple[Forbidden, ...] = ()
    """Combinations that no point has."""

    def __post_init__(self) -> None:
        """Check names and conditions, and that a point exists."""
        faults: list[str] = []
        declared: dict[str, Domain] = {}
        for parameter in self.parameters:
            if parameter.name in declared:
                faults.append(f"{self.name}.{parameter.name}: expected one declaration, found two")
            faults += (
                f"{self.name}.{parameter.name}.when.{name}: expected a parameter declared earlier, found none"
                for name in sorted(names_in(parameter.when) - declared.keys())
            )
            declared[parameter.name] = parameter.domain
        for index, (when, _) in enumerate(self.forbidden):
            if not when or names_in(when) - declared.keys():
                faults.append(f"{self.name}.forbidden.{index}.when: expected tests on parameters of the space")
        if faults:
            raise SpaceError(*faults)
        if not self.parameters or not self._completions.num_points:
            raise SpaceError(f"{self.name}: expected at least one possible point, found none")

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> Space:
        """Read a space from plain data.

        Args:
            name: Name of the space.
            data: Parameter name -> domain, and optionally `forbidden` -> list of {when, why}.

        Raises:
            SpaceError: The data are invalid; holds every fault.
        """
        if not isinstance(data, Mapping):
            raise SpaceError(f"{name}: expected a mapping of parameters, found {show(data)}")
        faults: list[str] = []
        known: dict[str, Domain] = {}
        parameters: list[Parameter] = []
        for key, entry in data.items():
            if key == "forbidden":
                continue
            parameter = parse_parameter(str(key), entry, f"{name}.{key}", known, faults)
            # Keep the name known, so that conditions on it are not reported as further faults.
            known[str(key)] = parameter.domain if parameter else Fixed("?")
            if parameter:
                parameters.append(parameter)
        clauses = data.get("forbidden", [])
        forbidden: list[Forbidden] = []
        if not isinstance(clauses, list):
            faults.append(f"{name}.forbidden: expected a list of {{when, why}}, found {show(clauses)}")
            clauses = []
        for index, clause in enumerate(clauses):
            where = f"{name}.forbidden.{index}"
            if not isinstance(clause, Mapping) or set(clause) != {"when", "why"} or not isinstance(clause["why"], str):
                faults.append(f"{where}: expected {{when: condition, why: text}}, found {show(clause)}")
                continue
            forbidden.append((parse_condition(clause["when"], f"{where}.when", known, faults), clause["why"]))
        if faults:
            raise SpaceError(*faults)
        return cls(name, tuple(parameters), tuple(forbidden))

    def to_dict(self) -> dict[str, Any]:
        """Return the space as plain data, which `from_dict` reads back equal."""
        data: dict[str, Any] = {parameter.name: parameter_data(parameter) for parameter in self.parameters}
        if self.forbidden:
            data["forbidden"] = [{"when": condition_data(when), "why": why} for when, why in self.forbidden]
        return data

    @cached_property
    def digest(self) -> str:
        """16 hex digits that identify the parameters, their order and the forbidden clauses, but not the name."""
        data = self.to_dict()
        return digest_of(
            [[parameter.name, data[parameter.name]] for parameter in self.parameters] + [data.get("forbidden")]
        )

    @cached_property
    def _completions(self) -> Completions:
        return Completions(self.parameters, self.forbidden)

    @cached_property
    def _due(self) -> list[list[tuple[Alternative, str]]]:
        return due_alternatives(self.parameters, self.forbidden)

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters that vary: active in at least one point, with more than one value."""
        active = self._completions.active
        return tuple(item.name for item in self.parameters if item.name in active and item.domain.size != 1)

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of the continuous parameters that are active in at least one point."""
        active = self._completions.active
        return tuple(item.name for item in self.parameters if item.name in active and item.domain.size is None)

    @property
    def size(self) -> int | None:
        """Exact number of points; None if a parameter is continuous."""
        return None if self.continuous else self._completions.num_points

    def pin(self, fix: Mapping[str, Value]) -> Space:
        """Return a space with some parameters fixed; a fixed parameter that is never active remains, inactive.

        Args:
            fix: Parameter name -> value.

        Raises:
            SpaceError: A name is unknown, a value is outside its domain, or no point is left.
        """
        if not fix:
            return self
        known = {parameter.name: parameter for parameter in self.parameters}
        faults, pinned = [], {}
        for name, value in fix.items():
            if name not in known:
                faults.append(_unknown(f"{self.name}.{name}", name, known))
                continue
            stored = known[name].domain.match(value)
            if stored is None:
                faults.append(f"{self.name}.{name}: expected {known[name].domain.describe()}, found {show(value)}")
            else:
                pinned[name] = Fixed(stored)
        if faults:
            raise SpaceError(*faults)
        return dataclasses.replace(
            self,
            parameters=tuple(
                dataclasses.replace(item, domain=pinned.get(item.name, item.domain)) for item in self.parameters
            ),
        )

    def point(self, values: Mapping[str, object]) -> Point:
        """Check a complete assignment and return it as a point.

        Args:
            values: Values of all active parameters; fixed ones may be omitted.

        Raises:
            SpaceError: The assignment is invalid; holds every fault.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        faults = [_unknown(f"{self.name}.{name}", name, known) for name in values if name not in known]
        stored: dict[str, Value] = {}
        unclear: set[str] = set()  # wrong or missing; parameters that depend on them are not checked
        for parameter, due in zip(self.parameters, self._due, strict=True):
            name, where = parameter.name, f"{self.name}.{parameter.name}"
            given = values.get(name, parameter.domain.value if isinstance(parameter.domain, Fixed) else None)
            value = None if given is None else parameter.domain.match(given)
            wrong = name in values and value is None
            if wrong:
                faults.append(f"{where}: expected {parameter.domain.describe()}, found {show(values[name])}")
            if names_in(parameter.when) & unclear or wrong:
                unclear.add(name)
            elif not holds(parameter.when, stored):
                if name in values:
                    why = _describe(parameter.when)
                    faults.append(f"{where}: expected no value (active only when {why}), found {show(values[name])}")
            elif value is None:
                faults.append(f"{where}: expected {parameter.domain.describe()}, found no value")
                unclear.add(name)
            else:
                stored[name] = value
            faults += (
                f"{self.name}: forbidden ({_describe((tests,))}): {why}"
                for tests, why in due
                if holds((tests,), stored)
            )
        if faults:
            raise SpaceError(*faults)
        return Point(stored)

    def assemble(self, suggest: Callable[[str, Domain], object]) -> Point:
        """Build a point from the values that `suggest` returns for each active parameter that is not fixed.

        Args:
            suggest: Function from the name of a parameter and its domain to a value. It is called in the order of the
                parameters, with the domain restricted to the values from which a point can be completed, so that every
                draw gives a valid point.

        Raises:
            SpaceError: A suggested value is outside the restricted domain.
        """
        values: dict[str, Value] = {}
        for index, parameter in enumerate(self.parameters):
            if not holds(parameter.when, values):
                continue
            name = parameter.name
            offered = self._completions.possible_values(index, values)
            drawn = offered.value if isinstance(offered, Fixed) else suggest(name, offered)
            value = offered.match(drawn)
            if value is None:
                raise SpaceError(f"{self.name}.{name}: expected {offered.describe()}, found {show(drawn)}")
            values[name] = value
        return Point(values)

    def enumerate(self, limit: int | None = None) -> Iterator[Point]:
        """Iterate over the points of a finite space, at most `limit`; the last parameter changes fastest.

        Raises:
            SpaceError: A parameter is continuous.
        """
        if self.continuous:
            raise SpaceError(f"{self.name}: expected countable parameters only, found {', '.join(self.continuous)}")
        return itertools.islice(self._walk(0, {}), limit)

    def _walk(self, index: int, values: dict[str, Value]) -> Iterator[Point]:
        if index == len(self.parameters):
            yield Point(values)
            return
        parameter = self.parameters[index]
        if not holds(parameter.when, values):
            yield from self._walk(index + 1, values)
            return
        for value in self._completions.possible_values(index, values).members():
            yield from self._walk(index + 1, {**values, parameter.name: value})


def _unknown(where: str, name: str, known: Mapping[str, object]) -> str:
    near = near_matches(name, known)
    hint = f" (did you mean {' or '.join(near)}?)" if near else f"; known: {', '.join(known)}"
    return f"{where}: expected a parameter of this space, found an unknown name{hint}"


def _describe(condition: Condition) -> str:
    clauses = (
        " and ".join(
            f"{test.name} is {'not ' if test.negated else ''}{' or '.join(map(show, test.values))}" for test in clause
        )
        for clause in condition
    )
    return ", or ".join(clauses)
