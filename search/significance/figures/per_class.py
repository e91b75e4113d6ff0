"""Dot plot of a difference class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.significance.by_class import ClassDifference
from search.significance.figures.theme import BLUE, GREY, VERMILION, new_figure, plain_axes, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_CLASSES = 40
"""Of more classes, only those with the largest and smallest differences are drawn."""
NAME_CHARS = 24


def per_class_plot(classes: Sequence[ClassDifference], *, a: str, b: str, overall: float | None = None) -> Figure:
    """Draw the difference in accuracy class by class, the largest gain on top.

    The thick bar is the class's own interval, the thin bar the simultaneous one of all classes. Descriptive, since
    these comparisons were not declared.

    Args:
        classes: At least one.
        a: Name of the first configuration.
        b: Name of the second configuration.
        overall: Difference over all images, fraction; a dashed line.

    Returns:
        A figure in percentage points.
    """
    shown, num_left_out = chosen(classes)
    figure = new_figure(7.4, 1.9 + 0.3 * len(shown))
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=0.8)
    if overall is not None:
        axes.axvline(100 * overall, color=GREY, linewidth=1.2, linestyle="--", label="all images")
    for row, item in enumerate(shown):
        colour, marker = (BLUE, "^") if item.estimate > 0 else (VERMILION, "v") if item.estimate < 0 else (GREY, "o")
        for interval, width in ((item.simultaneous_interval, 1.0), (item.interval, 3.2)):
            if interval is not None:
                ends = (100 * interval.low, 100 * interval.high)
                axes.plot(ends, (row, row), color=colour, linewidth=width, solid_capstyle="butt")
        axes.plot(100 * item.estimate, row, marker, color=colour, markersize=7, markeredgecolor="white")
    labels = [f"{short(item.name, NAME_CHARS)} ({item.num_images})" for item in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=9)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(f"{short(a, 34)}\nminus {short(b, 34)} (percentage points)")
    plain_axes(axes, grid="x", hidden=("top", "right", "left"))
    axes.tick_params(axis="y", length=0)
    figure.legend(handles=_legend(classes, overall), loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    if num_left_out:
        axes.axhline(len(shown) / 2 - 0.5, color=GREY, linewidth=0.8, linestyle=(0, (6, 6)))
    figure.suptitle(heading(len(classes), num_left_out), fontsize=10)
    return figure


def chosen(classes: Sequence[ClassDifference]) -> tuple[list[ClassDifference], int]:
    """Sort classes by their difference, and keep both ends of a long list.

    Args:
        classes: In any order.

    Returns:
        The classes to draw, largest difference first, and the number left out in the middle.
    """
    ranked = sorted(classes, key=lambda item: (-item.estimate, item.name))
    if len(ranked) <= MAX_CLASSES:
        return ranked, 0
    half = MAX_CLASSES // 2
    return [*ranked[:half], *ranked[-half:]], len(ranked) - 2 * half


def heading(num_classes: int, num_left_out: int) -> str:
    """Return the heading of a per-class figure."""
    left_out = f", without the {num_left_out} in the middle" if num_left_out else ""
    return f"per class (number of test images): {num_classes} classes at once{left_out}; descriptive"


def _legend(classes: Sequence[ClassDifference], overall: float | None) -> list[object]:
    from matplotlib.lines import Line2D

    first = next((item.interval for item in classes if item.interval is not None), None)
    handles: list[object] = []
    if first is not None:
        level = f"{100 * first.level:g} %"
        handles.append(Line2D([], [], color=GREY, linewidth=3.2, label=f"{level} interval of this class alone"))
        handles.append(Line2D([], [], color=GREY, linewidth=1, label=f"{level} for all {len(classes)} together"))
    if overall is not None:
        handles.append(Line2D([], [], color=GREY, linewidth=1.2, linestyle="--", label="over all images"))
    return handles
