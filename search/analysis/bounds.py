"""Size limits of a file of results, checked before memory is allocated, since a small file can declare any size."""

from __future__ import annotations

import stat
from pathlib import Path

from search.analysis.faults import AnalysisError, Faults

MAX_BYTES = 2 * 2**30
"""Maximum size of the text or the arrays, unpacked."""
MAX_CELLS = 100_000_000
"""Maximum number of rows times columns."""
MAX_LINE = 2**20
"""Maximum characters per line."""
MAX_SCORES = 1_000_000
"""Maximum number of scores in an archive, one per repeat."""
MAX_CONFIGS = 10_000
"""Maximum number of configurations; a column with more is probably not the configuration."""


def check_regular(path: Path) -> None:
    """Check that a path is a regular file: reading a pipe or a device may never end.

    Raises:
        AnalysisError: It is something else, named in one line.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise AnalysisError(f"{path}: no such file; give a file of results, such as results.csv") from None
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be read: {error.strerror or error}") from None
    if stat.S_ISDIR(mode):
        raise AnalysisError(
            f"{path}: expected a file of results, found a folder; give the file in it (for a study's folder, use "
            "hybrid-search compare; for an MLflow store, --mlflow EXPERIMENT --tracking-uri URI)"
        )
    if not stat.S_ISREG(mode):
        raise AnalysisError(f"{path}: expected a regular file, found a pipe or a device; save the results to a file")


def check_bytes(num_bytes: int, faults: Faults, *, what: str = "") -> None:
    """Add a fault if a file exceeds the size limit.

    Args:
        num_bytes: Size of the file, or its declared unpacked size.
        faults: Receives the fault.
        what: The part of the file that has this size.
    """
    if num_bytes > MAX_BYTES:
        faults.add(f"{what}expected at most {size(MAX_BYTES)} unpacked, found {size(num_bytes)}; use fewer results")


def check_cells(num_cells: int, faults: Faults) -> None:
    """Add a fault if there are more cells than the limit."""
    if num_cells > MAX_CELLS:
        faults.add(
            f"expected at most {MAX_CELLS:,} cells (rows times columns that are read), found {num_cells:,}; use fewer "
            "results, or give the correctness of images as .npz"
        )


def size(num_bytes: int) -> str:
    """Return a number of bytes as text."""
    return f"{num_bytes / 2**30:,.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:,.1f} MiB"
