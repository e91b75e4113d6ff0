"""What every source of results comes to: results by data set, and what a reader should know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search.analysis.faults import AnalysisError
from search.significance.results import Results


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Results that can be judged."""

    name: str
    """What lines about it begin with."""
    source: Mapping[str, object]
    """Where they come from: kind, path or experiment, and counts."""
    results: tuple[Results, ...]
    """One per data set; all name the same configurations."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, or looks odd, without being wrong."""

    @property
    def configs(self) -> tuple[str, ...]:
        """All configurations, in the order of the source."""
        return self.results[0].configs


def read_file(path: Path) -> Reading:
    """Read a file of results by what its name ends with.

    Args:
        path: A .csv, .parquet or .npz file; `docs/analysis.md` describes them.

    Raises:
        AnalysisError: It cannot be read as such; one line per fault.
    """
    from search.analysis.csv_file import read_csv
    from search.analysis.long_format import to_reading
    from search.analysis.npz_file import read_npz
    from search.analysis.parquet_file import read_parquet

    readers = {
        ".csv": lambda: to_reading(read_csv(path)),
        ".parquet": lambda: to_reading(read_parquet(path)),
        ".pq": lambda: to_reading(read_parquet(path)),
        ".npz": lambda: read_npz(path),
    }
    if not path.exists():
        raise AnalysisError(f"{path}: no such file; name a .csv, .parquet or .npz file of results")
    if path.is_dir():
        raise AnalysisError(f"{path}: expected a file of results, found a folder; name a .csv, .parquet or .npz file")
    if path.suffix.lower() not in readers:
        found = path.suffix or "no ending"
        raise AnalysisError(
            f"{path}: expected a name that ends with {', '.join(readers)}, found {found}; save it as such"
        )
    try:
        return readers[path.suffix.lower()]()
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be read: {error.strerror or error}") from None
