"""Optimisation history of a sweep: validation accuracy of each trial, and the highest so far."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.records import Completed, Stopped, TrialRecord
from search.significance.figures.interactive import axis, count_axis
from search.significance.figures.interactive import new_figure as new_live_figure
from search.significance.figures.theme import BLUE, GREY, new_figure, plain_axes
from search.text.counted import counted, num_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as LiveFigure

KINDS = (
    (Completed, "completed", BLUE, "o", "circle"),
    (Stopped, "stopped early", GREY, "x", "x-thin-open"),
)
"""Outcome class, label, colour, matplotlib marker, plotly marker."""


def highest_so_far(trials: Sequence[TrialRecord]) -> tuple[list[int], list[float]]:
    """Return the running maximum of validation accuracy over the completed trials, in order of trial number.

    Args:
        trials: Trials of a sweep.

    Returns:
        Numbers of the completed trials, and the running maximum as fractions; two lists of equal length.
    """
    numbers: list[int] = []
    heights: list[float] = []
    for record in sorted(trials, key=lambda record: record.number):
        if isinstance(record.outcome, Completed) and record.val_accuracy is not None:
            numbers.append(record.number)
            heights.append(max([record.val_accuracy, *heights[-1:]]))
    return numbers, heights


def so_far_plot(trials: Sequence[TrialRecord]) -> Figure:
    """Plot validation accuracy of every trial and the highest so far with matplotlib.

    Args:
        trials: Trials of a sweep; trials without a validated epoch are not shown.

    Returns:
        A figure; accuracies are in per cent.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(6.6, 4.2)
    axes = figure.subplots()
    for kind, word, colour, marker, _ in KINDS:
        own = _shown(trials, kind)
        if own:
            heights = [100 * (record.val_accuracy or 0.0) for record in own]
            axes.plot([record.number for record in own], heights, marker, color=colour, markersize=6, label=word)
    numbers, heights = highest_so_far(trials)
    axes.step(
        numbers, [100 * height for height in heights], where="post", color=BLUE, linewidth=1.6, label="highest so far"
    )
    axes.set_xlabel("trial")
    runs = num_runs(len(trials[0].blocks)) if trials else "one run"
    axes.set_ylabel(f"validation accuracy (%), {runs} each")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    plain_axes(axes, grid="y")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def so_far_figure(trials: Sequence[TrialRecord]) -> LiveFigure:
    """Plot validation accuracy of every trial and the highest so far with plotly; hovering shows a trial's settings.

    Args:
        trials: Trials of a sweep; trials without a validated epoch are not shown.

    Returns:
        A figure; accuracies are in per cent.
    """
    last = max((record.number for record in trials), default=0)
    figure = new_live_figure(400, x=count_axis("trial", last), y=axis("validation accuracy (%)"))
    numbers, heights = highest_so_far(trials)
    figure.add_scatter(
        x=numbers,
        y=[100 * height for height in heights],
        mode="lines",
        line={"color": BLUE, "shape": "hv", "width": 2},
        name="highest so far",
        hoverinfo="skip",
    )
    for kind, word, colour, _, symbol in KINDS:
        own = _shown(trials, kind)
        marker = {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}}
        figure.add_scatter(
            x=[record.number for record in own],
            y=[100 * (record.val_accuracy or 0.0) for record in own],
            mode="markers",
            marker=marker,
            name=word,
            hovertext=[_hover(record) for record in own],
            hoverinfo="text",
        )
    return figure


def _shown(trials: Sequence[TrialRecord], kind: type[Completed | Stopped]) -> list[TrialRecord]:
    return [record for record in trials if isinstance(record.outcome, kind) and record.val_accuracy is not None]


def _hover(record: TrialRecord) -> str:
    lines = [f"<b>{html.escape(record.label)}</b>", f"{100 * (record.val_accuracy or 0.0):.2f} %"]
    epochs = f"{counted(len(record.curve), 'epoch')}, {record.elapsed_secs:.0f} s"
    point = [f"{name} {value}" for name, value in record.point.items()]
    return "<br>".join([*lines, epochs, *(html.escape(item) for item in point)])
