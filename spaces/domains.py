"""Domains: the sets of values that a parameter can take.

`match` returns a value in the type that the domain stores (float for Float, int for Int), so that 1, 1.0 and True have
different digests. Text and truth values are never converted.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from spaces.errors import SpaceError

Value: TypeAlias = bool | int | float | str
MAX_SHOWN = 80
"""Maximum number of characters of a value in a message."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise SpaceError(fault)


def _same(value: object, stored: Value) -> bool:
    return type(value) is type(stored) and value == stored


@dataclass(frozen=True)
class Float:
    """Real numbers from `low` to `high`, both included.

    >>> Float(0.1, 1.0).match(1)
    1.0
    """

    low: float
    """Smallest value; above 0 if `log`."""
    high: float
    """Largest value."""
    log: bool = False
    """Whether values are sampled on a logarithmic scale."""

    def __post_init__(self) -> None:
        """Check the bounds and store them as floats."""
        for name, bound in (("low", self.low), ("high", self.high)):
            finite = _is_number(bound) and math.isfinite(bound)
            _require(finite, f"{name}: expected a finite number, found {bound!r}")
            object.__setattr__(self, name, float(bound))
        _require(self.low <= self.high, f"expected low <= high, found {self.low!r} > {self.high!r}")
        _require(not self.log or self.low > 0, f"expected low > 0 with log, found {self.low!r}")

    def match(self, value: object) -> float | None:
        """Return the value in its stored type, None if it is outside."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return None
        return float(value) + 0.0  # -0.0 becomes 0.0

    def contains(self, value: object) -> bool:
        """Return whether the value is in the range."""
        return self.match(value) is not None

    def describe(self) -> str:
        """Return the allowed values in words, for error messages."""
        return f"a number from {self.low!r} to {self.high!r}{' (log)' if self.log else ''}"

    @property
    def size(self) -> int | None:
        """None because the domain is continuous; 1 if low equals high."""
        return 1 if self.low == self.high else None

    def members(self) -> Iterator[float]:
        """Yield the only value of a range with low equal to high.

        Raises:
            SpaceError: The range is continuous.
        """
        _require(self.size is not None, f"{self.describe()} cannot be listed")
        yield self.low

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that represent the domain: if they are valid, all values are."""
        return self.low, self.high

    def draw(self, generator: random.Random) -> float:
        """Return a random value, uniform on the scale of the domain."""
        if self.log:
            return math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return generator.uniform(self.low, self.high)

    def to_data(self) -> dict[str, object]:
        """Return the domain as plain data."""
        return {"float": [self.low, self.high], **({"log": True} if self.log else {})}


@dataclass(frozen=True)
class Int:
    """Integers low, low + step, ... up to `high`.

    >>> list(Int(16, 64, step=16).members())
    [16, 32, 48, 64]
    """

    low: int
    """Smallest value; above 0 if `log`."""
    high: int
    """Upper bound; the largest value is smaller if the steps do not end on it."""
    step: int = 1
    """Difference between consecutive values; 1 if `log`."""
    log: bool = False
    """Whether values are sampled on a logarithmic scale."""

    def __post_init__(self) -> None:
        """Check bounds and step."""
        for name, bound in (("low", self.low), ("high", self.high), ("step", self.step)):
            _require(type(bound) is int, f"{name}: expected a whole number, found {bound!r}")
        _require(self.low <= self.high, f"expected low <= high, found {self.low} > {self.high}")
        _require(self.step >= 1, f"step: expected at least 1, found {self.step}")
        _require(not self.log or self.low > 0, f"expected low > 0 with log, found {self.low}")
        _require(not self.log or self.step == 1, f"step: expected 1 with log, found {self.step}")

    def match(self, value: object) -> int | None:
        """Return the value, None if it is outside. Floats are outside, even 16.0."""
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if self.low <= value <= self.high and (value - self.low) % self.step == 0 else None

    def contains(self, value: object) -> bool:
        """Return whether the value is one of the integers."""
        return self.match(value) is not None

    @property
    def last(self) -> int:
        """Largest value: `high`, or less if the steps do not end on it."""
        return self.low + (self.high - self.low) // self.step * self.step

    def describe(self) -> str:
        """Return the allowed values in words, for error messages."""
        step = f" in steps of {self.step}" if self.step != 1 else ""
        return f"a whole number from {self.low} to {self.high}{step}{' (log)' if self.log else ''}"

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    def members(self) -> Iterator[int]:
        """Yield the values, smallest first."""
        yield from range(self.low, self.high + 1, self.step)

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that represent the domain: if they are valid, all values are."""
        return self.low, self.high

    def draw(self, generator: random.Random) -> int:
        """Return a random value; all values are equally likely."""
        return generator.randrange(self.low, self.high + 1, self.step)

    def to_data(self) -> dict[str, object]:
        """Return the domain as plain data."""
        step = {"step": self.step} if self.step != 1 else {}
        return {"int": [self.low, self.high], **step, **({"log": True} if self.log else {})}


@dataclass(frozen=True)
class Choice:
    """A list of values, in the given order."""

    values: tuple[Value, ...]
    """The values; at least one, without duplicates."""

    def __post_init__(self) -> None:
        """Check the values."""
        object.__setattr__(self, "values", tuple(self.values))
        _require(bool(self.values), "expected at least one value, found an empty choice")
        seen = set()
        for value in self.values:
            _require_scalar(value)
            _require((type(value), value) not in seen, f"expected different values, found {show(value)} twice")
            seen.add((type(value), value))

    def match(self, value: object) -> Value | None:
        """Return the listed value, None if there is none. An int matches an equal float; nothing else is converted."""
        for stored in self.values:
            if _same(value, stored):
                return stored
        if type(value) is int:
            return next((stored for stored in self.values if type(stored) is float and stored == value), None)
        return None

    def contains(self, value: object) -> bool:
        """Return whether the value is listed."""
        return self.match(value) is not None

    def describe(self) -> str:
        """Return the allowed values in words, for error messages."""
        return f"one of {', '.join(map(show, self.values))}"

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def members(self) -> Iterator[Value]:
        """Yield the values in the given order."""
        yield from self.values

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that represent the domain: all of them."""
        return self.values

    def draw(self, generator: random.Random) -> Value:
        """Return a random value; all values are equally likely."""
        return generator.choice(self.values)

    def to_data(self) -> dict[str, object]:
        """Return the domain as plain data."""
        return {"choice": list(self.values)}


@dataclass(frozen=True)
class Fixed:
    """A single value: the parameter is not searched."""

    value: Value
    """The only value."""

    def __post_init__(self) -> None:
        """Check that the value is a number, text or truth value."""
        _require_scalar(self.value)

    def match(self, value: object) -> Value | None:
        """Return the value in its stored type, None if it differs."""
        return Choice((self.value,)).match(value)

    def contains(self, value: object) -> bool:
        """Return whether the value is the fixed one."""
        return self.match(value) is not None

    def describe(self) -> str:
        """Return the allowed values in words, for error messages."""
        return f"exactly {show(self.value)}"

    @property
    def size(self) -> int:
        """Number of values, 1."""
        return 1

    def members(self) -> Iterator[Value]:
        """Yield the fixed value."""
        yield self.value

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that represent the domain: the only one."""
        return (self.value,)

    def draw(self, generator: random.Random) -> Value:  # noqa: ARG002  nothing is drawn
        """Return the fixed value."""
        return self.value

    def to_data(self) -> dict[str, object]:
        """Return the domain as plain data."""
        return {"fixed": self.value}


Domain: TypeAlias = Float | Int | Choice | Fixed


def _require_scalar(value: object) -> None:
    plain = isinstance(value, bool | int | float | str)
    finite = not isinstance(value, float) or math.isfinite(value)
    _require(plain and finite, f"expected a truth value, a finite number or text, found {show(value)}")


_LIKE_ANOTHER_TYPE = re.compile(r"[-+.\d][-+.\de_]*|true|false|null|yes|no|on|off|~|", re.IGNORECASE)
"""Text that YAML would read as a number, a truth value or null if it were not quoted."""


def show(value: object) -> str:
    """Return a value as YAML writes it; a long one is cut.

    >>> show({"int": [1, 3], "log": True})
    '{int: [1, 3], log: true}'
    >>> show(["lstm", "0.1"])
    "[lstm, '0.1']"
    """
    text = _yaml(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _yaml(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_yaml(key)}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value) if _LIKE_ANOTHER_TYPE.fullmatch(value) else value
    return "null" if value is None else repr(value)
