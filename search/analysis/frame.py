"""Read results from a table in memory: a data frame of pandas, with the same columns as a CSV file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.analysis.bounds import check_cells
from search.analysis.csv_file import Choose
from search.analysis.faults import Faults
from search.analysis.layout import PREVIEW
from search.analysis.shape import Sheet
from search.analysis.table import Coder

NAME = "the data frame"
"""Name of the source in messages."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A table in memory.

    Args:
        table: A `pandas.DataFrame`; its index is not read.
    """

    table: Any


def read_frame(frame: Frame, choose: Choose) -> Sheet:
    """Read a data frame as text, as `read_csv` reads a file.

    Args:
        frame: The table.
        choose: Decides the meaning of the columns.

    Returns:
        The sheet; rows are numbered from 0, as `DataFrame.iloc` counts.

    Raises:
        AnalysisError: The table has no rows or is too large; one line per fault.
    """
    table, faults = frame.table, Faults(NAME)
    headings = [str(name) for name in table.columns]
    if not len(table):
        faults.add("expected results, found no rows")
        faults.check()
    preview = [_texts(table.iloc[:PREVIEW, at]) for at in range(len(headings))]
    layout = choose(headings, list(zip(*preview, strict=True)), faults)
    faults.check()
    assert layout is not None
    check_cells(len(table) * len(layout.positions), faults)
    faults.check()
    coders = {at: Coder() for at in layout.positions}
    for at, coder in coders.items():
        coder.add(_texts(table.iloc[:, at]))
    return Sheet(
        source=NAME,
        about={"kind": "frame", "num_rows": len(table)},
        layout=layout,
        columns={at: coder.column() for at, coder in coders.items()},
        numbers=np.arange(len(table), dtype=np.int32),
    )


def _texts(cells: Iterable[Any]) -> list[str]:
    """Return cells as text; missing ones (None, NaN, NA) are empty."""
    import pandas as pd

    return ["" if pd.api.types.is_scalar(cell) and pd.isna(cell) else str(cell) for cell in cells]
