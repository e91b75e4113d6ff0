"""Assemble rows of single images into the correctness of whole test sets.

Shapes: N rows, P repeats, M images of a data set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from search.analysis.cells import marks_of
from search.analysis.columns import CORRECT, IMAGE
from search.analysis.faults import NUM_SHOWN, Faults, some
from search.analysis.repeats import Repeats, report_duplicates
from search.analysis.table import Table


def gather_bits(table: Table, repeats: Repeats, faults: Faults) -> list[NDArray[np.uint8] | None]:
    """Return the correctness of every repeat on every image.

    A row without image and correctness marks a repeat without a result. Any other repeat must have every image of its
    data set exactly once, in any order; its correctness may only be missing for all images together.

    Args:
        table: Table with the columns image and correct.
        repeats: The repeats of the table.
        faults: Receives the faults.

    Returns:
        Per repeat (M,) of 0 and 1, images in the order of their first appearance in the file, or None.
    """
    images, width = table.columns[IMAGE], len(table.columns[IMAGE].values)
    marks = marks_of(table, CORRECT, faults)[table.columns[CORRECT].codes]
    rows = _rows_with_image(table, repeats, marks, faults)
    keys = repeats.repeat_of[rows] * width + images.codes[rows]
    if (keys[1:] < keys[:-1]).any():
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
    _report_duplicates(table, repeats, keys, rows, faults)
    if faults:
        return []
    starts = np.searchsorted(keys, np.arange(repeats.num_repeats + 1) * width)
    bits: list[NDArray[np.uint8] | None] = [None] * repeats.num_repeats
    for dataset in range(len(repeats.datasets)):
        found = {
            at: (keys[starts[at] : starts[at + 1]] - at * width, rows[starts[at] : starts[at + 1]])
            for at in np.flatnonzero(repeats.codes[0] == dataset).tolist()
        }
        for at, values in _whole(table, repeats, found, marks, faults).items():
            bits[at] = values
    return bits


def _rows_with_image(table: Table, repeats: Repeats, marks: NDArray[np.int8], faults: Faults) -> NDArray[np.intp]:
    """Return the rows that name an image, (N',); a row without one marks a repeat without a result."""
    images = table.columns[IMAGE]
    if "" not in images.values:
        return np.arange(table.num_rows)
    nameless = images.codes == images.values.index("")
    with_image = np.bincount(repeats.repeat_of[~nameless], minlength=repeats.num_repeats) > 0
    wrong = np.flatnonzero(nameless & ((marks != -1) | with_image[repeats.repeat_of]))
    if wrong.size:
        faults.add("expected the name of an image, found nothing; fill it in", table.places.words(wrong))
    return np.flatnonzero(~nameless)


def _report_duplicates(
    table: Table, repeats: Repeats, keys: NDArray[np.int64], rows: NDArray[np.intp], faults: Faults
) -> None:
    again = np.unique(keys[1:][keys[1:] == keys[:-1]])
    images = table.columns[IMAGE].values
    named = (
        (f"{repeats.name(key // len(images))}, image {images[key % len(images)]!r}", rows[keys == key])
        for key in again.tolist()
    )
    report_duplicates(table, named, again.size, faults)


def _whole(
    table: Table,
    repeats: Repeats,
    found: Mapping[int, tuple[NDArray[np.int64], NDArray[np.intp]]],
    marks: NDArray[np.int8],
    faults: Faults,
) -> dict[int, NDArray[np.uint8]]:
    """Return the repeats of one data set that have every image; incomplete ones are added to the faults.

    Args:
        table: The table.
        repeats: The repeats of the table.
        found: Repeat -> its images in order, and their rows.
        marks: Correctness of every row, -1 where it is missing.
        faults: Receives the faults.
    """
    images = table.columns[IMAGE].values
    seen = np.zeros(len(images), dtype=np.bool_)
    for codes, _ in found.values():
        seen[codes] = True
    whole: dict[int, NDArray[np.uint8]] = {}
    lines = []
    for at, (codes, rows) in found.items():
        values, gaps = marks[rows], rows[marks[rows] == -1]
        if gaps.size == rows.size:
            continue
        if codes.size < seen.sum():
            missing = np.setdiff1d(np.flatnonzero(seen), codes)
            names = some([repr(images[code]) for code in missing.tolist()])
            what = f"all {seen.sum()} images of the data set, found {codes.size}, missing {names}"
            lines.append((f"{repeats.name(at)}: expected {what}; add them, or remove the repeat", rows))
        elif gaps.size:
            what = f"the correctness of all {codes.size} images or of none, found it missing for {gaps.size}"
            lines.append((f"{repeats.name(at)}: expected {what}; fill it in, or remove the repeat", gaps))
        else:
            whole[at] = values.view(np.uint8)
    for line, rows in lines[:NUM_SHOWN]:
        faults.add(line, table.places.words(rows))
    if len(lines) > NUM_SHOWN:
        faults.add(f"{len(lines) - NUM_SHOWN} more repeats lack images; complete them")
    return whole
