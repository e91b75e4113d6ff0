"""Cells of a table as names and numbers; whatever is neither is a fault with its rows."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from search.analysis.columns import BLOCK, CONFIG, CORRECT, DATASET, FAILED
from search.analysis.faults import Faults, some
from search.analysis.table import Column, Table

MISSING = {"", "nan", "na", "n/a", "null", "none"}
"""What a cell without a number may hold."""
YES_NO = {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0, "true": 1.0, "false": 0.0}


def check_names(table: Table, faults: Faults) -> None:
    """Note the rows in which a name is empty, or nothing that can be shown in a line."""
    for name in (CONFIG, BLOCK, DATASET):
        column = table.columns.get(name)
        if column is None:
            continue
        _tell(
            table,
            column,
            np.array([not value or not value.isprintable() for value in column.values]),
            faults,
            f"{name}: expected a printable name",
            "name it",
        )


def scores_of(table: Table, name: str, faults: Faults) -> NDArray[np.float64]:
    """The scores of a column, NaN where the cell is empty; faults are noted.

    Args:
        table: What was read.
        name: The column.
        faults: Added to.

    Returns:
        One per distinct value of the column, shape (V,).
    """
    column = table.columns[name]
    numbers = np.array([_number(value) for value in column.values], dtype=np.float64)
    missing = np.array([value.lower() in MISSING for value in column.values], dtype=np.bool_)
    strange = ~np.isfinite(numbers) & ~missing
    mends = np.array([_mend_text(value) for value in column.values])
    for mend in dict.fromkeys(mends[strange].tolist()):
        _tell(table, column, strange & (mends == mend), faults, f"{name}: expected a number from 0 to 1", mend)
    outside = np.isfinite(numbers) & ((numbers < 0) | (numbers > 1))
    percent = bool(outside.any()) and 1 < np.nanmax(numbers) <= 100 and np.nanmin(numbers) >= 0
    hint = "looks like per cent: divide all scores by 100" if percent else "give accuracies as fractions of 1"
    _tell(table, column, outside, faults, f"{name}: expected a number from 0 to 1", hint)
    return np.where(missing | strange | outside, np.nan, numbers)


def marks_of(table: Table, name: str, faults: Faults) -> NDArray[np.int8]:
    """Noughts and ones of a column, -1 where the cell is empty; faults are noted.

    Args:
        table: What was read.
        name: The column; an empty cell of `failed` is 0.
        faults: Added to.

    Returns:
        One per distinct value of the column, shape (V,).
    """
    column = table.columns[name]
    empty = 0 if name == FAILED else -1
    words = [value.lower() for value in column.values]
    marks = np.array([empty if word in MISSING else YES_NO.get(word, -2) for word in words], dtype=np.int8)
    mend = "say per image whether it was right" if name == CORRECT else "1 marks a training that diverged"
    _tell(table, column, marks == -2, faults, f"{name}: expected 0 or 1", mend)
    return marks


def _tell(table: Table, column: Column, marks: NDArray[np.bool_], faults: Faults, expected: str, mend: str) -> None:
    if not marks.any():
        return
    found = [value for value, mark in zip(column.values, marks, strict=True) if mark]
    where = table.places.words(column.rows_with(marks))
    faults.add(f"{expected}, found {some([_short(value) for value in found])}; {mend}", where)


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _mend_text(text: str) -> str:
    if re.fullmatch(r"[+-]?\d*,\d+", text):
        return "write the decimals after a point"
    if text.endswith("%"):
        return "divide by 100 and leave out the per cent sign"
    return "leave the cell empty where a repeat left no result"


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:30]}...")
