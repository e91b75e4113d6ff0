"""Plotly figures of comparisons for HTML pages, with the full numbers as hover texts.

The page sets the colours of text, grid and background; here they are left out or transparent.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from search.significance.figures.forest import group_name, value_range
from search.significance.figures.numbers import numbers_of
from search.significance.figures.slopes import SIGNS, score_label, signs_of
from search.significance.figures.superiority import Cell, cells_of, ink_on, share_text
from search.significance.figures.theme import AMBER, DIVERGING, GREY, LOOKS, ROPE_ALPHA, is_bounded, short
from search.significance.records import Comparison, Interval, Verdict

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LABEL_CHARS = 58
ROW_PIXELS = 58
Layout = dict[str, Any]
"""Part of a plotly layout."""
MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


def new_figure(height: float, *, x: Layout, y: Layout, show_legend: bool = True) -> Figure:
    """Return a plotly figure without a template, as wide as its container.

    Args:
        height: In pixels.
        x: Plotly settings of the horizontal axis.
        y: Plotly settings of the vertical axis.
        show_legend: Whether to show the legend.

    Returns:
        An empty figure.
    """
    from plotly.graph_objects import Figure
    from plotly.graph_objs.layout import Template

    layout: Layout = {
        "template": Template(),
        "xaxis": x,
        "yaxis": y,
        "showlegend": show_legend,
        "height": height,
        "autosize": True,
        "margin": MARGIN,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left"},
        # Above the plot: below, it would overlap the axis labels.
        "legend": {"orientation": "h", "xanchor": "left", "x": 0, "yanchor": "bottom", "y": 1.02},
    }
    return Figure(layout=layout)


def axis(title: str) -> Layout:
    """Return the settings of an axis with a grid and without a zero line."""
    return {"title": {"text": title}, "gridcolor": "#DDDDDD", "zeroline": False, "automargin": True}


def count_axis(title: str, highest: int) -> Layout:
    """Return the settings of an axis of integers up to a maximum."""
    return {**axis(title), **({"dtick": 1} if highest <= 12 else {"tickformat": "d"})}


def names_axis(labels: Sequence[str]) -> Layout:
    """Return the settings of an axis of names at 0, 1, ..., the first on top."""
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": [html.escape(label) for label in labels],
        "autorange": "reversed",
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
    }


def hover_of(comparison: Comparison) -> str:
    """Return all numbers of a comparison as a hover text."""
    lines = [f"<b>{html.escape(f'{comparison.a} minus {comparison.b}')}</b>"]
    if name := group_name(comparison):
        lines.append(html.escape(name))
    lines += [f"{html.escape(what)}: {html.escape(value)}" for what, value in numbers_of(comparison)]
    if comparison.reason:
        lines.append(html.escape(short(comparison.reason, 90)))
    return "<br>".join(lines)


def forest_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Return the forest plot; labels stand above their intervals, so that it is readable on a narrow screen.

    Args:
        comparisons: At least one; those of one data set and family must be adjacent.

    Returns:
        A figure in percentage points.
    """
    groups = [(name, list(members)) for name, members in groupby(comparisons, group_name)]
    headed = len(groups) > 1
    rows: list[tuple[float, Comparison]] = []
    texts: list[tuple[float, str]] = []
    row = 0.0
    for name, members in groups:
        if headed:
            texts.append((row + 0.1, f"<b>{html.escape(short(name, LABEL_CHARS))}</b>"))
            row += 0.6
        for comparison in members:
            label = short(f"{comparison.a} minus {comparison.b}", LABEL_CHARS)
            texts.append((row - 0.12, html.escape(label)))
            rows.append((row + 0.18, comparison))
            row += 1
    low, high = value_range(comparisons)
    figure = new_figure(
        height=140 + ROW_PIXELS * row,
        x={**axis("difference (percentage points)"), "range": [low, high]},
        y={"visible": False, "range": [row - 0.35, -0.5], "fixedrange": True},
    )
    rope = 100 * comparisons[0].rope
    figure.add_vrect(x0=-rope, x1=rope, fillcolor=AMBER, opacity=ROPE_ALPHA, line_width=0, layer="below")
    figure.add_vline(x=0, line_width=1.2, line_color=GREY)
    for height, text in texts:
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=height, yanchor="bottom", text=text, showarrow=False, align="left"
        )
    for verdict in LOOKS:
        own = [(height, item) for height, item in rows if item.verdict is verdict]
        if own:
            _add_verdict(figure, verdict, own, (low, high))
    return figure


def _add_verdict(
    figure: Figure, verdict: Verdict, rows: Sequence[tuple[float, Comparison]], edges: tuple[float, float]
) -> None:
    look = LOOKS[verdict]
    for kind, width in (("simultaneous_interval", 1.5), ("interval", 4)):
        xs: list[float | None] = []
        ys: list[float | None] = []
        for height, item in rows:
            interval: Interval | None = getattr(item, kind)
            if interval is not None:
                ends = (100 * interval.low, 100 * interval.high) if is_bounded(interval) else edges
                xs += [*ends, None]
                ys += [height, height, None]
        style = {"color": look.colour, "width": width}
        if xs:
            figure.add_scatter(x=xs, y=ys, mode="lines", line=style, hoverinfo="skip", showlegend=False)
    marker = {"symbol": look.symbol, "color": look.colour, "size": 15, "line": {"width": 1.5, "color": "white"}}
    if verdict is Verdict.REFUSED:
        marker["line"] = {"width": 2.5, "color": look.colour}
    seen = [(height, item) for height, item in rows if item.estimate is not None]
    figure.add_scatter(
        x=[100 * (item.estimate or 0.0) for _, item in seen],
        y=[height for height, _ in seen],
        mode="markers",
        marker=marker,
        name=verdict.value,
        hovertext=[hover_of(item) for _, item in seen],
        hoverinfo="text",
    )


def slopes_figure(comparison: Comparison) -> Figure:
    """Return paired slopes: one line per block, with the means on top.

    Args:
        comparison: A comparison with at least one common block.

    Returns:
        A figure in percent.
    """
    names = [html.escape(short(name, 24)) for name in (comparison.a, comparison.b)]
    figure = new_figure(
        height=420,
        x={
            "tickvals": [0, 1],
            "ticktext": names,
            "range": [-0.25, 1.25],
            "fixedrange": True,
            "zeroline": False,
        },
        y=axis(score_label(comparison)),
    )
    figure.update_layout(margin={**MARGIN, "b": 36})
    signs = signs_of(comparison)
    told: set[int] = set()
    for block, sign, a, b in zip(comparison.blocks, signs, comparison.scores_a, comparison.scores_b, strict=True):
        look, _, dash, words = SIGNS[sign]
        figure.add_scatter(
            x=[0, 1],
            y=[100 * a, 100 * b],
            mode="lines+markers",
            line={"color": look.colour, "dash": dash, "width": 1.3},
            marker={"symbol": look.symbol, "size": 7},
            opacity=0.8,
            name=f"{words}: {signs.count(sign)} of {len(signs)}",
            legendgroup=str(sign),
            showlegend=sign not in told,
            hovertext=f"{html.escape(block)}: {100 * a:.2f} % and {100 * b:.2f} %, {100 * (a - b):+.2f} pp",
            hoverinfo="text",
        )
        told.add(sign)
    if comparison.mean_a is not None and comparison.mean_b is not None:
        figure.add_scatter(
            x=[0, 1],
            y=[100 * comparison.mean_a, 100 * comparison.mean_b],
            mode="lines+markers",
            line={"color": "#444444", "width": 4},
            marker={"symbol": "diamond", "size": 11, "line": {"color": "white", "width": 1}},
            name="mean",
            hovertext=hover_of(comparison),
            hoverinfo="text",
        )
    return figure


def superiority_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Return the matrix of P(A > B); a dash marks a pair that was not compared.

    Args:
        comparisons: At least one, of one data set.

    Returns:
        A figure; each cell holds the share and its interval.
    """
    names, cells = cells_of(comparisons)
    count = len(names)
    names_on_axis = names_axis([short(name, 24) for name in names])
    figure = new_figure(
        height=150 + min(max(54, 420 / count), 90) * count,
        x={**names_on_axis, "title": {"text": "B"}, "side": "top", "autorange": True},
        y={**names_on_axis, "title": {"text": "A"}},
    )
    figure.add_heatmap(
        z=[[cell.share for cell in line] for line in cells],
        zmin=0,
        zmax=1,
        colorscale=[[position / (len(DIVERGING) - 1), colour] for position, colour in enumerate(DIVERGING)],
        xgap=3,
        ygap=3,
        hovertext=[[_cell_hover(a, b, cells[i][j]) for j, b in enumerate(names)] for i, a in enumerate(names)],
        hoverinfo="text",
        colorbar={"title": {"text": "P(A > B)", "side": "right"}, "thickness": 12, "len": 0.8},
    )
    for i, line in enumerate(cells):
        for j, cell in enumerate(line):
            if cell.share is not None:
                ends = (
                    f"<br><span style='font-size:10px'>{share_text(cell.low)}-{share_text(cell.high)}</span>"
                    if cell.low is not None and cell.high is not None
                    else ""
                )
                text, colour = f"{share_text(cell.share)}{ends}", ink_on(cell.share)
            else:
                text, colour = "" if i == j else "refused" if cell.is_refused else "-", GREY
            figure.add_annotation(x=j, y=i, text=text, showarrow=False, font={"color": colour}, name="cell")
    return figure


def _cell_hover(a: str, b: str, cell: Cell) -> str:
    if a == b:
        return ""
    pair = f"{html.escape(a)}<br>above {html.escape(b)}"
    if cell.share is None:
        return f"{pair}: {'refused' if cell.is_refused else 'not compared'}"
    ends = "" if cell.low is None or cell.high is None else f" ({cell.low:.2f} to {cell.high:.2f})"
    return f"{pair}: {cell.share:.2f}{ends} of {cell.num_blocks} blocks"
