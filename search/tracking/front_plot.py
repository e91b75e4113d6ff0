"""Accuracy against costs: every trial of a sweep, and its Pareto front. Imports no MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search.console.measures import title_of
from search.journal.fronts import Front
from search.journal.measures import MEASURES, value_of
from search.records import Completed, Failed, Infeasible, Stopped, TrialRecord
from search.significance.figures.theme import BLUE, GREY, VERMILION, new_figure, plain_axes
from search.text.counted import num_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.6, 4.2
"""Size of a panel in inches."""


def costs_of(front: Front) -> list[str]:
    """Return the objectives beside the validation accuracy, one panel each."""
    return [name for name in front.objectives if name != "val_accuracy"]


def front_plot(trials: Sequence[TrialRecord], front: Front, limits: Mapping[str, float]) -> Figure:
    """Plot validation accuracy against each other objective with matplotlib.

    Args:
        trials: Trials of the sweep; those that run or lack a value are not shown.
        front: Its Pareto front.
        limits: Largest allowed values, drawn as lines.

    Returns:
        A figure with one panel per objective; the line connects the front.
    """
    costs = costs_of(front)
    figure = new_figure(WIDTH, HEIGHT * len(costs))
    for axes, cost in zip(figure.subplots(len(costs), 1, squeeze=False)[:, 0], costs, strict=True):
        for word, kind, colour, marker in KINDS:
            points = points_of([record for record in trials if isinstance(record.outcome, kind)], cost)
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=6, label=word)
        line = sorted(points_of(front.trials, cost))
        axes.plot(*zip(*line, strict=True), "-o", color=BLUE, markersize=7, linewidth=1.6, label="Pareto front")
        if cost in limits:
            axes.axvline(limits[cost], color=VERMILION, linestyle="--", linewidth=1.2, label="limit")
        if MEASURES[cost].kind == "count" and min(x for x, _ in line) > 0:
            axes.set_xscale("log")
        axes.set_xlabel(title_of(cost))
        axes.set_ylabel(f"validation accuracy (%), {num_runs(len(front.trials[0].blocks))} each")
        plain_axes(axes, grid="both")
        axes.legend(frameon=False, fontsize=9, loc="best")
    return figure


KINDS = (
    ("completed", Completed, GREY, "o"),
    ("stopped early", Stopped, GREY, "x"),
    ("failed", Failed, GREY, "+"),
    ("infeasible", Infeasible, VERMILION, "x"),
)
"""How trials that have ended are drawn: name, outcome, colour and marker."""


def points_of(trials: Sequence[TrialRecord], cost: str) -> list[tuple[float, float]]:
    """Return (cost, accuracy in per cent) of the trials that have both."""
    pairs = [(value_of(record, cost), record.val_accuracy) for record in trials]
    return [(x, 100 * y) for x, y in pairs if x is not None and y is not None]
