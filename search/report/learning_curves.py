"""Learning curves of a sweep: validation accuracy of every trial after each epoch, with the nominee highlighted."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.records import Completed, Failed, Stopped, TrialRecord
from search.significance.figures.importance import MAX_DRAWN
from search.significance.figures.interactive import axis, count_axis
from search.significance.figures.interactive import new_figure as new_live_figure
from search.significance.figures.theme import BLUE, GREY, VERMILION, new_figure, plain_axes
from search.text.counted import num_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as LiveFigure

Curve = list[tuple[int, float]]
"""(epoch, validation accuracy in per cent) of the validated epochs."""
KINDS = (
    ("completed", Completed, BLUE),
    ("stopped early", Stopped, GREY),
    ("failed", Failed, VERMILION),
)
"""Label, outcome and colour; the last ones are on top."""


def curve_of(record: TrialRecord) -> Curve:
    """Return the learning curve of a trial; empty before its first validated epoch."""
    return [(item.epoch, round(100 * item.val_accuracy, 2)) for item in record.curve if item.val_accuracy is not None]


def drawn(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials to draw: all with a curve, or evenly spaced ones of more than MAX_DRAWN, in order of number."""
    known = sorted((record for record in trials if curve_of(record)), key=lambda record: record.number)
    return known[:: max(1, math.ceil(len(known) / MAX_DRAWN))]


def curves_plot(trials: Sequence[TrialRecord], nominee: TrialRecord | None) -> Figure:
    """Plot the learning curves with matplotlib.

    Args:
        trials: The trials to draw.
        nominee: Trial that is highlighted; None for none.

    Returns:
        A figure; accuracies are in per cent.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(6.6, 4.2)
    axes = figure.subplots()
    for label, kind, colour in KINDS:
        lines = [curve_of(record) for record in trials if isinstance(record.outcome, kind)]
        if lines:
            axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.8, alpha=0.45, label=label))
            axes.plot(*zip(*(line[-1] for line in lines), strict=True), ".", color=colour, markersize=4)
    if nominee is not None and (line := curve_of(nominee)):
        axes.plot(*zip(*line, strict=True), "-o", color=BLUE, linewidth=2.2, markersize=4, label="nominee")
    axes.margins(0.03)
    axes.autoscale_view()
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"validation accuracy (%), {num_runs(len(trials[0].blocks)) if trials else 'one run'} each")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    plain_axes(axes, grid="y")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def curves_figure(trials: Sequence[TrialRecord], nominee: TrialRecord | None) -> LiveFigure:
    """Plot the learning curves with plotly; hovering shows the trial.

    All curves of a kind are one line with gaps, as hundreds of lines would be slow to draw.

    Args:
        trials: The trials to draw.
        nominee: Trial that is highlighted; None for none.

    Returns:
        A figure; accuracies are in per cent.
    """
    last = max((record.curve[-1].epoch for record in trials), default=1)
    figure = new_live_figure(400, x=count_axis("epoch", last), y=axis("validation accuracy (%)"))
    for label, kind, colour in KINDS:
        own = [record for record in trials if isinstance(record.outcome, kind)]
        if own:
            _add(figure, own, label, colour, width=1, opacity=0.5)
    if nominee is not None and curve_of(nominee):
        _add(figure, [nominee], "nominee", BLUE, width=3, opacity=1.0)
    return figure


def _add(
    figure: LiveFigure, trials: Sequence[TrialRecord], label: str, colour: str, *, width: int, opacity: float
) -> None:
    epochs: list[int | None] = []
    heights: list[float | None] = []
    names: list[str] = []
    for record in trials:
        curve = curve_of(record)
        epochs += [*(epoch for epoch, _ in curve), None]
        heights += [*(height for _, height in curve), None]
        names += [html.escape(record.label)] * len(curve) + [""]
    figure.add_scatter(
        x=epochs,
        y=heights,
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"color": colour, "size": 3 + width},
        opacity=opacity,
        name=label,
        text=names,
        hovertemplate="<b>%{text}</b><br>epoch %{x}: %{y:.2f} %<extra></extra>",
    )
