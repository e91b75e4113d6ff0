"""Tables of a comparison: Markdown for its folder, aligned columns for standard output."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len

from search.console.paper import methods_paragraph
from search.console.scores import percent, score_rows
from search.console.verdict_lines import verdict_lines
from search.console.wrapping import wrapped
from search.journal.comparison import Choice, ComparisonDocument, RaceRecord
from search.journal.decision import decision_of
from search.significance.declared import NEW_DATA_SETS
from search.significance.records import Comparison, Verdict
from search.significance.rounding import digits_apart, p_number
from search.significance.wording import adjustment
from search.text.escaping import markdown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Rows = list[tuple[str, ...]]
"""Headings, then rows."""
_COUNTS = {"num_parameters": "parameters", "macs": "MACs", "sequential_steps": "steps"}
"""Count of a model -> its heading."""
LEAST_FIRST = (
    *("steps", "MACs", "repeats won", "data sets won", "A12", "raced repeats", "TOST p"),
    *("interval, pp", "interval", "repeats"),
)
"""Endings of the headings that are dropped on narrow terminals, least important first."""
_WORDS = {"data set", "family", "configuration", "a", "b", "verdict", "race", "score", "what it is", "state"}
"""Left-aligned columns; all others are right-aligned numbers."""
_FOLDED = _WORDS - {"verdict"}
"""Columns whose cells may be wrapped."""


def to_markdown(document: ComparisonDocument, *, remarks: bool = True) -> str:
    """Format a comparison as Markdown tables, with the verdicts as sentences unless `remarks` is false."""
    methods = f"Methods: {methods_paragraph(document.comparisons)}"
    return markdown_tables(_tables(document), [*(_remarks(document) if remarks else ()), methods])


def to_table(document: ComparisonDocument) -> str:
    """Format a comparison for standard output: rich tables on a terminal, aligned plain text otherwise."""
    return print_tables(_tables(document), _remarks(document))


def markdown_tables(tables: Sequence[Rows], remarks: Sequence[str]) -> str:
    """Format tables as Markdown, followed by one paragraph per remark."""
    lines: list[str] = []
    for headings, *rows in tables:
        lines += [_row(headings), "|" + "---|" * len(headings), *map(_row, rows), ""]
    return "\n".join([*lines, "\n\n".join(map(markdown, remarks)), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown(cell).replace('|', '&#124;') for cell in cells)} |"


def print_tables(tables: Sequence[Rows], remarks: Sequence[str], least_first: Sequence[str] = LEAST_FIRST) -> str:
    """Format tables and remarks for standard output: rich tables on a terminal, aligned plain text otherwise.

    If a table is wider than the terminal, its headings are wrapped and then columns are dropped, least important first.
    For files the width is unlimited, unless COLUMNS is set.

    Args:
        tables: The tables.
        remarks: Lines below them.
        least_first: Endings of the headings that may be dropped, least important first.
    """
    console = _make_console()
    is_bounded = console.is_terminal or "COLUMNS" in os.environ
    if not is_bounded:
        console = _make_console(width=10_000)
    with console.capture() as capture:
        for rows in tables:
            table, left_out = _fitted(rows, console, least_first)
            console.print(table)
            if left_out:
                console.print(f"Columns that do not fit: {'; '.join(left_out)}.")
            if not console.is_terminal:
                console.print()
        for line in remarks:
            for part in wrapped(line, console.width):
                console.print(part, soft_wrap=True)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _make_console(width: int | None = None) -> Console:
    """Return a console that prints escape sequences as text, and that a notebook does not display."""
    from rich.console import Console

    return Console(width=width, highlight=False, markup=False, color_system=None, force_jupyter=False)


def _fitted(rows: Rows, console: Console, endings: Sequence[str]) -> tuple[Table, list[str]]:
    """Fit a table into the width of the console if possible; also return the dropped columns."""
    wide = _make_console(width=10_000)

    def fits(table: Table) -> bool:
        with wide.capture() as capture:
            wide.print(table)
        return max(map(cell_len, capture.get().splitlines()), default=0) <= console.width

    table = _table(rows, is_terminal=console.is_terminal)
    if fits(table):
        return table, []
    headings = rows[0]
    rows = _broken(rows)
    left_out: list[str] = []
    least_first = [name for end in endings for name in headings if name.endswith(end)]
    for heading in [None, *dict.fromkeys(least_first)]:
        if heading is not None:
            place = headings.index(heading)
            left_out.append(heading)
            headings = headings[:place] + headings[place + 1 :]
            rows = [row[:place] + row[place + 1 :] for row in rows]
        table = _table(rows, is_terminal=console.is_terminal)
        if fits(table):
            break
    return table, left_out


def _broken(rows: Rows) -> Rows:
    """Wrap the headings and verdicts of a table into two lines."""
    headings, *others = rows
    verdict = headings.index("verdict") if "verdict" in headings else None

    def broken(row: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cell.replace(" ", "\n") if place == verdict else cell for place, cell in enumerate(row))

    first = tuple(heading.replace(", ", "\n").replace(" won", "\nwon") for heading in headings)
    return [first, *map(broken, others)]


def _table(rows: Rows, *, is_terminal: bool) -> Table:
    from rich import box
    from rich.table import Table

    # A box separates columns by one space and adds blank lines around the table.
    look, gap = (box.SIMPLE_HEAD, 1) if is_terminal else (None, 2)
    table = Table(box=look, pad_edge=False, padding=(0, gap, 0, 0))
    headings, *others = rows
    for heading in headings:
        justify: Literal["left", "right"] = "left" if heading in _WORDS else "right"
        table.add_column(heading, justify=justify, no_wrap=heading not in _FOLDED, overflow="fold")
    for row in others:
        table.add_row(*row)
    return table


def _tables(document: ComparisonDocument) -> list[Rows]:
    """Return all tables of a comparison, each with headings; the race comes first."""
    first = [_race_rows(document.race)] if document.race else []
    return [*first, _contender_rows(document), pair_rows(document.comparisons), *_score_tables(document)]


def _race_rows(race: RaceRecord) -> Rows:
    """Return headings, then one row per pair of the race."""
    rows: Rows = [("a", "b", "raced repeats", "E", "E needed", "race")]
    for pair in race.pairs:
        e_value = pair.e_values[-1] if pair.e_values else None
        state = {"decided": f"{pair.winner} ahead", "dropped": f"{pair.loser} dropped", "undecided": "undecided"}
        words = state[pair.outcome]
        rows.append((pair.a, pair.b, str(pair.num_blocks), _number(e_value), _number(pair.needed), words))
    return rows


def _score_tables(document: ComparisonDocument) -> list[Rows]:
    """Return the table of the nominee's scores; empty for comparisons written by earlier versions."""
    selection = document.selection
    if selection is None:
        return []
    return [[("score", "accuracy", "what it is"), (selection.name, "", selection.state), *score_rows(selection)]]


def _contender_rows(document: ComparisonDocument) -> Rows:
    """Return headings, then one row per contender."""
    fresh = "fresh repeats" if document.race else "repeats"
    counted = [name for name in _COUNTS if any(name in contender.counts for contender in document.contenders)]
    rows: Rows = [("configuration", "test accuracy, mean", fresh, *(_COUNTS[name] for name in counted))]
    for contender in document.contenders:
        done = sum(run.test_accuracy is not None for run in contender.repeats)
        counts = (f"{contender.counts[name]:,}" if name in contender.counts else "" for name in counted)
        rows.append((contender.name, percent(contender.mean_test_accuracy), str(done), *counts))
    return rows


def pair_rows(comparisons: Sequence[Comparison]) -> Rows:
    """Return headings, then one row per comparison, with columns for data set and family if they have names."""
    with_dataset, with_family = any(item.dataset for item in comparisons), any(item.family for item in comparisons)
    of_equivalence = any(item.adjusted_tost_p is not None and item.rope for item in comparisons)
    level = next((item.interval.level for item in comparisons if item.interval), None)
    own_unit = any(item.own_unit for item in comparisons)
    unit = "" if own_unit else ", pp"
    headings = (
        *(("data set",) if with_dataset else ()),
        *(("family",) if with_family else ()),
        "a",
        "b",
        f"difference{unit}",
        f"{'' if level is None else f'{100 * level:g} % '}interval{unit}",
        p_heading(comparisons),
        *(("TOST p",) if of_equivalence else ()),
        _won_heading(comparisons),
        "verdict",
    )
    rows: Rows = [headings]
    for item in comparisons:
        rows.append(
            (
                *((item.dataset or "-",) if with_dataset else ()),
                *((item.family or "-",) if with_family else ()),
                item.a,
                item.b,
                _pp(item.estimate, own_unit=own_unit),
                _interval(item, own_unit=own_unit),
                _p(item.adjusted_p, item.alpha),
                *((_p(item.adjusted_tost_p, item.alpha),) if of_equivalence else ()),
                _won(item),
                _verdict(item),
            )
        )
    return rows


def p_heading(comparisons: Sequence[Comparison]) -> str:
    """Return the heading of the p-values: `Holm p`, `q` for false discovery rates, `p` for a single comparison."""
    if all(item.family_size == 1 for item in comparisons):
        return "p"
    method = comparisons[0].adjust_method
    return "q" if method == "bh" else f"{adjustment(method)} p"


def _remarks(document: ComparisonDocument) -> list[str]:
    """Return remarks on replaced nominees, then the verdicts as sentences."""
    by_accuracy = document.declared is None or document.declared.choose is None
    last = max((item.sweep_rank or 0 for item in document.contenders if item.finalist), default=0)
    passed_over = sorted(
        (item.sweep_rank, item.name)
        for item in document.contenders
        if by_accuracy and not item.finalist and item.sweep_rank is not None and item.sweep_rank < last
    )
    return [
        *(
            f"Nominee {rank} of the sweep is the baseline {name}; the next nominee is compared in its place."
            for rank, name in passed_over
        ),
        *(document.race.sentences if document.race else ()),
        *verdict_lines(document.comparisons),
        *_decision_lines(document),
        *_choice_lines(document.choice),
    ]


def _decision_lines(document: ComparisonDocument) -> list[str]:
    decision = decision_of(document.choice, document)
    return [f"Decision: {decision}."] if decision else []


def _choice_lines(choice: Choice | None) -> list[str]:
    """Return lines on the configuration that `export` uses; empty for comparisons written by earlier versions."""
    if choice is None:
        return []
    return [f"`export` chooses {choice.name}: {choice.state}.", *(f"Note: {note}." for note in choice.notes)]


def _pp(value: float | None, *, own_unit: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.4f}" if own_unit else f"{100 * value:+.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _p(value: float | None, alpha: float | None) -> str:
    return "-" if value is None else p_number(value, alpha)


def _interval(item: Comparison, *, own_unit: bool) -> str:
    if item.interval is None or not (math.isfinite(item.interval.low) and math.isfinite(item.interval.high)):
        return "-"
    low, high = item.interval.low, item.interval.high
    digits = digits_apart((low, high), (0.0, item.rope, -item.rope), 2)
    if own_unit:
        return f"{low:+.{digits + 2}f} to {high:+.{digits + 2}f}"
    return f"{100 * low:+.{digits}f} to {100 * high:+.{digits}f}"


def _won_heading(comparisons: Sequence[Comparison]) -> str:
    if any(item.num_unpaired for item in comparisons):
        return "A12"
    over_data_sets = bool(comparisons) and comparisons[0].estimand == NEW_DATA_SETS
    return "data sets won" if over_data_sets else "repeats won"


def _won(item: Comparison) -> str:
    """Format the blocks in which a is ahead, ties counting one half: `2 of 3`; for unpaired runs, the fraction."""
    share, num_blocks = item.p_a_gt_b, item.num_blocks
    if share is None or not num_blocks:
        return "-"
    return f"{share:.2f}" if item.num_unpaired else f"{round(2 * share * num_blocks) / 2:g} of {num_blocks}"


def _verdict(item: Comparison) -> str:
    is_provisional = item.provisional and item.verdict is not Verdict.REFUSED
    return f"{item.verdict.value}, provisional" if is_provisional else item.verdict.value
