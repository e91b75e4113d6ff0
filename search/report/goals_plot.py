"""Interactive figure of accuracy against costs: every trial of a sweep, and its Pareto front."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.console.measures import show_measure, title_of
from search.journal.fronts import Front
from search.journal.measures import MEASURES, value_of
from search.records import TrialRecord
from search.significance.figures.interactive import axis
from search.significance.figures.interactive import new_figure as new_live_figure
from search.significance.figures.theme import BLUE
from search.tracking.front_plot import KINDS, points_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as LiveFigure

SYMBOLS = {"o": "circle", "x": "x", "+": "cross"}
"""Marker of matplotlib -> symbol of plotly."""


def front_figure(trials: Sequence[TrialRecord], front: Front, cost: str) -> LiveFigure:
    """Plot validation accuracy against one objective with plotly; hovering shows a trial's settings.

    Args:
        trials: Trials of the sweep; those that run or lack a value are not shown.
        front: Its Pareto front.
        cost: The objective on the horizontal axis.
    """
    is_count = MEASURES[cost].kind == "count"
    horizontal = {**axis(title_of(cost)), **({"type": "log"} if is_count else {})}
    figure = new_live_figure(400, x=horizontal, y=axis("validation accuracy (%)"))
    line = sorted(points_of(front.trials, cost))
    figure.add_scatter(
        x=[x for x, _ in line],
        y=[y for _, y in line],
        mode="lines",
        line={"color": BLUE, "width": 2},
        name="Pareto front",
        hoverinfo="skip",
    )
    on_front = [record.key for record in front.trials]
    others = [record for record in trials if record.key not in on_front]
    for word, colour, symbol, own in (
        ("on the front", BLUE, "circle", [record for record in trials if record.key in on_front]),
        *(
            (word, colour, SYMBOLS[marker], [record for record in others if isinstance(record.outcome, kind)])
            for word, kind, colour, marker in KINDS
        ),
    ):
        own = [record for record in own if value_of(record, cost) is not None and record.val_accuracy is not None]
        if not own:
            continue
        figure.add_scatter(
            x=[value_of(record, cost) for record in own],
            y=[100 * (record.val_accuracy or 0.0) for record in own],
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol},
            name=word,
            hovertext=[_hover(record, front) for record in own],
            hoverinfo="text",
        )
    return figure


def _hover(record: TrialRecord, front: Front) -> str:
    lines = [f"<b>{html.escape(record.label)}</b>"]
    lines += [f"{name} {show_measure(name, value_of(record, name))}" for name in front.objectives]
    return "<br>".join(lines)
