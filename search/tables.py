"""A comparison as tables: Markdown for its folder, aligned columns for standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_WORDS = {"configuration", "family", "a", "b", "verdict", "race"}
"""Columns that are read from the left; the others hold numbers."""


def to_markdown(document: dict[str, Any]) -> str:
    """The comparison as Markdown tables with its verdict sentences."""
    lines: list[str] = []
    for headings, *rows in _tables(document):
        lines += [_row(headings), "|" + "---|" * len(headings), *map(_row, rows), ""]
    return "\n".join([*lines, *_remarks(document), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_table(document: dict[str, Any]) -> str:
    """The comparison for standard output: rich tables on a terminal, aligned plain text elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    # A box parts columns by a space and tables by blank lines of its own.
    look, gap = (box.SIMPLE_HEAD, 1) if console.is_terminal else (None, 2)
    if look is None:
        # Wide enough that nothing wraps: a file has no right edge.
        console = Console(highlight=False, markup=False, width=10_000)
    with console.capture() as capture:
        for headings, *rows in _tables(document):
            table = Table(box=look, pad_edge=False, padding=(0, gap, 0, 0))
            for heading in headings:
                table.add_column(heading, justify="left" if heading in _WORDS else "right")
            for row in rows:
                table.add_row(*row)
            console.print(table)
            if look is None:
                console.print()
        for line in _remarks(document):
            console.print(line)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _tables(document: dict[str, Any]) -> list[list[tuple[str, ...]]]:
    """The tables of a comparison, headings first: its race if there was one, the contenders, the judged pairs."""
    race = document.get("race")
    return [*([_race_rows(race)] if race else []), _contender_rows(document), _pair_rows(document)]


def _race_rows(race: dict[str, Any]) -> list[tuple[str, ...]]:
    """Headings, then one row per pair that was raced."""
    rows: list[tuple[str, ...]] = [("a", "b", "raced blocks", "E", "E needed", "race")]
    for pair in race["pairs"]:
        e_value = pair["e_values"][-1] if pair["e_values"] else None
        state = {
            "decided": f"{pair['winner']} ahead",
            "dropped": f"{pair['loser']} dropped",
            "undecided": "undecided",
        }[pair["outcome"]]
        blocks = str(pair["num_blocks"])
        rows.append((pair["a"], pair["b"], blocks, _number(e_value), _number(pair["needed"]), state))
    return rows


def _contender_rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """Headings, then one row per contender."""
    rows: list[tuple[str, ...]] = [("configuration", "test accuracy, mean", "repeats")]
    for contender in document["contenders"]:
        mean = contender["mean_test_accuracy"]
        done = sum(run["test_accuracy"] is not None for run in contender["repeats"])
        rows.append((contender["name"], "-" if mean is None else f"{100 * mean:.2f} %", str(done)))
    return rows


def _pair_rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """Headings, then one row per pair that was judged."""
    named = any(item.get("family") for item in document["comparisons"])
    headings = ("a", "b", "difference, pp", "interval, pp", "adjusted p", "repeats won", "verdict")
    rows: list[tuple[str, ...]] = [(("family", *headings) if named else headings)]
    for item in document["comparisons"]:
        numbers = (_pp(item["estimate"]), _interval(item["interval"]))
        chances = (_number(item["adjusted_p"]), _number(item["p_a_gt_b"]))
        family = (item["family"],) if named else ()
        rows.append((*family, item["a"], item["b"], *numbers, *chances, item["verdict"]))
    return rows


def _remarks(document: dict[str, Any]) -> list[str]:
    """Nominees that were passed over, then the verdicts in words."""
    last = max((item["sweep_rank"] for item in document["contenders"] if item["finalist"]), default=0)
    passed_over = sorted(
        (item["sweep_rank"], item["name"])
        for item in document["contenders"]
        if not item["finalist"] and item["sweep_rank"] is not None and item["sweep_rank"] < last
    )
    return [
        *(
            f"The sweep's {'best' if rank == 1 else f'nominee {rank}'} is the baseline {name} itself; the next nominee "
            "is compared in its place."
            for rank, name in passed_over
        ),
        *document.get("race", {}).get("sentences", ()),
        *(item["sentence"] for item in document["comparisons"]),
    ]


def _pp(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _interval(interval: dict[str, float] | None) -> str:
    return "-" if interval is None else f"{100 * interval['low']:+.2f} to {100 * interval['high']:+.2f}"
