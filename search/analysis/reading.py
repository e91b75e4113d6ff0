"""The common output of all readers: results by data set, and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.significance.results import Results


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Results that can be judged."""

    name: str
    """Prefix of messages about the source."""
    source: Mapping[str, object]
    """Origin of the results: kind, path or experiment, meaning of the columns (`read_as`), and counts."""
    results: tuple[Results, ...]
    """One item per data set; all name the same configurations."""
    notes: tuple[str, ...] = field(default=())
    """Notes on data that were left out or look unusual, without being wrong."""

    @property
    def configs(self) -> tuple[str, ...]:
        """All configurations, in the order of the source."""
        return self.results[0].configs
