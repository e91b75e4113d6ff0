"""Accuracy against costs: every trial of a sweep, and its Pareto front."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search.console.measures import show_measure, title_of
from search.journal.fronts import Front
from search.journal.measures import MEASURES, value_of
from search.records import Completed, Infeasible, TrialRecord
from search.significance.figures.interactive import axis
from search.significance.figures.interactive import new_figure as new_live_figure
from search.significance.figures.theme import BLUE, GREY, VERMILION, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as LiveFigure

WIDTH, HEIGHT = 6.6, 4.2
"""Size of a panel in inches."""


def costs_of(front: Front) -> list[str]:
    """Return the objectives beside the validation accuracy, one panel each."""
    return [name for name in front.objectives if name != "val_accuracy"]


def front_plot(trials: Sequence[TrialRecord], front: Front, limits: Mapping[str, float]) -> Figure:
    """Plot validation accuracy against each other objective with matplotlib.

    Args:
        trials: Trials of the sweep; those without a value are not shown.
        front: Its Pareto front.
        limits: Largest allowed values, drawn as lines.

    Returns:
        A figure with one panel per objective; the line connects the front.
    """
    costs = costs_of(front)
    figure = new_figure(WIDTH, HEIGHT * len(costs))
    for axes, cost in zip(figure.subplots(len(costs), 1, squeeze=False)[:, 0], costs, strict=True):
        for word, kind, colour, marker in _KINDS:
            points = _points([record for record in trials if _is(record, kind)], cost)
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=6, label=word)
        line = sorted(_points(front.trials, cost))
        axes.plot(*zip(*line, strict=True), "-o", color=BLUE, markersize=7, linewidth=1.6, label="Pareto front")
        if cost in limits:
            axes.axvline(limits[cost], color=VERMILION, linestyle="--", linewidth=1.2, label="limit")
        if MEASURES[cost].kind == "count" and min(x for x, _ in line) > 0:
            axes.set_xscale("log")
        axes.set_xlabel(title_of(cost))
        axes.set_ylabel("validation accuracy (%), one run each")
        plain_axes(axes, grid="both")
        axes.legend(frameon=False, fontsize=9, loc="best")
    return figure


def front_figure(trials: Sequence[TrialRecord], front: Front, cost: str) -> LiveFigure:
    """Plot validation accuracy against one objective with plotly; hovering shows a trial's settings.

    Args:
        trials: Trials of the sweep; those without a value are not shown.
        front: Its Pareto front.
        cost: The objective on the horizontal axis.
    """
    is_count = MEASURES[cost].kind == "count"
    horizontal = {**axis(title_of(cost)), **({"type": "log"} if is_count else {})}
    figure = new_live_figure(400, x=horizontal, y=axis("validation accuracy (%)"))
    line = sorted(_points(front.trials, cost))
    figure.add_scatter(
        x=[x for x, _ in line],
        y=[y for _, y in line],
        mode="lines",
        line={"color": BLUE, "width": 2},
        name="Pareto front",
        hoverinfo="skip",
    )
    on_front = [record.key for record in front.trials]
    for word, colour, own in (
        ("on the front", BLUE, [record for record in trials if record.key in on_front]),
        ("other trials", GREY, [record for record in trials if record.key not in on_front]),
    ):
        own = [record for record in own if value_of(record, cost) is not None and record.val_accuracy is not None]
        figure.add_scatter(
            x=[value_of(record, cost) for record in own],
            y=[100 * (record.val_accuracy or 0.0) for record in own],
            mode="markers",
            marker={"color": colour, "size": 9},
            name=word,
            hovertext=[_hover(record, front) for record in own],
            hoverinfo="text",
        )
    return figure


_KINDS = (
    ("completed", Completed, GREY, "o"),
    ("stopped early", None, GREY, "x"),
    ("infeasible", Infeasible, VERMILION, "x"),
)


def _is(record: TrialRecord, kind: type[Completed | Infeasible] | None) -> bool:
    if kind is None:
        return record.outcome is not None and not isinstance(record.outcome, Completed | Infeasible)
    return isinstance(record.outcome, kind)


def _points(trials: Sequence[TrialRecord], cost: str) -> list[tuple[float, float]]:
    """Return (cost, accuracy in per cent) of the trials that have both."""
    pairs = [(value_of(record, cost), record.val_accuracy) for record in trials]
    return [(x, 100 * y) for x, y in pairs if x is not None and y is not None]


def _hover(record: TrialRecord, front: Front) -> str:
    lines = [f"<b>{html.escape(record.label)}</b>"]
    lines += [f"{name} {show_measure(name, value_of(record, name))}" for name in front.objectives]
    return "<br>".join(lines)
