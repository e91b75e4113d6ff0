"""Pictures of what mattered in a sweep: importances, slices, ranks over two parameters, parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.significance.figures.superiority import diverging
from search.significance.figures.theme import BLUE, GREY, RULE, new_figure, plain_axes, short
from search.significance.importance.factor import Factor, Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

NUM_BARS, NUM_SLICES = 20, 6
"""Largest number of parameters whose importances, and whose slices, are drawn."""
NUM_AXES = 8
"""Largest number of parameters in parallel coordinates."""
MAX_DRAWN = 500
"""Largest number of trials that are drawn one by one, a random sample of more."""
NUM_SPREAD = 8
"""Largest number of values of a parameter that are spread in parallel coordinates."""
NUM_PIXELS = 40
"""Resolution of an ordered parameter in the smoothed picture."""
WIDTH = 0.1
"""Width of the smoothing kernel, on a parameter's scale from 0 to 1."""
MIN_WEIGHT = 1.0
"""Sum of kernel weights below which no trial is near, and the smoothed picture is blank."""
NAME_CHARS, CHOICE_CHARS = 24, 11


def importance_plot(columns: Sequence[tuple[str, Sequence[Share], str]], parameters: Sequence[str]) -> Figure:
    """Draw the share of every parameter by several measures, with intervals.

    Args:
        columns: Title of each measure, its shares, and what to write instead of them if there are none.
        parameters: The rows, from the top; the first NUM_BARS are drawn.

    Returns:
        A figure; hollow marks are shares that are not beyond chance.
    """
    parameters = parameters[:NUM_BARS]
    names = [short(name, NAME_CHARS) for name in parameters]
    left = 0.3 + 0.085 * max(map(len, names), default=0)
    figure = _fixed(
        2.6 * len(columns) + left, 0.32 * len(parameters) + 0.95, left=left, right=0.15, bottom=0.55, top=0.35
    )
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    places = {name: row for row, name in enumerate(parameters)}
    for axes, (title, shares, few) in zip(panels, columns, strict=True):
        for share in (share for share in shares if share.parameter in places):
            row, at = places[share.parameter], 100 * share.share
            axes.plot([100 * share.low, 100 * share.high], [row, row], color=GREY, linewidth=1.4, zorder=1)
            face = BLUE if share.is_beyond_chance else "white"
            axes.plot([at], [row], "o", color=BLUE, markerfacecolor=face, markersize=7, zorder=2)
        for name in set(parameters) - {share.parameter for share in shares} if shares else ():
            axes.text(0, places[name], "conditional", va="center", color=GREY, fontsize=8)
        if not shares:
            axes.text(50, (len(parameters) - 1) / 2, few, ha="center", va="center", color=GREY, fontsize=9, wrap=True)
        axes.set_title(title, fontsize=10)
        axes.set_xlim(-4, 104)
        axes.set_xlabel("share (%)")
        plain_axes(axes, grid="x")
    panels[0].set_yticks(range(len(parameters)), names)
    panels[0].set_ylim(len(parameters) - 0.5, -0.5)
    return figure


def slices_plot(
    factors: Sequence[Factor], scores: Array, is_completed: NDArray[np.bool_], is_stopped: NDArray[np.bool_]
) -> Figure:
    """Draw the last accuracy of each trial against each parameter.

    Args:
        factors: The parameters, the most important first; the first NUM_SLICES are drawn.
        scores: Last validation accuracies, (N,).
        is_completed: Whether a trial reached its last epoch, (N,).
        is_stopped: Whether a trial was stopped early, (N,); trials of neither kind are left out.

    Returns:
        A figure in percent; lines are the means of the completed trials of each choice.
    """
    from matplotlib.lines import Line2D

    shown = factors[:NUM_SLICES]
    num_columns = min(len(shown), 3)
    num_rows = -(-len(shown) // num_columns)
    figure = _fixed(
        2.9 * num_columns + 0.7,
        2.3 * num_rows + 0.4,
        left=0.65,
        right=0.1,
        bottom=0.85,
        top=0.1,
        wspace=0.08,
        hspace=0.42,
    )
    panels = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    both = ((is_stopped, GREY, "x", "stopped early"), (is_completed, BLUE, "o", "completed"))
    kinds = [kind for kind in both if kind[0].any()]
    for index, axes in enumerate(panels.flat):
        if index >= len(shown):
            axes.set_visible(False)
            continue
        factor = shown[index]
        places = _jittered(factor, seed=0)
        for own, colour, marker, _ in kinds:
            drawn = own & _sample(len(own))
            axes.plot(places[drawn], 100 * scores[drawn], marker, color=colour, markersize=4, alpha=0.65)
        if not factor.is_ordered:
            _draw_means(axes, factor, scores, is_completed)
        _label_scale(axes, factor, axis="x")
        axes.set_xlabel(short(factor.name, NAME_CHARS), labelpad=1)
        if index % num_columns == 0:
            axes.set_ylabel("val. accuracy (%)")
        plain_axes(axes, grid="y")
    marks = [Line2D([], [], linestyle="", marker=marker, color=colour) for _, colour, marker, _ in kinds]
    figure.legend(marks, [label for *_, label in kinds], loc="lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def pair_plot(across: Factor, up: Factor, rank: Array) -> Figure:
    """Draw the rank of the trials over two parameters: smoothed, and each trial.

    Args:
        across: Parameter of the horizontal axis.
        up: Parameter of the vertical axis.
        rank: Rank of each trial, from 0 to 1 for the best, (N,); trials without one of the two are left out.

    Returns:
        A figure of two panels with the same axes; the smoothed one is blank where no trial is near.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    own = across.is_active & up.is_active
    room = 0.75 + 0.08 * max(map(len, _ticks(up)[1]))
    figure = _fixed(8.0 + room, 3.8, left=room, right=1.1, bottom=0.85, top=0.35, wspace=0.06)
    left, right = figure.subplots(1, 2, sharey=True)
    grid_x, near_x = _nearness(across, own)
    grid_y, near_y = _nearness(up, own)
    weight = near_y @ near_x.T
    smooth = np.full(weight.shape, np.nan)
    np.divide((near_y * rank[own]) @ near_x.T, weight, out=smooth, where=weight >= MIN_WEIGHT)
    colours = diverging()
    left.pcolormesh(grid_x, grid_y, np.ma.masked_invalid(smooth), cmap=colours, vmin=0, vmax=1)
    # In random order, so that neither good nor bad trials hide the others.
    trials = np.random.default_rng(2).permutation(np.flatnonzero(own & _sample(len(own))))
    places = _jittered(across, seed=0)[trials], _jittered(up, seed=1)[trials]
    right.scatter(*places, c=rank[trials], cmap=colours, vmin=0, vmax=1, s=26, edgecolors=GREY, linewidths=0.5)
    for axes, title in ((left, "smoothed (blank: no trial near)"), (right, "trials")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(short(across.name, NAME_CHARS))
        _label_scale(axes, across, axis="x")
        plain_axes(axes, grid="both")
    left.set_ylabel(short(up.name, NAME_CHARS))
    _label_scale(left, up, axis="y")
    place = figure.add_axes((1 - 0.85 / figure.get_figwidth(), 0.25, 0.15 / figure.get_figwidth(), 0.6))
    bar = figure.colorbar(ScalarMappable(norm=Normalize(0, 1), cmap=colours), cax=place, label="rank in the sweep")
    bar.set_ticks([0, 1], labels=["worst", "best"])
    return figure


def parallel_plot(factors: Sequence[Factor], rank: Array, *, best: float) -> Figure:
    """Draw every trial as a line through its parameters, the best ones on top.

    Args:
        factors: The parameters, the most important first; the first NUM_AXES are drawn.
        rank: Rank of each trial, from 0 to 1 for the best, (N,).
        best: Lowest rank of the trials that are highlighted.

    Returns:
        A figure; a parameter that a trial does not have is crossed below its scale.
    """
    from matplotlib.collections import LineCollection

    shown = factors[:NUM_AXES]
    figure = _fixed(1.15 * (len(shown) + 1) + 0.9, 4.0, left=0.25, right=0.1, bottom=0.35, top=0.05)
    axes = figure.subplots()
    order = np.argsort(rank, kind="stable")
    spread = np.linspace(-0.5, 0.5, len(rank))[np.argsort(order)]
    heights = [np.where(factor.is_active, _unit(factor, spread), -0.14 + 0.07 * spread) for factor in shown]
    heights.append(0.04 + 0.92 * rank)
    across = np.broadcast_to(np.arange(len(heights)), (len(rank), len(heights)))
    lines = np.stack([across, np.array(heights).T], axis=2)
    is_best, is_drawn = rank >= best, _sample(len(rank))
    for own, colour, width, alpha in ((~is_best, GREY, 0.7, 0.35), (is_best, BLUE, 1.3, 0.75)):
        axes.add_collection(LineCollection(list(lines[own & is_drawn]), colors=colour, linewidths=width, alpha=alpha))
    for place, factor in enumerate(shown):
        axes.axvline(place, color=RULE, linewidth=1, zorder=0)
        ticks, labels = _ticks(factor)
        for tick, label in zip(ticks, labels, strict=True):
            axes.text(
                place + 0.04,
                0.04 + 0.92 * tick / (max(len(factor.choices) - 1, 1)),
                label,
                fontsize=8,
                va="center",
                bbox=BOX,
            )
        if not factor.is_active.all():
            axes.text(place + 0.04, -0.14, "absent", fontsize=8, va="center", color=GREY, bbox=BOX)
    axes.axvline(len(shown), color=RULE, linewidth=1, zorder=0)
    for label, at in (("best", 0.96), ("worst", 0.04 + 0.92 * float(rank.min()))):
        axes.text(len(shown) + 0.04, at, label, fontsize=8, va="center")
    axes.set_xlim(-0.1, len(shown) + 0.45)
    axes.set_ylim(-0.22, 1.06)
    axes.set_xticks(range(len(shown) + 1), [*(short(factor.name, 13) for factor in shown), "rank"], fontsize=9)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def _fixed(
    width: float,
    height: float,
    *,
    left: float,
    right: float,
    bottom: float,
    top: float,
    wspace: float = 0.1,
    hspace: float = 0.1,
) -> Figure:
    """Return a figure with fixed margins in inches: a layout engine would draw it twice."""
    figure = new_figure(width, height)
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=wspace,
        hspace=hspace,
    )
    return figure


def _sample(num_trials: int) -> NDArray[np.bool_]:
    """Return which trials are drawn, (N,)."""
    is_drawn = np.zeros(num_trials, dtype=np.bool_)
    is_drawn[np.random.default_rng(3).permutation(num_trials)[:MAX_DRAWN]] = True
    return is_drawn


def _jittered(factor: Factor, *, seed: int) -> Array:
    """Return where the trials are drawn: choices side by side, so that equal ones do not hide each other."""
    if factor.is_ordered:
        return factor.positions
    spread = np.random.default_rng(seed).uniform(-0.22, 0.22, len(factor.positions))
    places: Array = factor.positions + spread
    return places


def _unit(factor: Factor, spread: Array) -> Array:
    """Return heights from 0 to 1; few values are spread by rank, so that the lines of equal ones can be told apart."""
    places: Array = 0.04 + 0.92 * factor.positions / max(len(factor.choices) - 1, 1)
    return places + 0.07 * spread if factor.num_values is not None and factor.num_values <= NUM_SPREAD else places


def _draw_means(axes: Axes, factor: Factor, scores: Array, own: NDArray[np.bool_]) -> None:
    for index in range(len(factor.choices)):
        values = scores[own & (factor.positions == index)]
        values = values[~np.isnan(values)]
        if len(values):
            axes.plot([index - 0.32, index + 0.32], [100 * values.mean()] * 2, color="black", linewidth=1.6)


def _nearness(factor: Factor, own: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the edges of the cells along a parameter, and the kernel weight of each trial in each cell, (cells, N)."""
    positions = factor.positions[own]
    if not factor.is_ordered:
        count = len(factor.choices)
        return np.linspace(-0.5, count - 0.5, count + 1), (positions == np.arange(count)[:, None]).astype(np.float64)
    edges: Array = np.linspace(0, 1, NUM_PIXELS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    weights: Array = np.exp(-0.5 * ((positions - centres[:, None]) / WIDTH) ** 2)
    return edges, weights


def _label_scale(axes: Axes, factor: Factor, *, axis: str) -> None:
    ticks, labels = _ticks(factor)
    margin = 0.5 if not factor.is_ordered else 0.05
    ends = (-margin, (len(factor.choices) - 1 if factor.choices else 1) + margin)
    if axis == "x":
        many = sum(len(label) + 2 for label in labels) > 40
        axes.set_xticks(ticks, labels, fontsize=8, rotation=30 if many else 0, ha="right" if many else "center")
        axes.set_xlim(*ends)
    else:
        axes.set_yticks(ticks, labels, fontsize=8)
        axes.set_ylim(*ends)


def _ticks(factor: Factor) -> tuple[list[float], list[str]]:
    """Return places and labels of a parameter's ticks: all choices, or five values of a number's scale."""
    if not factor.is_ordered:
        return [float(index) for index in range(len(factor.choices))], [
            short(choice, CHOICE_CHARS) for choice in factor.choices
        ]
    low, high = factor.ends
    if factor.is_log:
        exponents = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
        values = 10.0**exponents if 2 <= len(exponents) <= 7 else np.geomspace(low, high, 4)
        places = np.log(values / low) / np.log(high / low)
    else:
        count = 5 if factor.num_values is None else min(factor.num_values, 5)
        whole = factor.num_values is not None and (factor.num_values - 1) % (count - 1) != 0
        places = np.array([0.0, 1.0]) if whole else np.linspace(0, 1, count)
        values = low + places * (high - low)
    return [float(place) for place in places], [f"{value:.3g}" for value in values]
