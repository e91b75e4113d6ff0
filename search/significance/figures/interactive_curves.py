"""Plotly figures of trials, power analyses and classes for HTML pages, with the full numbers as hover texts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.significance.by_class import ClassDifference
from search.significance.figures.interactive import axis, count_axis, names_axis, new_figure
from search.significance.figures.numbers import interval_text
from search.significance.figures.per_class import chosen
from search.significance.figures.planning_curve import PlanningLine, y_range
from search.significance.figures.theme import AMBER, BLUE, GREY, ROPE_ALPHA, STROKES, VERMILION, short

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def best_of_figure(
    expected: NDArray[Any],
    unbiased: NDArray[Any] | None = None,
    *,
    band: tuple[NDArray[Any], NDArray[Any]] | None = None,
    band_label: str = "",
) -> Figure:
    """Return the curve of the expected best validation accuracy of k trials, as `best_of_plot` draws it.

    Args:
        expected: Expected best of k trials drawn with replacement, fractions, (K,).
        unbiased: The same for trials drawn without replacement, (K,).
        band: Lower and upper edge of a band, (K,) each.
        band_label: Label of the band.

    Returns:
        A figure in percent.
    """
    budgets = np.arange(1, len(expected) + 1)
    figure = new_figure(400, x=count_axis("number of trials", len(expected)), y=axis("validation accuracy (%)"))
    if band is not None:
        around = np.concatenate([100 * band[0], 100 * band[1][::-1]])
        at = np.concatenate([budgets, budgets[::-1]])
        fill = f"rgba(230,159,0,{ROPE_ALPHA})"
        figure.add_scatter(
            x=at.tolist(),
            y=around.tolist(),
            fill="toself",
            fillcolor=fill,
            line_width=0,
            mode="lines",
            name=band_label,
            hoverinfo="skip",
        )
    curves = [(expected, "with replacement (Dodge 2019)"), (unbiased, "without, unbiased (Tang 2020)")]
    for (curve, name), stroke in zip(curves, STROKES, strict=False):
        if curve is not None:
            figure.add_scatter(
                x=budgets[: len(curve)].tolist(),
                y=(100 * curve).tolist(),
                mode="lines+markers" if len(curve) <= 40 else "lines",
                line={"color": stroke.colour, "dash": stroke.dash},
                marker={"symbol": stroke.symbol, "size": 6},
                name=name,
                hovertemplate="best of %{x}: %{y:.2f} %<extra></extra>",
            )
    return figure


def planning_figure(lines: Sequence[PlanningLine], *, rope: float) -> Figure:
    """Return the smallest detectable difference against the number of repeats, as `planning_plot` draws it.

    Args:
        lines: At least one.
        rope: Half-width of practical equivalence, fraction.

    Returns:
        A figure in percentage points, both axes logarithmic.
    """
    low, high = y_range(lines, rope)
    ticks = [value for value in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= value <= high]
    counts = [value for value in (2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000) if value <= lines[0].repeats[-1]]
    figure = new_figure(
        height=420,
        x={
            **axis("number of repeats"),
            "type": "log",
            "tickvals": counts,
            "ticktext": [str(value) for value in counts],
        },
        y={
            **axis("detectable difference (pp)"),
            "type": "log",
            "range": np.log10([low, high]).tolist(),
            "tickvals": ticks,
            "ticktext": [f"{value:g}" for value in ticks],
        },
    )
    if rope > 0:
        figure.add_hrect(y0=low, y1=100 * rope, fillcolor=AMBER, opacity=ROPE_ALPHA, line_width=0, layer="below")
    for position, line in enumerate(lines):
        stroke, group = STROKES[position % len(STROKES)], str(position)
        name = html.escape(short(line.label, 60))
        figure.add_scatter(
            x=list(line.repeats),
            y=[100 * value for value in line.detectable],
            mode="lines",
            line={"color": stroke.colour, "dash": stroke.dash, "width": 2.5},
            name=name,
            legendgroup=group,
            hovertemplate="%{x} repeats: %{y:.2f} pp<extra>" + name + "</extra>",
        )
        if line.num_now is not None and line.detectable_now is not None:
            figure.add_scatter(
                x=[line.num_now],
                y=[100 * line.detectable_now],
                mode="markers",
                marker={"symbol": stroke.symbol, "color": stroke.colour, "size": 13},
                name=name,
                legendgroup=group,
                showlegend=False,
                hovertemplate="now, %{x} repeats: %{y:.2f} pp<extra>" + name + "</extra>",
            )
        if line.floor:
            figure.add_scatter(
                x=[line.repeats[0], line.repeats[-1]],
                y=[100 * line.floor] * 2,
                mode="lines+markers",
                line={"color": stroke.colour, "dash": "dot", "width": 1},
                marker={"symbol": f"{stroke.symbol}-open", "size": 8, "opacity": [0, 1]},
                name=name,
                legendgroup=group,
                showlegend=False,
                hovertemplate="floor, with any number of repeats: %{y:.2f} pp<extra>" + name + "</extra>",
            )
    return figure


def per_class_figure(classes: Sequence[ClassDifference], *, overall: float | None = None) -> Figure:
    """Return the difference in accuracy class by class, the largest gain on top.

    Args:
        classes: At least one.
        overall: Difference over all images, fraction; a dashed line.

    Returns:
        A figure in percentage points.
    """
    shown, _ = chosen(classes)
    figure = new_figure(
        height=130 + 26 * len(shown),
        x=axis("difference (percentage points)"),
        y=names_axis([f"{short(item.name, 22)} ({item.num_images})" for item in shown]),
        show_legend=False,
    )
    figure.add_vline(x=0, line_width=1.2, line_color=GREY)
    if overall is not None:
        figure.add_vline(x=100 * overall, line_width=1.2, line_color=GREY, line_dash="dash")
    for sign, colour, symbol in (
        (1, BLUE, "triangle-up"),
        (-1, VERMILION, "triangle-down"),
        (0, GREY, "circle"),
    ):
        own = [(row, item) for row, item in enumerate(shown) if np.sign(item.estimate) == sign]
        for kind, width in (("simultaneous_interval", 1.2), ("interval", 4)):
            xs: list[float | None] = []
            ys: list[float | None] = []
            for row, item in own:
                interval = getattr(item, kind)
                if interval is not None:
                    xs += [100 * interval.low, 100 * interval.high, None]
                    ys += [row, row, None]
            if xs:
                style = {"color": colour, "width": width}
                figure.add_scatter(x=xs, y=ys, mode="lines", line=style, hoverinfo="skip")
        if own:
            figure.add_scatter(
                x=[100 * item.estimate for _, item in own],
                y=[row for row, _ in own],
                mode="markers",
                marker={"symbol": symbol, "color": colour, "size": 10, "line": {"color": "white", "width": 1}},
                hovertext=[_class_hover(item) for _, item in own],
                hoverinfo="text",
            )
    return figure


def _class_hover(item: ClassDifference) -> str:
    lines = [
        f"<b>{html.escape(item.name)}</b>, {item.num_images} images",
        f"{100 * item.accuracy_a:.1f} % and {100 * item.accuracy_b:.1f} %: {100 * item.estimate:+.2f} pp",
    ]
    if item.interval is not None:
        lines.append(f"{100 * item.interval.level:g} % interval {interval_text(item.interval)}")
    return "<br>".join(lines)
