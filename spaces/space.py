"""What may vary: parameters in order, when each is active, which combinations are forbidden."""

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
"""A combination no point may have, and why."""


@dataclass(frozen=True)
class Space:
    """Parameters in order; a condition names only parameters before its own.

    Raises:
        SpaceError: A name comes twice, a condition looks ahead, or no point is possible.
    """

    name: str
    """Named in every fault."""
    parameters: tuple[Parameter, ...]
    """At least one, each with another name."""
    forbidden: tuple[Forbidden, ...] = ()
    """Combinations that are no points."""

    def __post_init__(self) -> None:
        """Check the order of the names and that a point exists."""
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
        """Read a space: parameter names with their domains, and `forbidden` with a list of {when, why}.

        Raises:
            SpaceError: With every fault of the data.
        """
        if not isinstance(data, Mapping):
            raise SpaceError(f"{name}: expected a mapping of parameters, found {data!r}")
        faults: list[str] = []
        known: dict[str, Domain] = {}
        parameters: list[Parameter] = []
        for key, entry in data.items():
            if key == "forbidden":
                continue
            parameter = parse_parameter(str(key), entry, f"{name}.{key}", known, faults)
            # An unusable domain stays nameable: its conditions are no second fault.
            known[str(key)] = parameter.domain if parameter else Fixed("?")
            if parameter:
                parameters.append(parameter)
        clauses = data.get("forbidden", [])
        forbidden: list[Forbidden] = []
        if not isinstance(clauses, list):
            faults.append(f"{name}.forbidden: expected a list of {{when, why}}, found {clauses!r}")
            clauses = []
        for index, clause in enumerate(clauses):
            where = f"{name}.forbidden.{index}"
            if not isinstance(clause, Mapping) or set(clause) != {"when", "why"} or not isinstance(clause["why"], str):
                faults.append(f"{where}: expected {{when: condition, why: text}}, found {clause!r}")
                continue
            forbidden.append((parse_condition(clause["when"], f"{where}.when", known, faults), clause["why"]))
        if faults:
            raise SpaceError(*faults)
        return cls(name, tuple(parameters), tuple(forbidden))

    def to_dict(self) -> dict[str, Any]:
        """Write the space as plain data; `from_dict` reads it back alike."""
        data: dict[str, Any] = {parameter.name: parameter_data(parameter) for parameter in self.parameters}
        if self.forbidden:
            data["forbidden"] = [{"when": condition_data(when), "why": why} for when, why in self.forbidden]
        return data

    @cached_property
    def digest(self) -> str:
        """16 hex digits of all parameters in order and all clauses; the name does not count."""
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
        """Names that can vary: active in some point and of more than one value."""
        active = self._completions.active
        return tuple(item.name for item in self.parameters if item.name in active and item.domain.size != 1)

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of active parameters whose values cannot be listed."""
        active = self._completions.active
        return tuple(item.name for item in self.parameters if item.name in active and item.domain.size is None)

    @property
    def size(self) -> int | None:
        """Exact number of points; None with a continuous parameter."""
        return None if self.continuous else self._completions.num_points

    def pin(self, fix: Mapping[str, Value]) -> Space:
        """Fix parameters to one value each; one that can then never be active stays, inactive.

        Raises:
            SpaceError: An unknown name, a value outside its domain, or no point left.
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
        """Check a full assignment. Fixed parameters may be left out: they have one value only.

        Raises:
            SpaceError: With every fault of the assignment.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        faults = [_unknown(f"{self.name}.{name}", name, known) for name in values if name not in known]
        stored: dict[str, Value] = {}
        unclear: set[str] = set()  # wrong or missing: what depends on them is not judged
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
                    why = _tell(parameter.when)
                    faults.append(f"{where}: expected no value (active only when {why}), found {show(values[name])}")
            elif value is None:
                faults.append(f"{where}: expected {parameter.domain.describe()}, found no value")
                unclear.add(name)
            else:
                stored[name] = value
            faults += (
                f"{self.name}: forbidden ({_tell((tests,))}): {why}" for tests, why in due if holds((tests,), stored)
            )
        if faults:
            raise SpaceError(*faults)
        return Point(stored)

    def assemble(self, suggest: Callable[[str, Domain], object]) -> Point:
        """Draw a point: `suggest` is asked, in order, for each active parameter that is not fixed.

        It is shown the domain narrowed to the values from which a point can still be completed, so that no draw ends
        in a forbidden one.

        Raises:
            SpaceError: A suggestion lies outside what was offered.
        """
        values: dict[str, Value] = {}
        for index, parameter in enumerate(self.parameters):
            if not holds(parameter.when, values):
                continue
            name = parameter.name
            offered = self._completions.narrowed(index, values)
            drawn = offered.value if isinstance(offered, Fixed) else suggest(name, offered)
            value = offered.match(drawn)
            if value is None:
                raise SpaceError(f"{self.name}.{name}: expected {offered.describe()}, found {show(drawn)}")
            values[name] = value
        return Point(values)

    def enumerate(self, limit: int | None = None) -> Iterator[Point]:
        """List the points of a finite space, the last parameter changing fastest, at most `limit`.

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
        for value in self._completions.narrowed(index, values).members():
            yield from self._walk(index + 1, {**values, parameter.name: value})


def _unknown(where: str, name: str, known: Mapping[str, object]) -> str:
    near = near_matches(name, known)
    hint = f" (did you mean {' or '.join(near)}?)" if near else f"; known: {', '.join(known)}"
    return f"{where}: expected a parameter of this space, found an unknown name{hint}"


def _tell(condition: Condition) -> str:
    clauses = (
        " and ".join(
            f"{test.name} is {'not ' if test.negated else ''}{' or '.join(map(show, test.values))}" for test in clause
        )
        for clause in condition
    )
    return ", or ".join(clauses)
