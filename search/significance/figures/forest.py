"""Forest plot: every comparison as a point with its interval, over the region of practical equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from search.significance.figures.theme import (
    AMBER,
    GREY,
    LOOKS,
    ROPE_ALPHA,
    folded,
    is_bounded,
    new_figure,
    pair_label,
    plain_axes,
)
from search.significance.records import Comparison, Interval, Verdict
from search.significance.rounding import digits_for, points
from search.significance.wording import difference_p, equivalence_p, marks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_CHARS = 34
NOTE_CHARS = 46
HEADING_ROWS = 0.75
"""Height of a heading, in rows."""
REACH = 0.8
"""Simultaneous intervals may widen the axis by this share of the span of the other values; beyond it they end in an
arrow."""


def forest_plot(comparisons: Sequence[Comparison]) -> Figure:
    """Draw every comparison as a point with its interval, over the region of practical equivalence.

    The thick bar is the comparison's own interval, the thin bar the simultaneous one of the family. A refused
    comparison keeps its row. Data sets and families have headings if there are several.

    Args:
        comparisons: At least one; those of one data set and family must be adjacent.

    Returns:
        A figure in percentage points; its height grows with the number of rows.
    """
    groups = [(name, list(members)) for name, members in groupby(comparisons, group_name)]
    headed = len(groups) > 1
    count = len(comparisons) + headed * HEADING_ROWS * len(groups)
    figure = new_figure(11, 1.9 + 0.62 * count)
    axes, notes = figure.subplots(1, 2, width_ratios=(1, 0.8), sharey=True)
    low, high = value_range(comparisons)
    axes.set_xlim(low, high)
    rope = 100 * comparisons[0].rope
    axes.axvspan(-rope, rope, color=AMBER, alpha=ROPE_ALPHA, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    ticks: list[tuple[float, str]] = []
    headings: list[int] = []
    row = 0.0
    for name, members in groups:
        if headed:
            headings.append(len(ticks))
            ticks.append((row, folded(name, LABEL_CHARS, num_lines=2)))
            row += HEADING_ROWS
        for comparison in members:
            _draw_row(axes, row, comparison, low, high)
            note = notes.text(0, row, _note(comparison), va="center", ha="left", fontsize=9, linespacing=1.3)
            note.set_in_layout(False)  # wrapped to its column; including it in the layout would shrink the plot
            ticks.append((row, pair_label(comparison, LABEL_CHARS)))
            row += 1
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=10)
    for position in headings:
        axes.get_yticklabels()[position].set_fontweight("bold")
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("difference in accuracy, first minus second (percentage points)")
    plain_axes(axes, grid="x", hidden=("top", "right", "left"))
    axes.tick_params(axis="y", length=0)
    notes.set_xlim(0, 1)
    notes.axis("off")
    figure.legend(handles=_legend(comparisons), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def group_name(comparison: Comparison) -> str:
    """Return a heading with a comparison's data set and family, where they have names."""
    return " · ".join(name for name in (comparison.dataset, comparison.family) if name)


def value_range(comparisons: Sequence[Comparison]) -> tuple[float, float]:
    """Return the ends of the axis.

    All estimates, own intervals, 0 and the rope are inside. Simultaneous intervals of three repeats can be ten times as
    wide and would compress everything else, so they may be cut.

    Args:
        comparisons: The comparisons to draw.

    Returns:
        Lowest and highest value, percentage points.
    """
    values = [-comparisons[0].rope, comparisons[0].rope]
    wide = []
    for comparison in comparisons:
        if comparison.estimate is not None:
            values.append(comparison.estimate)
        if is_bounded(comparison.interval):
            values += [comparison.interval.low, comparison.interval.high]
        if is_bounded(comparison.simultaneous_interval):
            wide += [comparison.simultaneous_interval.low, comparison.simultaneous_interval.high]
    low, high = min(values), max(values)
    room = REACH * (high - low)
    low, high = max(min([low, *wide]), low - room), min(max([high, *wide]), high + room)
    margin = 0.04 * (high - low) or 0.01
    return 100 * (low - margin), 100 * (high + margin)


def _draw_row(axes: Axes, row: float, comparison: Comparison, low: float, high: float) -> None:
    look = LOOKS[comparison.verdict]
    _draw_interval(axes, row, comparison.simultaneous_interval, 1.2, look.colour, low, high)
    _draw_interval(axes, row, comparison.interval, 4.0, look.colour, low, high)
    if comparison.estimate is not None:
        edge = look.colour if comparison.verdict is Verdict.REFUSED else "white"  # a cross has no fill
        axes.plot(100 * comparison.estimate, row, look.marker, color=look.colour, markersize=9, markeredgecolor=edge)


def _draw_interval(
    axes: Axes, row: float, interval: Interval | None, width: float, colour: str, low: float, high: float
) -> None:
    if interval is None:
        return
    ends = (100 * interval.low, 100 * interval.high) if is_bounded(interval) else (low - 1, high + 1)
    axes.plot(ends, (row, row), color=colour, linewidth=width, solid_capstyle="butt")
    for marker, is_beyond, edge in (("<", ends[0] < low, low), (">", ends[1] > high, high)):
        if is_beyond:
            axes.plot(edge, row, marker, color=colour, markersize=6, clip_on=False)


def _note(c: Comparison) -> str:
    if c.estimate is None or c.interval is None or c.adjusted_p is None:
        return folded(f"{c.verdict.value}: {c.reason or ''}", NOTE_CHARS)
    digits = digits_for(c.interval, marks_of(c))
    within = "unbounded"
    if is_bounded(c.interval):
        within = f"[{points(c.interval.low, digits)}, {points(c.interval.high, digits)}]"
    word = f"{c.verdict.value}, provisional" if c.provisional else c.verdict.value
    is_equivalent = c.verdict is Verdict.EQUIVALENT and c.adjusted_tost_p is not None
    p = equivalence_p(c) if is_equivalent else difference_p(c)
    return f"{word}\n{points(c.estimate, digits)} pp {within}, {p}, n = {c.num_blocks}"


def _legend(comparisons: Sequence[Comparison]) -> list[object]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    first = comparisons[0]
    level = f"{100 * (1 - first.alpha):g} %"
    sizes = {comparison.family_size for comparison in comparisons}
    band = f"within ±{100 * first.rope:g} pp: practically equivalent"
    handles: list[object] = [
        Patch(color=AMBER, alpha=ROPE_ALPHA, linewidth=0, label=band),
        Line2D([], [], color=GREY, linewidth=4, label=f"{level} interval of this one alone"),
    ]
    if max(sizes) > 1:
        every = f"{level} for all {first.family_size} together" if len(sizes) == 1 else f"{level} for its whole family"
        handles.append(Line2D([], [], color=GREY, linewidth=1.2, label=every))
    for verdict, look in LOOKS.items():
        if any(item.verdict is verdict for item in comparisons):
            style = {"color": look.colour, "marker": look.marker, "linestyle": "", "markersize": 8}
            handles.append(Line2D([], [], label=verdict.value, **style))  # type: ignore[arg-type]
    return handles
