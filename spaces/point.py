"""Points: complete assignments of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from spaces.domains import Value


def digest_of(data: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of data as canonical JSON.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Point(Mapping[str, Value]):
    """An immutable, hashable mapping of the active parameters to their values, in the order of the space.

    Create points with `Space.point` or `Space.assemble`, which convert each value to the type that its domain stores.

    Attributes:
        digest: 16 hex digits; equal for equal points, independent of the order of the keys.
    """

    __slots__ = ("_values", "digest")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self.digest = digest_of(self._values)

    def __getitem__(self, name: str) -> Value:
        """Return the value of an active parameter."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the active parameters."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of active parameters."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Compare points by digest, for which 1, 1.0 and True differ; compare with other mappings as dicts do."""
        if isinstance(other, Point):
            return self.digest == other.digest
        return self._values == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the digest."""
        return hash(self.digest)

    def __repr__(self) -> str:
        """Return a readable form of the values."""
        return f"Point({self._values!r})"

    def __reduce__(self) -> tuple[type[Point], tuple[dict[str, Value]]]:
        """Pickle as the plain values."""
        return Point, (self._values,)
