"""Pictures of a judged family: forest plot with the rope band, and paired slopes. Colours never speak alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.significance.records import Comparison, Verdict
from search.significance.wording import adjustment, digits_for, p_value, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    Verdict.BETTER: ("#0072B2", "^"),
    Verdict.WORSE: ("#D55E00", "v"),
    Verdict.EQUIVALENT: ("#009E73", "s"),
    Verdict.INCONCLUSIVE: ("#666666", "o"),
    Verdict.REFUSED: ("#666666", "x"),
}
"""Verdict -> colour (Okabe and Ito's palette) and marker: told apart without colour too."""
LABEL_CHARS = 34
NOTE_CHARS = 44


def forest_plot(comparisons: Sequence[Comparison], *, title: str | None = None) -> Figure:
    """Draw every comparison of a family as a point with its interval, over the band of practical equivalence.

    The thick bar is the comparison's own interval, the thin one covers the whole family at once. A refused comparison
    keeps its row.

    Args:
        comparisons: At least one, of one family.
        title: Shown on top; none if None.

    Returns:
        A figure in percentage points, its height growing with the number of rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(comparisons)
    figure = Figure(figsize=(11, 1.9 + 0.62 * count), layout="constrained")
    FigureCanvasAgg(figure)
    axes, notes = figure.subplots(1, 2, width_ratios=(1, 0.8), sharey=True)
    first = comparisons[0]
    rope = 100 * first.rope
    axes.axvspan(-rope, rope, color="#E69F00", alpha=0.2, linewidth=0, label=f"practically equivalent (±{rope:g})")
    axes.axvline(0, color="black", linewidth=0.8)
    for row, comparison in enumerate(comparisons):
        _forest_row(axes, row, comparison)
        note = notes.text(0, row, _note(comparison), va="center", ha="left", fontsize=9, linespacing=1.3)
        note.set_in_layout(False)  # it is wrapped to its column; measuring it would squeeze the plot
    axes.set_yticks(range(count), [_label(comparison) for comparison in comparisons], fontsize=10)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("difference in accuracy, first minus second (percentage points)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    notes.set_xlim(0, 1)
    notes.axis("off")
    seen = [verdict for verdict in LOOKS if any(item.verdict is verdict for item in comparisons)]
    figure.legend(handles=_legend(first, seen), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    if title is not None:
        figure.suptitle(title, fontsize=12)
    return figure


def slope_plot(comparison: Comparison) -> Figure:
    """Draw one line per block from the first configuration's accuracy to the second's, and the means on top.

    Args:
        comparison: One with at least one common block.

    Returns:
        A figure in per cent.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    kinds = {
        1: (*LOOKS[Verdict.BETTER], "-"),
        -1: (*LOOKS[Verdict.WORSE], "--"),
        0: (*LOOKS[Verdict.INCONCLUSIVE], ":"),
    }
    words = {1: "first higher", -1: "second higher", 0: "tie"}
    signs = [(a > b) - (a < b) for a, b in zip(comparison.scores_a, comparison.scores_b, strict=True)]
    for sign, a, b in zip(signs, comparison.scores_a, comparison.scores_b, strict=True):
        colour, marker, line = kinds[sign]
        axes.plot((0, 1), (100 * a, 100 * b), line, color=colour, marker=marker, markersize=4, linewidth=1, alpha=0.75)
    for sign in (1, -1, 0):
        if sign in signs:
            colour, marker, line = kinds[sign]
            label = f"{words[sign]}: {signs.count(sign)} of {len(signs)}"
            axes.plot([], [], line, color=colour, marker=marker, markersize=4, linewidth=1, label=label)
    if comparison.mean_a is not None and comparison.mean_b is not None:
        means = (100 * comparison.mean_a, 100 * comparison.mean_b)
        axes.plot((0, 1), means, color="black", marker="D", markersize=6, linewidth=2.5, label="mean")
    names = [textwrap.fill(name, 22) for name in (comparison.a, comparison.b)]
    axes.set_xticks((0, 1), names, fontsize=10)
    axes.set_xlim(-0.25, 1.25)
    axes.set_ylabel("accuracy on the test images (%)" if comparison.num_images else "validation accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _forest_row(axes: Axes, row: int, comparison: Comparison) -> None:
    colour, marker = LOOKS[comparison.verdict]
    for interval, width in ((comparison.simultaneous_interval, 1.2), (comparison.interval, 4.0)):
        if interval is not None:
            ends = (100 * interval.low, 100 * interval.high)
            axes.plot(ends, (row, row), color=colour, linewidth=width, solid_capstyle="butt")
    if comparison.estimate is not None:
        edge = colour if comparison.verdict is Verdict.REFUSED else "white"  # a cross is all edge
        axes.plot(100 * comparison.estimate, row, marker, color=colour, markersize=9, markeredgecolor=edge)


def _label(c: Comparison) -> str:
    whole = f"{c.a} minus {c.b}"
    if len(whole) <= LABEL_CHARS:
        return whole
    first, second = (name if len(name) <= LABEL_CHARS else f"{name[: LABEL_CHARS - 1]}…" for name in (c.a, c.b))
    return f"{first}\nminus {second}"


def _note(c: Comparison) -> str:
    if c.estimate is None or c.interval is None or c.adjusted_p is None:
        return textwrap.fill(f"{c.verdict.value}: {c.reason or ''}", NOTE_CHARS, max_lines=3, placeholder=" …")
    digits = digits_for(c.interval)
    low, middle, high = (points(value, digits) for value in (c.interval.low, c.estimate, c.interval.high))
    word = f"{c.verdict.value}, provisional" if c.provisional else c.verdict.value
    adjusted = f"{adjustment(c.adjust_method)} {p_value(c.adjusted_p)}"
    return f"{word}\n{middle} pp [{low}, {high}], {adjusted}, n = {c.num_blocks}"


def _legend(first: Comparison, seen: Sequence[Verdict]) -> list[object]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    level = f"{100 * (1 - first.alpha):g} %"
    handles: list[object] = [
        Patch(color="#E69F00", alpha=0.2, linewidth=0, label=f"within ±{100 * first.rope:g} pp (rope)"),
        Line2D([], [], color="#666666", linewidth=4, label=f"{level} interval of this one alone"),
    ]
    if first.family_size > 1:
        every = f"{level} for all {first.family_size} together"
        handles.append(Line2D([], [], color="#666666", linewidth=1.2, label=every))
    for verdict in seen:
        colour, marker = LOOKS[verdict]
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=8, label=verdict.value))
    return handles
