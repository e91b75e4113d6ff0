"""The reproduction as Markdown that can also be read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.significance.wording import p_value

TESTS = {"validation": "validation, corrected t", "test": "test images, crossed"}
"""Score -> the valid test's column: by what the comparisons were judged."""


def to_table(document: dict[str, Any]) -> str:
    """Theirs beside ours: cells, differences with both marks, and what was done otherwise than in the paper."""
    lines = [f"# {document['title']}", "", *_setting(document), "", *_cells(document["cells"])]
    for family in document["families"]:
        lines += ["", f"## {family['title']}", "", *_family(family, document["marks"])]
    notes = [f"Not drawn: {note}." for note in document["missing"]]
    return "\n".join([*lines, *([""] if notes else []), *notes, ""])


def _setting(document: dict[str, Any]) -> list[str]:
    images = document["images"]
    held = f"{images['validation']:,} validation" if images["validation"] else "no validation"
    lines = [
        f"Data: {document['data']}, {images['training']:,} training, {held}, {images['test']:,} test images; "
        f"{document['epochs']} epochs; {document['repeats']} runs per cell.",
    ]
    if document["changes"]:
        changed = "; ".join(
            f"{item['field']} {_value(item['here'])} instead of {_value(item['shipped'])}"
            for item in document["changes"]
        )
        lines += ["", f"**Not the paper's setting:** {changed}."]
    return lines


def _value(value: object) -> str:
    return "unset" if value is None else str(value)


def _cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    heading = ("cell", "table", "scored", "theirs, %", "ours, %", "runs", "difference", "inside", "further runs")
    lines = _aligned(heading, [_cell(row) for row in rows])
    return [
        *lines,
        "",
        "In brackets: 95 % t interval of our mean, for fresh runs on this data set. Inside: whether it holds theirs, give "
        "or take the last digit.",
        "Further runs: whether theirs could be the mean of as many further runs of ours as it is a mean of (95 % "
        "prediction interval).",
    ]


def _cell(row: dict[str, Any]) -> tuple[str, ...]:
    theirs = "-" if row["theirs"] is None else _percent(row["theirs"])
    start = (row["label"], row["table"], row["score"], theirs)
    if row["ours"] is None:
        return (*start, "-", "0", "-", "-", "-")
    runs = str(row["runs"]) + (f", {row['diverged']} diverged (as chance)" if row["diverged"] else "")
    return (
        *start,
        f"{_percent(row['ours'])} {_interval(row['interval'], 'one run' if row['runs'] == 1 else 'no spread')}",
        runs,
        "-" if row["difference"] is None else _points(row["difference"]),
        _yes_or_no(row["inside"]),
        _yes_or_no(row["expected_holds"]),
    )


def _family(family: dict[str, Any], marks: Sequence[float]) -> list[str]:
    tests = tuple(family["pairs"][0]["tests"])
    published = family["pairs"][0]["as_published"] is not None
    heading = (
        "first minus second",
        "theirs, pp",
        "their mark",
        "ours, pp",
        *(("their test on ours",) if published else ()),
        *(TESTS[name] for name in tests),
    )
    rows = []
    for pair in family["pairs"]:
        row = [
            f"{pair['label_a']} - {pair['label_b']}",
            "-" if pair["theirs"] is None else _points(pair["theirs"]),
            "none given" if pair["their_stars"] is None else _stars(pair["their_stars"]),
            "-" if pair["ours"] is None else _points(pair["ours"]),
        ]
        if published:
            row.append("-" if pair["as_published"] is None else _stars(pair["as_published"]["stars"]))
        rows.append((*row, *(_test(item) for item in pair["tests"].values())))
    return [*_aligned(heading, rows), "", *_family_notes(family, marks, published=published)]


def _family_notes(family: dict[str, Any], marks: Sequence[float], *, published: bool) -> list[str]:
    scale = ", ".join(f"{'*' * (place + 1)} p < {_level(level)}" for place, level in enumerate(marks))
    runs = sorted({test["comparison"]["num_blocks"] for pair in family["pairs"] for test in pair["tests"].values()})
    unit = f"the run is the unit ({' or '.join(map(str, runs))} paired runs)"
    lines = [
        f"Marks: {scale}; n.s. otherwise. Valid tests: {unit}, Holm over the {family['size']} comparison{'s' if family['size'] > 1 else ''} here"
        + (f" of the paper's {family['of']}." if family["size"] < family["of"] else "."),
    ]
    if published:
        lines.append(
            "Their test takes the images of all runs for independent: as published, ignores the variation between runs."
        )
    return lines


def _test(item: dict[str, Any]) -> str:
    found = item["comparison"]
    if item["stars"] is None:
        return f"no test: {found['reason']}"
    adjusted = p_value(found["adjusted_p"])
    words = f"{_points(found['estimate'])} {_interval(found['interval'], '')}, {adjusted}: {_stars(item['stars'])}"
    return f"{words} (provisional)" if found["provisional"] else words


def _aligned(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up."""
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
