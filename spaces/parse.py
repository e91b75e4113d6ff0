"""Reads and writes domains and parameters as plain data from YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces.conditions import Condition, condition_data, parse_condition
from spaces.domains import Choice, Domain, Fixed, Float, Int, Value, show
from spaces.errors import SpaceError

KINDS: dict[str, frozenset[str]] = {
    "float": frozenset({"log"}),
    "int": frozenset({"step", "log"}),
    "choice": frozenset(),
    "fixed": frozenset(),
}
FORMS = "a value, a list, {float: [low, high]}, {int: [low, high]}, {choice: [...]} or {fixed: value}"
# YAML 1.1 reads 1e-4 as text, because a float needs a decimal point.
_POINTLESS = re.compile(r"[+-]?\d+[eE][+-]?\d+")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a space."""

    name: str
    """Name, unique within the space."""
    domain: Domain
    """The values it can take."""
    when: Condition = ()
    """Condition under which it is active; empty means always."""


def parse_parameter(
    name: str, data: object, where: str, known: Mapping[str, Domain], faults: list[str]
) -> Parameter | None:
    """Read a parameter from an entry of a space and collect its faults; return None if its domain is invalid."""
    when: Condition = ()
    if isinstance(data, Mapping) and "when" in data:
        when = parse_condition(data["when"], f"{where}.when", known, faults)
        data = {key: value for key, value in data.items() if key != "when"}
    try:
        return Parameter(name, _parse_domain(data), when)
    except SpaceError as error:
        faults.extend(f"{where}: {fault}" for fault in error.faults)
        return None


def _parse_domain(data: object) -> Domain:
    if isinstance(data, list):
        return Choice(tuple(map(_scalar, data)))
    if not isinstance(data, Mapping):
        return Fixed(_scalar(data))
    kinds = [kind for kind in KINDS if kind in data]
    if len(kinds) != 1:
        raise SpaceError(f"expected {FORMS}, found {show(data)}")
    kind = kinds[0]
    unknown = sorted(str(key) for key in set(data) - {kind} - KINDS[kind])
    if unknown:
        options = ", ".join((*sorted(KINDS[kind]), "when"))
        raise SpaceError(f"expected only {options} beside {kind}, found {', '.join(unknown)}")
    return _MAKERS[kind](data)


def _bounds(data: Mapping[str, Any], kind: str) -> tuple[Any, Any]:
    bounds = data[kind]
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise SpaceError(f"expected {kind}: [low, high], found {show(bounds)}")
    return _scalar(bounds[0]), _scalar(bounds[1])


def _flag(data: Mapping[str, Any]) -> bool:
    log = data.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"log: expected true or false, found {show(log)}")
    return log


def _make_float(data: Mapping[str, Any]) -> Domain:
    return Float(*_bounds(data, "float"), log=_flag(data))


def _make_int(data: Mapping[str, Any]) -> Domain:
    return Int(*_bounds(data, "int"), step=data.get("step", 1), log=_flag(data))


def _make_choice(data: Mapping[str, Any]) -> Domain:
    values = data["choice"]
    if not isinstance(values, list):
        raise SpaceError(f"expected choice: [value, ...], found {show(values)}")
    return Choice(tuple(map(_scalar, values)))


def _make_fixed(data: Mapping[str, Any]) -> Domain:
    return Fixed(_scalar(data["fixed"]))


_MAKERS = {"float": _make_float, "int": _make_int, "choice": _make_choice, "fixed": _make_fixed}


def text_fault(value: object) -> str | None:
    """Return what is wrong with a number such as 1e-5, which YAML reads as text; None if nothing is.

    >>> text_fault("1e-5")
    "expected a number, found the text '1e-5'; YAML needs its point: 1.0e-05"
    """
    if isinstance(value, str) and _POINTLESS.fullmatch(value):
        return f"expected a number, found the text {value!r}; YAML needs its point: {float(value):.1e}"
    return None


def _scalar(value: Any) -> Value:  # noqa: ANN401 - YAML holds anything; the domains check it
    if fault := text_fault(value):
        raise SpaceError(fault)
    return value  # type: ignore[no-any-return]


def parameter_data(parameter: Parameter) -> object:
    """Return a parameter as plain data, in the shortest form that reads back equal."""
    data = parameter.domain.to_data()
    if parameter.when:
        return {**data, "when": condition_data(parameter.when)}
    return data.get("choice", data.get("fixed", data))
