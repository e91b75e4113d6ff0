"""Read comparisons back from JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from search.significance.records import Comparison, Components, Equivalence, Interval, MeanTest, Verdict

_INTERVALS = ("interval", "simultaneous_interval", "p_a_gt_b_interval", "bca_interval", "equivalence_interval")
_TESTS = ("check", "secondary", "sensitivity")
_NUMBERS = ("estimate", "se", "df", "t", "p")
"""Fields of a test in which JSON null stands for NaN."""


def restore(data: Mapping[str, Any]) -> Comparison:
    """Return a comparison from the output of `Comparison.to_dict`.

    Args:
        data: Output of this or another version: unknown fields are ignored, missing ones have their defaults.

    Returns:
        The comparison.

    Raises:
        ValueError: A required field is missing, or the verdict is unknown.
    """
    fields = {field.name: field for field in dataclasses.fields(Comparison)}
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    if missing := [name for name in required if name not in data]:
        msg = f"a comparison must have {', '.join(missing)}"
        raise ValueError(msg)
    known = {name: value for name, value in data.items() if name in fields}
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    values["verdict"] = Verdict(values["verdict"])
    if values.get("sensitivity_verdict") is not None:
        values["sensitivity_verdict"] = Verdict(values["sensitivity_verdict"])
    values |= {name: _build(Interval, values[name]) for name in _INTERVALS if values.get(name)}
    values |= {name: _test(values[name]) for name in _TESTS if values.get(name)}
    if values.get("components"):
        values["components"] = _build(Components, values["components"])
    return Comparison(**values)


def _test(data: Mapping[str, Any]) -> MeanTest:
    changes: dict[str, Any] = {name: math.nan for name in _NUMBERS if data[name] is None}
    changes["interval"] = _build(Interval, data["interval"])
    if found := data.get("equivalence"):
        inside = {
            "interval": _build(Interval, found["interval"]),
            "rope_probabilities": tuple(found["rope_probabilities"]),
        }
        changes["equivalence"] = _build(Equivalence, {**found, **inside})
    test: MeanTest = _build(MeanTest, {**data, **changes})
    return test


def _build(kind: type[Any], data: Mapping[str, Any]) -> Any:  # noqa: ANN401
    names = {field.name for field in dataclasses.fields(kind)}
    if kind is Interval:
        data = {name: math.nan if value is None else value for name, value in data.items()}
    return kind(**{name: value for name, value in data.items() if name in names})
