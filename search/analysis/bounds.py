"""How much a file of results may hold: looked at before memory is taken, as a small file can claim any size."""

from __future__ import annotations

import stat
from pathlib import Path

from search.analysis.faults import AnalysisError, Faults

MAX_BYTES = 2 * 2**30
"""Of text or of arrays, unpacked."""
MAX_CELLS = 100_000_000
"""Rows times columns that are read."""
MAX_LINE = 2**20
"""Characters of one line."""
MAX_SCORES = 1_000_000
"""Of an archive of scores, one per repeat."""
MAX_CONFIGS = 10_000
"""More are no configurations but another column."""


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: a pipe or a device may never end.

    Raises:
        AnalysisError: One line that says what it is.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise AnalysisError(f"{path}: no such file; name a file of results, such as results.csv") from None
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be read: {error.strerror or error}") from None
    if stat.S_ISDIR(mode):
        raise AnalysisError(
            f"{path}: expected a file of results, found a folder; name the file in it (a study's folder: "
            "hybrid-search compare; an MLflow store: --mlflow EXPERIMENT --tracking-uri URI)"
        )
    if not stat.S_ISREG(mode):
        raise AnalysisError(f"{path}: expected a regular file, found a pipe or a device; save the results to a file")


def check_bytes(num_bytes: int, faults: Faults, *, what: str = "") -> None:
    """Note more bytes than are read.

    Args:
        num_bytes: Of the file, or what it says that it holds once it is unpacked.
        faults: Added to.
        what: Which part.
    """
    if num_bytes > MAX_BYTES:
        faults.add(f"{what}expected at most {size(MAX_BYTES)} unpacked, found {size(num_bytes)}; bring fewer results")


def check_cells(num_cells: int, faults: Faults) -> None:
    """Note more cells than are read."""
    if num_cells > MAX_CELLS:
        faults.add(
            f"expected at most {MAX_CELLS:,} cells (rows times columns that are read), found {num_cells:,}; bring "
            "fewer results, or the correctness of images as .npz"
        )


def size(num_bytes: int) -> str:
    """Bytes in words."""
    return f"{num_bytes / 2**30:,.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:,.1f} MiB"
