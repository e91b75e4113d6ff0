"""Convert rows into one form: configuration, block, and a score or the correctness of an image.

Shapes: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from search.analysis.cells import is_missing_text, unwrapped
from search.analysis.columns import (
    BLOCK,
    CONFIG,
    CORRECT,
    DATASET,
    IMAGE,
    LABEL,
    METRIC,
    PREDICTION,
    SCORE,
    STATE,
    STEP,
    shown,
    simple,
)
from search.analysis.direction import direction_fault, says_lower, words_of
from search.analysis.faults import Faults, near, some
from search.analysis.layout import FINISHED, SEEDED, Layout
from search.analysis.read_options import LAST, ReadOptions
from search.analysis.table import Column, FileRows, Table
from search.text.counted import counted

ONLY = "1"
"""Name of the block of a configuration with a single run."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The columns that were read from a file, by their layout."""

    source: str
    about: Mapping[str, object]
    layout: Layout
    columns: Mapping[int, Column]
    """Position -> column, each of shape (N,)."""
    numbers: NDArray[np.int32]
    """Row number of each record, shape (N,)."""
    notes: tuple[str, ...] = ()


def to_table(sheet: Sheet, asked: ReadOptions, faults: Faults) -> Table:
    """Convert a sheet into a table.

    Args:
        sheet: The sheet.
        asked: The stated options.
        faults: Receives the faults.

    Returns:
        A table with the columns config and block, and score or image and correct.

    Raises:
        AnalysisError: The rows cannot be converted; one line per fault.
    """
    layout = sheet.layout
    columns = {
        meaning: _joined([(layout.headings[at].strip(), sheet.columns[at]) for at in places])
        for meaning, places in layout.roles.items()
        if meaning not in {STATE, STEP, METRIC}
    }
    aside = {
        meaning: sheet.columns[layout.roles[meaning][0]] for meaning in (STATE, STEP, METRIC) if meaning in layout.roles
    }
    rows = np.arange(sheet.numbers.size)
    notes = list(sheet.notes)
    if unused := layout.unused():
        notes.append(f"columns that were not used: {some(unused, 8)}")
    if STATE in aside:
        rows, left_out = _finished(sheet, aside[STATE], rows)
        notes += left_out
    metric = layout.metric
    if METRIC in aside:
        rows, metric = _of_metric(sheet, aside[METRIC], rows, asked, faults)
    faults.check()
    columns = {name: _take(column, rows) for name, column in columns.items()}
    numbers = sheet.numbers[rows]
    step = _take(aside[STEP], rows) if STEP in aside else None
    if layout.wide_configs or layout.wide_blocks:
        columns, numbers = _long(sheet, columns, rows)
    if SCORE in columns and says_lower(metric) and asked.direction is None:
        faults.add(direction_fault(metric))
        faults.check()
    if LABEL in columns:
        columns = _marked(columns, numbers, faults)
    if BLOCK not in columns:
        columns = _with_blocks(columns, numbers, asked)
    columns[BLOCK], same = _same_numbers(columns[BLOCK])
    notes += same
    if asked.at is not None and step is None:
        faults.add("--at: there is no column of steps; remove it")
    if step is not None and CORRECT not in columns:
        kept, said = _at(columns, step, numbers, asked, faults)
        notes += said
        columns, numbers = {name: _take(column, kept) for name, column in columns.items()}, numbers[kept]
    faults.check()
    return Table(
        source=sheet.source,
        about={**sheet.about, "read_as": layout.words, **({"folds": folds} if (folds := _folds(layout)) else {})},
        columns=columns,
        places=FileRows(numbers=numbers),
        num_rows=int(numbers.size),
        notes=tuple(notes),
    )


def _folds(layout: Layout) -> str:
    """Return the name of the blocks if they are folds, which share training images; empty otherwise."""
    heading = layout.headings[(layout.roles.get(BLOCK) or tuple(layout.wide_blocks) or (0,))[0]]
    if BLOCK not in layout.roles and not layout.wide_blocks:
        return ""
    return next((f"{word}s" for word in ("fold", "split") if word in words_of(simple(heading))), "")


def _take(column: Column, rows: NDArray[np.intp]) -> Column:
    """Return some rows of a column, without values that no longer occur."""
    if rows.size == column.codes.size and rows.size and rows[0] == 0 and rows[-1] == rows.size - 1:
        return column
    return _recoded(column.codes[rows], column.values)


def _recoded(codes: NDArray[np.int32], values: Sequence[str]) -> Column:
    """Return a column of the values that occur, in order of first appearance."""
    found, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(order.size, dtype=np.int32)
    place[order] = np.arange(order.size, dtype=np.int32)
    return Column(codes=place[inverse], values=tuple(values[code] for code in found[order].tolist()))


def _mapped(column: Column, change: Callable[[str], str]) -> Column:
    """Return a column with every value changed; values that become equal are merged."""
    known: dict[str, int] = {}
    place = np.array([known.setdefault(change(value), len(known)) for value in column.values], dtype=np.int32)
    return Column(codes=place[column.codes], values=tuple(known))


def _joined(parts: Sequence[tuple[str, Column]]) -> Column:
    """Join several columns into one: `kernel=rbf, C=1`; a single column is unchanged."""
    if len(parts) == 1:
        return parts[0][1]
    codes = parts[0][1].codes.astype(np.int64)
    for _, column in parts[1:]:
        codes = codes * len(column.values) + column.codes
    found, inverse = np.unique(codes, return_inverse=True)
    values = []
    for code in found.tolist():
        cells = []
        for name, column in reversed(parts):
            code, at = divmod(code, len(column.values))
            cells.append((name.split("/")[-1].removeprefix("param_").removeprefix("params."), column.values[at]))
        values.append(", ".join(f"{name}={cell}" for name, cell in reversed(cells) if cell))
    return _recoded(inverse.astype(np.int32), values)


def _finished(sheet: Sheet, state: Column, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[str]]:
    """Return the rows of finished runs, and notes on the others."""
    odd = np.array([bool(value) and value.lower() not in FINISHED for value in state.values])
    if not odd.any():
        return rows, []
    lost = odd[state.codes]
    words = some([value for value, mark in zip(state.values, odd, strict=True) if mark])
    where = FileRows(numbers=sheet.numbers).words(np.flatnonzero(lost))
    count = int(lost.sum())
    return np.flatnonzero(~lost), [f"left out: {counted(count, 'run')} with the state {words} ({where})"]


def _of_metric(
    sheet: Sheet, column: Column, rows: NDArray[np.intp], asked: ReadOptions, faults: Faults
) -> tuple[NDArray[np.intp], str]:
    """Return the rows of one metric, if a column names each row's metric, and the name of the metric."""
    names = [column.values[code] for code in np.unique(column.codes[rows]).tolist()]
    if asked.metric is None and len(names) == 1:
        return rows, names[0]
    if asked.metric not in names:
        heading = shown(sheet.layout.headings[sheet.layout.roles[METRIC][0]].strip())
        found = some([shown(name) for name in names], 8)
        faults.add(
            f"the column {heading} names several metrics, {found}; choose one by --metric {shown(names[0])}"
            if asked.metric is None
            else f"--metric: the column {heading} has no {asked.metric!r}; {near(asked.metric, names, 'known')}"
        )
        return rows, ""
    assert asked.metric is not None
    return rows[column.codes[rows] == column.values.index(asked.metric)], asked.metric


def _long(
    sheet: Sheet, columns: Mapping[str, Column], rows: NDArray[np.intp]
) -> tuple[dict[str, Column], NDArray[np.int32]]:
    """Return one row per cell of a wide table."""
    layout = sheet.layout
    wide = layout.wide_configs or tuple(layout.wide_blocks)
    names = [layout.headings[at].strip() for at in wide] if layout.wide_configs else list(layout.wide_blocks.values())
    known: dict[str, int] = {}
    parts = []
    for at in wide:
        column = _take(sheet.columns[at], rows)
        place = np.array([known.setdefault(value, len(known)) for value in column.values], dtype=np.int32)
        parts.append(place[column.codes])
    num_rows, width = rows.size, len(wide)
    tiled = {name: Column(codes=np.tile(column.codes, width), values=column.values) for name, column in columns.items()}
    cells = Column(codes=np.concatenate(parts), values=tuple(known))
    headed = Column(codes=np.repeat(np.arange(width, dtype=np.int32), num_rows), values=tuple(names))
    tiled[CONFIG if layout.wide_configs else BLOCK] = headed
    tiled[PREDICTION if LABEL in columns else SCORE] = cells
    numbers = np.tile(sheet.numbers[rows], width)
    if layout.rows_are_blocks:
        tiled[BLOCK] = _numbered(numbers)
    return tiled, numbers


def _numbered(numbers: NDArray[np.int32]) -> Column:
    found, codes = np.unique(numbers, return_inverse=True)
    return Column(codes=codes.astype(np.int32), values=tuple(f"row {number}" for number in found.tolist()))


def _marked(columns: dict[str, Column], numbers: NDArray[np.int32], faults: Faults) -> dict[str, Column]:
    """Replace labels and predictions by correctness; 1 and 1.0 are the same label."""
    labels, predictions = (_mapped(columns.pop(name), _plain) for name in (LABEL, PREDICTION))
    strange = [value for value in predictions.values if value and value not in labels.values]
    if len(strange) > max(len(predictions.values) / 2, len(labels.values)):
        faults.add(
            f"expected predicted labels like {some(labels.values)}, found {some(map(shown, strange))}; "
            "give the label of the largest output, or correct = 1 or 0"
        )
    if "" in labels.values:
        where = FileRows(numbers=numbers).words(labels.rows_with(np.array([not value for value in labels.values])))
        faults.add("expected a label, found nothing; add it, or remove the image", where)
    known = {value: code for code, value in enumerate(labels.values)}
    place = np.array([known.get(value, -1) for value in predictions.values], dtype=np.int32)
    empty = np.array([not value for value in predictions.values], dtype=np.bool_)
    marks = np.where(empty[predictions.codes], 2, place[predictions.codes] == labels.codes).astype(np.int32)
    columns[CORRECT] = Column(codes=marks, values=("0", "1", ""))
    if IMAGE not in columns:
        columns[IMAGE] = _numbered(numbers)
    return columns


def _plain(text: str) -> str:
    number = _exact(unwrapped(text))
    return text if number is None else str(number.normalize() + 0)


def _exact(text: str) -> Decimal | None:
    """Return a number without rounding; None for text."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 100 else None


def _with_blocks(columns: dict[str, Column], numbers: NDArray[np.int32], asked: ReadOptions) -> dict[str, Column]:
    """Add a block column if there is none: from the configurations' names, or one run each."""
    found = [SEEDED.match(value) for value in columns[CONFIG].values]
    if all(found):
        both = columns[CONFIG]
        for name in (CONFIG, BLOCK):
            texts = {value: match[name] for value, match in zip(both.values, found, strict=True) if match}
            columns[name] = _mapped(both, texts.__getitem__)
    elif asked.unpaired:
        columns[BLOCK] = _numbered(numbers)
    else:
        columns[BLOCK] = Column(codes=np.zeros(numbers.size, dtype=np.int32), values=(ONLY,))
    return columns


def _same_numbers(column: Column) -> tuple[Column, list[str]]:
    """Merge blocks whose numbers are spelled differently, such as 1 and 1.0."""
    exact = [_exact(value) for value in column.values]
    if any(number is None for number in exact) or len(set(exact)) == len(exact):
        return column, []
    first: dict[Decimal | None, str] = {}
    again = []
    for number, value in zip(exact, column.values, strict=True):
        if first.setdefault(number, value) != value:
            again.append(f"{first[number]} and {value}")
    names = dict(zip(column.values, exact, strict=True))
    return _mapped(column, lambda value: first[names[value]]), [
        f"blocks {some(again)} are the same number: use one name per block"
    ]


def _at(
    columns: Mapping[str, Column], step: Column, numbers: NDArray[np.int32], asked: ReadOptions, faults: Faults
) -> tuple[NDArray[np.intp], list[str]]:
    """Return the rows of the stated step if repeats have several rows, as in a learning curve."""
    every = np.arange(numbers.size)
    keys = np.zeros(numbers.size, dtype=np.int64)
    for name in (DATASET, CONFIG, BLOCK):
        if name in columns:
            keys = np.unique(keys * len(columns[name].values) + columns[name].codes, return_inverse=True)[1]
    steps = np.array([_step(value) for value in step.values])[step.codes]
    if SCORE in columns and (empty := _logged_apart(columns[SCORE], keys, steps)).any():
        rows = np.flatnonzero(~empty)
        fewer = {name: _take(column, rows) for name, column in columns.items()}
        kept, said = _at(fewer, _take(step, rows), numbers[rows], asked, faults)
        return rows[kept], said
    if np.unique(keys).size == keys.size or not np.isfinite(steps).all():
        return every, []
    if np.unique(np.stack([keys, steps]), axis=1).shape[1] < keys.size and asked.at is None:
        return every, []  # several rows at one step: not a curve, reported as duplicate repeats
    first, last = steps.min(), steps.max()
    if asked.at is None:
        faults.add(
            f"every repeat has several rows, one per step ({first:g} to {last:g}): a learning curve; add --at last "
            "for the last step of each, or --at NUMBER for one step (the best step of a curve is biased upward)"
        )
        return every, []
    if asked.at != LAST:
        kept = np.flatnonzero(steps == float(asked.at))
        if not kept.size:
            faults.add(f"--at {asked.at}: no row has this step; the steps are {first:g} to {last:g}")
        return kept, []
    order = np.lexsort((steps, keys))
    ends = np.flatnonzero(np.diff(keys[order], append=-1))
    kept = np.sort(order[ends])
    ended = steps[kept]
    said = [f"the last steps differ between repeats, {ended.min():g} to {ended.max():g}"] if np.ptp(ended) else []
    return kept, said


def _logged_apart(score: Column, keys: NDArray[np.int64], steps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return rows without a score whose repeat and step have one in another row: separately logged metrics."""
    empty = np.array([is_missing_text(value) for value in score.values], dtype=np.bool_)[score.codes]
    place = np.unique(np.stack([keys, steps]), axis=1, return_inverse=True)[1].reshape(-1)
    return empty & (np.bincount(place, weights=~empty) > 0)[place]


def _step(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
