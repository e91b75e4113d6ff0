"""What every source of results comes to: results by data set, and what a reader should know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.significance.results import Results


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Results that can be judged."""

    name: str
    """What lines about it begin with."""
    source: Mapping[str, object]
    """Where they come from: kind, path or experiment, what was taken for what (`read_as`), and counts."""
    results: tuple[Results, ...]
    """One per data set; all name the same configurations."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, or looks odd, without being wrong."""

    @property
    def configs(self) -> tuple[str, ...]:
        """All configurations, in the order of the source."""
        return self.results[0].configs
