"""The tables of a reproduction as Markdown that is also readable in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from search.significance.rounding import p_value
from search.text.counted import counted

TESTS = {"validation": "ours, validation: corrected t", "test": "ours, test images: crossed"}
"""Score -> heading of the column of its valid test."""


def to_table(document: dict[str, Any]) -> str:
    """Return the tables: cells, differences with both marks, and deviations from the paper's setting."""
    lines = [f"# {document['title']}", "", *_setting(document), "", *_cells(document["cells"])]
    for family in document["families"]:
        lines += ["", f"## {family['title']}", "", *_family(family)]
    lines += ["", "## How to read this", "", *_legend(document)]
    notes = [f"Not drawn: {note}." for note in document["missing"]]
    return "\n".join([*lines, *([""] if notes else []), *notes, ""])


def _setting(document: dict[str, Any]) -> list[str]:
    images = document["images"]
    held = f"{images['validation']:,} validation" if images["validation"] else "no validation"
    lines = [
        f"Data: {document['data']}, {images['training']:,} training, {held}, {images['test']:,} test images; "
        f"{counted(document['epochs'], 'epoch')} in {document['precision']}; {counted(document['repeats'], 'run')} "
        "per cell.",
    ]
    if document["changes"]:
        changed = "; ".join(
            f"{item['field']} {_value(item['here'])} instead of {_value(item['shipped'])}"
            for item in document["changes"]
        )
        lines += ["", f"**Not the paper's setting:** {changed}."]
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _value(value: object) -> str:
    return "unset" if value is None else str(value)


def _cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    heading = ("cell", "table", "scored", "theirs, %", "ours, %", "runs", "difference", "inside", "further runs")
    return _aligned(heading, [_cell(row) for row in rows])


def _cell(row: dict[str, Any]) -> tuple[str, ...]:
    start = (row["label"], row["table"], row["score"], _theirs(row))
    if row["ours"] is None:
        return (*start, "-", "0", "-", "-", "-")
    runs = str(row["runs"]) + (f", {row['diverged']} diverged" if row["diverged"] else "")
    return (
        *start,
        f"{_percent(row['ours'])} {_interval(row['interval'], without_interval(row['runs']))}",
        runs,
        "-" if row["difference"] is None else _points(row["difference"]),
        _yes_or_no(row["inside"]),
        _yes_or_no(row["expected_holds"]),
    )


def without_interval(num_runs: int) -> str:
    """Return why a mean has no interval."""
    return {1: "one run", 2: "two runs"}.get(num_runs, "no spread")


def _theirs(row: dict[str, Any]) -> str:
    if row["theirs"] is None:
        return "-"
    digits = max(0, round(-math.log10(100 * row["their_step"])))
    error = "" if row["their_error"] is None else f" ±{100 * row['their_error']:.1f}"
    return f"{100 * row['theirs']:.{digits}f}{error}"


def _family(family: dict[str, Any]) -> list[str]:
    tests = tuple(family["pairs"][0]["tests"])
    published = any(pair["as_published"] for pair in family["pairs"])
    heading = (
        "first minus second",
        "theirs, pp",
        "their mark",
        *(TESTS[name] for name in tests),
        *(("their test on ours",) if published else ()),
    )
    rows = []
    for pair in family["pairs"]:
        row = [
            f"{pair['label_a']} - {pair['label_b']}",
            "-" if pair["theirs"] is None else _points(pair["theirs"]),
            "-" if pair["their_stars"] is None else _stars(pair["their_stars"]),
            *(_test(item) for item in pair["tests"].values()),
        ]
        if published:
            row.append("-" if pair["as_published"] is None else _stars(pair["as_published"]["stars"]))
        rows.append(row)
    return [*_aligned(heading, rows), "", *_family_notes(family)]


def _family_notes(family: dict[str, Any]) -> list[str]:
    tests = [test for pair in family["pairs"] for test in pair["tests"].values()]
    runs = sorted({test["comparison"]["num_blocks"] for test in tests})
    chosen = f" (of {family['of']} in the whole table)" if family["size"] < family["of"] else ""
    lines = [f"{' or '.join(map(str, runs))} paired runs; Holm over {family['size']}{chosen}."]
    lines += [
        f"{'No test' if test['stars'] is None else 'No mark'}: {reason}."
        for test in tests
        if (reason := test["comparison"]["reason"])
    ]
    return list(dict.fromkeys(lines))


def _legend(document: dict[str, Any]) -> list[str]:
    scale = ", ".join(f"{'*' * (place + 1)} p < {_level(level)}" for place, level in enumerate(document["marks"]))
    lines = [
        "- theirs: as printed; ± is the smallest uncertainty, from the choice of their scored images alone (95 %)",
        "- ours: mean of the runs with its 95 % t interval (from three runs on), for fresh runs on this data set",
        "- inside: whether theirs is in that interval, up to rounding of its last digit",
        "- further runs: whether theirs could be the mean of as many further runs of ours (95 % prediction "
        "interval); - where their test images differ from ours",
    ]
    if any(row["diverged"] for row in document["cells"]):
        lines.append("- diverged: scored by the last finite checkpoint, or as chance without one")
    if document["families"]:
        lines.append(
            f"- marks: {scale}; n.s. otherwise. Ours by a valid test: the run is the unit, p adjusted by Holm over "
            "the family; the interval is for this difference alone, on new data of this kind; of two tests side by "
            "side, the crossed one on test images is the claim, and the other one tests the paper's own score"
        )
    if any(pair["as_published"] for family in document["families"] for pair in family["pairs"]):
        lines.append(
            "- their test on ours: treats the images of all runs as independent; as published, it ignores the "
            "variation between runs"
        )
    if document["num_looks"] > 1:
        lines.append(
            f"- this is analysis {document['num_looks']} of these runs, undeclared: p-values of valid tests are no "
            "longer exact"
        )
    return lines


def _test(item: dict[str, Any]) -> str:
    found = item["comparison"]
    if item["stars"] is None:
        return "no test" if found["estimate"] is None else f"{_points(found['estimate'])}, no test"
    adjusted = p_value(found["adjusted_p"])
    words = f"{_points(found['estimate'])} {_interval(found['interval'], '')}, {adjusted}: {_stars(item['stars'])}"
    return f"{words} (provisional)" if found["provisional"] else words


def _aligned(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with aligned columns."""
    widths = [max(len(line[place]) for line in (heading, *rows)) for place in range(len(heading))]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

    return [line(heading), f"|{'|'.join('-' * (width + 2) for width in widths)}|", *map(line, rows)]


def _stars(number: int) -> str:
    return "*" * number or "n.s."


def _level(level: float) -> str:
    return f"{level:.4f}".rstrip("0").removeprefix("0")


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _interval(interval: dict[str, float] | None, otherwise: str) -> str:
    return f"({otherwise})" if interval is None else f"({100 * interval['low']:.2f} to {100 * interval['high']:.2f})"


def _yes_or_no(value: bool | None) -> str:
    return {None: "-", True: "yes", False: "no"}[value]
