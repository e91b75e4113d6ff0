"""A comparison as tables: Markdown for its folder, aligned columns for standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.scores import percent, score_rows
from search.significance.methods import NEW_DATA_SETS

Rows = list[tuple[str, ...]]
"""Headings, then rows."""
_WORDS = {"data set", "family", "configuration", "a", "b", "verdict", "race", "score", "what it is"}
"""Columns that are read from the left; the others hold numbers."""


def to_markdown(document: dict[str, Any]) -> str:
    """The comparison as Markdown tables with its verdict sentences."""
    return markdown_tables(_tables(document), _remarks(document))


def to_table(document: dict[str, Any]) -> str:
    """The comparison for standard output: rich tables on a terminal, aligned plain text elsewhere."""
    return print_tables(_tables(document), _remarks(document))


def markdown_tables(tables: Sequence[Rows], remarks: Sequence[str]) -> str:
    """Tables as Markdown, and a line for each remark below them."""
    lines: list[str] = []
    for headings, *rows in tables:
        lines += [_row(headings), "|" + "---|" * len(headings), *map(_row, rows), ""]
    return "\n".join([*lines, *remarks, ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def print_tables(tables: Sequence[Rows], remarks: Sequence[str]) -> str:
    """Tables and remarks for standard output: rich ones on a terminal, aligned plain text elsewhere."""
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
        for headings, *rows in tables:
            table = Table(box=look, pad_edge=False, padding=(0, gap, 0, 0))
            for heading in headings:
                table.add_column(heading, justify="left" if heading in _WORDS else "right")
            for row in rows:
                table.add_row(*row)
            console.print(table)
            if look is None:
                console.print()
        for line in remarks:
            console.print(line)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _tables(document: dict[str, Any]) -> list[Rows]:
    """All tables of a comparison, each with its headings first; a race stands before what it led to."""
    race = document.get("race")
    first = [_race_rows(race)] if race else []
    return [*first, _contender_rows(document), pair_rows(document["comparisons"]), *_score_tables(document)]


def _race_rows(race: dict[str, Any]) -> Rows:
    """Headings, then one row per pair that was raced."""
    rows: Rows = [("a", "b", "raced blocks", "E", "E needed", "race")]
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


def _score_tables(document: dict[str, Any]) -> list[Rows]:
    """The nominee's scores, where the comparison has them: those of old have none."""
    selection = document.get("selection")
    if not selection:
        return []
    return [[("score", "accuracy", "what it is"), (selection["name"], "", selection["state"]), *score_rows(selection)]]


def _contender_rows(document: dict[str, Any]) -> Rows:
    """Headings, then one row per contender."""
    fresh = "fresh repeats" if "race" in document else "repeats"
    rows: Rows = [("configuration", "test accuracy, mean", fresh)]
    for contender in document["contenders"]:
        mean = contender["mean_test_accuracy"]
        done = sum(run["test_accuracy"] is not None for run in contender["repeats"])
        rows.append((contender["name"], percent(mean), str(done)))
    return rows


def pair_rows(comparisons: Sequence[dict[str, Any]]) -> Rows:
    """Headings, then one row per pair that was judged; data set and family where they have names.

    Args:
        comparisons: What `Comparison.to_dict` gives.
    """
    named = [
        (heading, key)
        for heading, key in (("data set", "dataset"), ("family", "family"))
        if any(item.get(key) for item in comparisons)
    ]
    own_unit = any(item.get("own_unit") for item in comparisons)
    won = "data sets won" if comparisons and comparisons[0].get("estimand") == NEW_DATA_SETS else "repeats won"
    if any(item.get("num_unpaired") for item in comparisons):
        won = "A12"
    unit = "" if own_unit else ", pp"
    headings = ("a", "b", f"difference{unit}", f"interval{unit}", "adjusted p", won, "verdict")
    rows: Rows = [(*(heading for heading, _ in named), *headings)]
    for item in comparisons:
        where = (item.get(key) or "-" for _, key in named)
        numbers = (_pp(item["estimate"], own_unit=own_unit), _interval(item["interval"], own_unit=own_unit))
        chances = (_number(item["adjusted_p"]), _number(item["p_a_gt_b"]))
        rows.append((*where, item["a"], item["b"], *numbers, *chances, item["verdict"]))
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
            f"Nominee {rank} of the sweep is the baseline {name} itself; the next nominee is compared in its place."
            for rank, name in passed_over
        ),
        *document.get("race", {}).get("sentences", ()),
        *(item["sentence"] for item in document["comparisons"]),
    ]


def _pp(value: float | None, *, own_unit: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.4f}" if own_unit else f"{100 * value:+.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _interval(interval: dict[str, float] | None, *, own_unit: bool = False) -> str:
    if interval is None:
        return "-"
    return f"{_pp(interval['low'], own_unit=own_unit)} to {_pp(interval['high'], own_unit=own_unit)}"
