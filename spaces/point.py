"""One full assignment of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from spaces.domains import Value


def digest_of(data: object) -> str:
    """First 16 hex digits of the SHA-256 of canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Point(Mapping[str, Value]):
    """Active parameters and their values: immutable, hashable, in the order of the space.

    Make one with `Space.point` or `Space.assemble`: they give each value the type that its domain stores.

    Attributes:
        digest: 16 hex digits; equal for equal points, whatever the order of the keys.
    """

    __slots__ = ("_values", "digest")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self.digest = digest_of(self._values)

    def __getitem__(self, name: str) -> Value:
        """The value of an active parameter."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Names of the active parameters."""
        return iter(self._values)

    def __len__(self) -> int:
        """Number of active parameters."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Points are equal by digest: 1, 1.0 and True differ. Other mappings compare as dicts do."""
        if isinstance(other, Point):
            return self.digest == other.digest
        return self._values == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        """Hash of the digest."""
        return hash(self.digest)

    def __repr__(self) -> str:
        """The values, readable."""
        return f"Point({self._values!r})"

    def __reduce__(self) -> tuple[type[Point], tuple[dict[str, Value]]]:
        """Pickle as the plain values."""
        return Point, (self._values,)
