"""Parse table cells as names and numbers; any other cell is a fault with its row numbers."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
from numpy.typing import NDArray

from search.analysis.columns import BLOCK, CONFIG, CORRECT, DATASET, FAILED
from search.analysis.faults import Faults, some
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.table import Column, Table

MAX_NAME = 500
"""Maximum characters of a name; a longer one suggests that another column holds the names."""
MISSING = {"", "nan", "na", "n/a", "null", "none", "<na>"}
"""Cell texts that mean "no number"."""
YES_NO = {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0, "true": 1.0, "false": 0.0}
_WRAPPED = re.compile(r"(?:np\.|numpy\.)?(?:float|int|uint|bfloat|tensor|array)\d*\(([^(),\[\]]+)(?:,[^()]*)?\)")
"""A number as written by `repr`: np.float64(0.91), tensor(0.91, device='cuda:0')."""
_SPREAD = re.compile(r"^\s*[+-]?[\d.,]+\s*%?\s*(?:±|\+/?-|\\pm|\$\\pm\$|\()\s*[\d.,]+\s*%?\s*\)?\s*$")
SPREAD_MEND = "a mean with its spread has no repeats: give one row per repeat, with the score of that repeat"
_SUMMARY = frozenset(
    ["mean", "avg", "average", "median", "std", "sd", "stddev", "stderr", "sem", "var", "variance", "min", "max"]
)
_SUMMARISED = frozenset(["rank", "ranks", "score", "scores", "acc", "accuracy", "deviation", "error", "of", "the"])
"""Words that may accompany a summary word: `avg. rank`, `mean ± std`."""
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
"""1,234: ambiguous between a decimal comma and a thousands separator."""


def is_missing_text(text: str) -> bool:
    """Return whether a cell means "no number"."""
    return text.lower() in MISSING


def is_spread(text: str) -> bool:
    """Return whether a cell holds a mean with its spread: 0.91 ± 0.02, 0.91 (0.02)."""
    return bool(_SPREAD.match(text))


def is_number(text: str) -> bool:
    """Return whether a cell holds a number in any spelling, including spellings that are rejected later."""
    plain = unwrapped(text).rstrip("%").strip()
    return (
        math.isfinite(_number(plain))
        or bool(_COMMA.fullmatch(plain) or _SPREAD.match(text))
        or plain.lower() in {"inf", "-inf"}
    )


def unwrapped(text: str) -> str:
    """Return the number inside a `repr` such as np.float64(0.91).

    >>> unwrapped("np.float64(0.91)")
    '0.91'
    """
    found = _WRAPPED.fullmatch(text)
    return found[1].strip() if found else text


def check_names(table: Table, faults: Faults) -> None:
    """Add a fault for names that are empty or cannot be printed on one line."""
    for name in (CONFIG, BLOCK, DATASET):
        column = table.columns.get(name)
        if column is None:
            continue
        _report(
            table,
            column,
            np.array([not 0 < len(value) <= MAX_NAME or not value.isprintable() for value in column.values]),
            faults,
            f"{name}: expected a printable name",
            "give it a name",
        )
        if name != CONFIG:
            _report(
                table,
                column,
                np.array([_is_summary(value) for value in column.values]),
                faults,
                f"{name}: expected one {'repeat' if name == BLOCK else 'data set'} per name",
                "such rows summarise the others: remove them",
            )


def _is_summary(name: str) -> bool:
    """Return whether a row name is that of a summary row: mean, std, avg. rank."""
    words = {word for word in re.split(r"[\W_]+", name.lower()) if word}
    return bool(words & _SUMMARY) and words <= _SUMMARY | _SUMMARISED


def scores_of(table: Table, name: str, faults: Faults, asked: ReadOptions = DETECTED) -> NDArray[np.float64]:
    """Parse the scores of a column; an empty cell is NaN.

    Args:
        table: The table.
        name: The column.
        faults: Receives the faults.
        asked: Unit of the scores: fractions of 1 unless a scale or a direction is stated.

    Returns:
        One score per distinct value of the column, shape (V,).
    """
    column = table.columns[name]
    texts = [unwrapped(value) for value in column.values]
    missing = np.array([is_missing_text(text) for text in texts], dtype=np.bool_)
    if asked.scale in (None, 100) and not asked.own_unit and _all_percent(texts):
        asked, texts = dataclasses.replace(asked, scale=100), [text.rstrip("%").rstrip() for text in texts]
    if _decimals_after_comma(texts):
        texts = [text.replace(",", ".") for text in texts]
    numbers = np.array([_number(text) for text in texts], dtype=np.float64)
    strange = ~np.isfinite(numbers) & ~missing
    mends = np.array([_mend_text(text) for text in texts])
    expected = f"{name}: expected a number{'' if asked.own_unit else f' from 0 to {asked.scale or 1:g}'}"
    for mend in dict.fromkeys(mends[strange].tolist()):
        _report(table, column, strange & (mends == mend), faults, expected, mend)
    outside = np.zeros_like(missing)
    if not asked.own_unit:
        if _report_mixed(table, column, numbers, faults, name, scale=asked.scale):
            outside = np.isfinite(numbers)
        else:
            outside = np.isfinite(numbers) & ((numbers < 0) | (numbers > (asked.scale or 1)))
            _report(table, column, outside, faults, expected, _unit_hint(numbers, asked))
            there = numbers[np.isfinite(numbers)]
            if (asked.scale or 1) >= 10 and asked.direction != "lower" and there.size and there.max() <= 1:
                faults.add(
                    f"{name}: no score is above 1, so the scores are already fractions; remove --scale {asked.scale:g}"
                )
    return np.where(missing | strange | outside, np.nan, numbers) / (asked.scale or 1)


def marks_of(table: Table, name: str, faults: Faults) -> NDArray[np.int8]:
    """Parse a column of zeros and ones; an empty cell is -1.

    Args:
        table: The table.
        name: The column; an empty cell of `failed` is 0.
        faults: Receives the faults.

    Returns:
        One mark per distinct value of the column, shape (V,).
    """
    column = table.columns[name]
    empty = 0 if name == FAILED else -1
    words = [value.lower() for value in column.values]
    marks = np.array([empty if word in MISSING else YES_NO.get(word, -2) for word in words], dtype=np.int8)
    mend = (
        "use 1 for an image that was classified correctly" if name == CORRECT else "use 1 for a training that diverged"
    )
    _report(table, column, marks == -2, faults, f"{name}: expected 0 or 1", mend)
    return marks


def _report(table: Table, column: Column, marks: NDArray[np.bool_], faults: Faults, expected: str, mend: str) -> None:
    if not marks.any():
        return
    found = [value for value, mark in zip(column.values, marks, strict=True) if mark]
    where = table.places.words(column.rows_with(marks))
    faults.add(f"{expected}, found {some([_short(value) for value in found])}; {mend}", where)


def _report_mixed(
    table: Table, column: Column, numbers: NDArray[np.float64], faults: Faults, name: str, *, scale: float | None
) -> bool:
    """Add a fault if some scores are fractions and others percent, separated by a wide gap around 1.

    With stated percent, a single low score is accepted: a failed training on 100 classes scores 1 %.
    """
    there = numbers[np.isfinite(numbers)]
    low, high = there[(there > 0) & (there <= 1)], there[(there > 1) & (there <= 100)]
    if not (low.size and high.size and low.size + high.size + (there == 0).sum() == there.size):
        return False
    is_lone = np.unique(low).size == 1
    if high.min() < 10 * low.max() or (is_lone and scale is not None):
        return False
    rows = [table.places.words(column.rows_with(np.isin(numbers, part))) for part in (high, low)]
    faults.add(
        f"{name}: some scores look like percent ({rows[0]}), others like fractions of 1 ({rows[1]}); use one unit for "
        f"all{', or add --scale 100 if all of them are percent' if is_lone else ''}"
    )
    return True


def _unit_hint(numbers: NDArray[np.float64], asked: ReadOptions) -> str:
    if asked.scale is not None:
        top = f"{asked.scale:g}"
        return f"--scale {top} means that no score is above {top}; give another scale, or 1 to keep the unit"
    there = numbers[np.isfinite(numbers)]
    if there.size and np.median(there) > 1 and there.max() <= 100 and there.min() >= 0:
        return "scores look like percent: add --scale 100 (if lower is better: --lower-is-better)"
    if there.size and there.max() <= 0:
        return (
            "add --scale 1 to accept any number (losses with the sign reversed, as in scikit-learn, do not need "
            "--lower-is-better)"
        )
    return "give accuracies as fractions of 1, or add --scale 1 to accept any number (--lower-is-better for a loss)"


def _decimals_after_comma(texts: list[str]) -> bool:
    """Return whether all non-integer numbers use a decimal comma and none can have thousands separators."""
    there = [text for text in texts if not is_missing_text(text)]
    commas = [text for text in there if _COMMA.fullmatch(text)]
    if not commas or any(not (_COMMA.fullmatch(text) or re.fullmatch(r"[+-]?\d+", text)) for text in there):
        return False
    return not all(_GROUPED.fullmatch(text) for text in commas)


def _all_percent(texts: list[str]) -> bool:
    """Return whether every number has a percent sign."""
    there = [text for text in texts if not is_missing_text(text)]
    return bool(there) and all(text.endswith("%") for text in there)


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _mend_text(text: str) -> str:
    if _SPREAD.match(text):
        return SPREAD_MEND
    if _GROUPED.fullmatch(text):
        return "the comma may separate thousands: write decimals after a point"
    if _COMMA.fullmatch(text):
        return "write decimals after a point"
    if text.endswith("%"):
        return "remove the percent sign and add --scale 100"
    return "leave the cell empty where a repeat has no result"


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:30]}...")
