"""What a partial assignment can still become, without building points: how many, and which values lead to one.

Points are counted class by class: of each parameter only the values that some condition or forbidden clause names are
told apart, the others share one class with a multiplicity. What depends on the same earlier classes is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from spaces.conditions import Condition, holds, names_in
from spaces.domains import Choice, Domain, Value
from spaces.parse import Parameter


class _Other:
    """Stands for every value that nobody asks about; equals no value that a test names."""


_OTHER = _Other()
_INACTIVE, _UNNAMED = -1, 0
"""Classes of a parameter without a value, and of a value that nobody asks about."""
_Key = tuple[int, ...]


def due_clauses(
    parameters: Sequence[Parameter], forbidden: Sequence[tuple[Condition, str]]
) -> list[list[tuple[Condition, str]]]:
    """Per parameter, the forbidden clauses that are decided once it has its value."""
    position = {parameter.name: index for index, parameter in enumerate(parameters)}
    due: list[list[tuple[Condition, str]]] = [[] for _ in parameters]
    for when, why in forbidden:
        due[max(position[name] for name in names_in(when))].append((when, why))
    return due


class Completions:
    """The points that begin with given values.

    Args:
        parameters: In order; conditions name earlier ones.
        forbidden: Clauses that no point satisfies.

    Attributes:
        num_points: Points in all, each continuous parameter counted as one value.
        active: Parameters that are active in at least one point.
    """

    def __init__(self, parameters: Sequence[Parameter], forbidden: Sequence[tuple[Condition, str]]) -> None:
        self._parameters = parameters
        self._due = due_clauses(parameters, forbidden)
        self._classes: dict[str, dict[tuple[type, Value], int]] = {item.name: {} for item in parameters}
        last_use: dict[str, int] = {}
        for index, parameter in enumerate(parameters):
            for condition in (parameter.when, *(when for when, _ in self._due[index])):
                for test in (test for clause in condition for test in clause):
                    last_use[test.name] = index
                    classes = self._classes[test.name]
                    for value in test.values:
                        classes.setdefault((type(value), value), len(classes) + 1)
        # Per place, the earlier parameters that a condition or clause from here on asks about.
        self._asked = [
            [item.name for item in parameters[:index] if last_use.get(item.name, -1) >= index]
            for index in range(len(parameters) + 1)
        ]
        self._counts: list[dict[_Key, int]] = [{} for _ in self._asked]
        self._open: list[dict[_Key, Domain]] = [{} for _ in self._asked]
        self.active: set[str] = set()
        self.num_points = self._count(0, {})

    def narrowed(self, index: int, values: Mapping[str, Value]) -> Domain:
        """Narrow an active parameter to what can still become a point; the domain itself if that is every value.

        Args:
            index: The parameter's place.
            values: Of the active parameters before it; some point begins with them.
        """
        key = self._key(index, values)
        found = self._open[index].get(key)
        if found is None:
            found = self._open[index][key] = self._narrow(index, values)
        return found

    def _narrow(self, index: int, values: Mapping[str, Value]) -> Domain:
        domain = self._parameters[index].domain
        lives = {
            self._class_of(index, value): bool(self._count_with(index, values, value))
            for value, _ in self._values_of(index)
        }
        if all(lives.values()):
            return domain
        return Choice(tuple(value for value in domain.members() if lives[self._class_of(index, value)]))

    def _key(self, index: int, values: Mapping[str, Value]) -> _Key:
        return tuple(
            self._classes[name].get((type(values[name]), values[name]), _UNNAMED) if name in values else _INACTIVE
            for name in self._asked[index]
        )

    def _class_of(self, index: int, value: Value) -> int:
        return self._classes[self._parameters[index].name].get((type(value), value), _UNNAMED)

    def _values_of(self, index: int) -> Iterator[tuple[Value, int]]:
        """One value of each class of a parameter, with the size of the class."""
        parameter = self._parameters[index]
        domain = parameter.domain
        named = [value for kind, value in self._classes[parameter.name] if type(domain.match(value)) is kind]
        yield from ((value, 1) for value in named)
        rest = (domain.size or 1) - len(named)
        if rest:
            yield _OTHER, rest  # type: ignore[misc]

    def _count(self, index: int, values: Mapping[str, Value]) -> int:
        """How many points begin with these values of the parameters before `index`."""
        if index == len(self._parameters):
            return 1
        key = self._key(index, values)
        found = self._counts[index].get(key)
        if found is None:
            found = self._counts[index][key] = self._branch(index, values)
        return found

    def _branch(self, index: int, values: Mapping[str, Value]) -> int:
        parameter = self._parameters[index]
        if not holds(parameter.when, values):
            return 0 if self._is_forbidden(index, values) else self._count(index + 1, values)
        total = sum(size * self._count_with(index, values, value) for value, size in self._values_of(index))
        if total:
            self.active.add(parameter.name)
        return total

    def _count_with(self, index: int, values: Mapping[str, Value], value: Value) -> int:
        chosen = {**values, self._parameters[index].name: value}
        return 0 if self._is_forbidden(index, chosen) else self._count(index + 1, chosen)

    def _is_forbidden(self, index: int, values: Mapping[str, Value]) -> bool:
        return any(holds(when, values) for when, _ in self._due[index])
