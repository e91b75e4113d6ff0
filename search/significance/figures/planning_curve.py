"""Plot the smallest detectable difference, and its floor, against the number of repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.significance.figures.theme import AMBER, ROPE_ALPHA, STROKES, new_figure, plain_axes, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME_CHARS = 60


@dataclass(frozen=True, kw_only=True)
class PlanningLine:
    """Smallest detectable difference of one comparison for other numbers of repeats."""

    label: str
    repeats: tuple[int, ...]
    detectable: tuple[float, ...]
    """Smallest detectable difference at the required power, fraction; one per number of repeats."""
    floor: float | None = None
    """Smallest detectable difference with infinitely many repeats, fraction; None or 0 if there is no floor."""
    num_now: int | None = None
    """Existing number of repeats."""
    detectable_now: float | None = None
    """Smallest detectable difference with the existing repeats, fraction."""


def planning_plot(lines: Sequence[PlanningLine], *, rope: float) -> Figure:
    """Draw the smallest detectable difference against the number of repeats.

    Args:
        lines: At least one.
        rope: Half-width of practical equivalence, fraction: smaller differences do not matter.

    Returns:
        A figure in percentage points, both axes logarithmic; floors are horizontal lines.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = -(-(len(lines) + 2) // 2)
    figure = new_figure(7.4, 4.4 + 0.2 * rows)
    axes = figure.subplots()
    handles: list[object] = []
    for position, line in enumerate(lines):
        stroke = STROKES[position % len(STROKES)]
        heights = [100 * value for value in line.detectable]
        axes.plot(line.repeats, heights, stroke.line, color=stroke.colour, linewidth=1.8)
        if line.floor:
            height = 100 * line.floor
            axes.axhline(height, color=stroke.colour, linewidth=0.9, linestyle=(0, (1, 3)))
            edge = {"transform": axes.get_yaxis_transform(), "clip_on": False, "markerfacecolor": "white"}
            axes.plot(1, height, stroke.marker, color=stroke.colour, markersize=6, **edge)  # type: ignore[arg-type]
        if line.num_now is not None and line.detectable_now is not None:
            axes.plot(line.num_now, 100 * line.detectable_now, stroke.marker, color=stroke.colour, markersize=8)
        handles.append(
            Line2D(
                [],
                [],
                color=stroke.colour,
                linestyle=stroke.line,
                marker=stroke.marker,
                label=short(line.label, NAME_CHARS),
            )
        )
    if any(line.num_now for line in lines):
        handles.append(Line2D([], [], color="black", marker="o", linestyle="", label="mark: current number of repeats"))
    if any(line.floor for line in lines):
        words = "floor: not detectable with any number of repeats"
        handles.append(Line2D([], [], color="black", linewidth=0.9, linestyle=(0, (1, 3)), label=words))
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = y_range(lines, rope)
    axes.set_ylim(low, high)
    if rope > 0:
        axes.axhspan(low, 100 * rope, color=AMBER, alpha=ROPE_ALPHA, linewidth=0)
        label = f"below ±{100 * rope:g} pp: practically equivalent"
        handles.append(Patch(color=AMBER, alpha=ROPE_ALPHA, linewidth=0, label=label))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        axis.set_minor_locator(LogLocator(subs=()))
    axes.set_xlabel("number of repeats")
    axes.set_ylabel("smallest detectable difference (pp), 80 % power")
    plain_axes(axes, grid="both")
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if len(lines) > 1 else 1, frameon=False, fontsize=9
    )
    return figure


def y_range(lines: Sequence[PlanningLine], rope: float) -> tuple[float, float]:
    """Return the ends of the vertical axis, percentage points; all curves, floors and the rope's edge are inside."""
    values = [value for line in lines for value in line.detectable]
    values += [line.floor for line in lines if line.floor]
    low = min([*values, *([rope] if rope > 0 else [])])
    return 100 * low / 1.6, 100 * max([*values, rope]) * 1.25
