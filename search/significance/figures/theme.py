"""Common style of all figures: colours for colour-blind readers, markers for grayscale print, and label layout."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeGuard

from search.significance.records import Comparison, Interval, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, AMBER, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
"""From Okabe and Ito's palette."""
GREY, RULE = "#666666", "#DDDDDD"
ROPE_ALPHA = 0.2
"""Opacity of the region of practical equivalence, in AMBER."""
DIVERGING = ("#C56A0A", "#F3BC69", "#F7F7F7", "#7FB2D6", "#00436B")
"""Colours from 0 to 1 through a near-white middle; the upper end is darker, so that the ends differ in grayscale
print."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Style of one verdict, distinguishable without colour."""

    colour: str
    marker: str
    """Marker in matplotlib."""
    symbol: str
    """Marker in plotly."""


LOOKS = {
    Verdict.BETTER: Style(colour=BLUE, marker="^", symbol="triangle-up"),
    Verdict.WORSE: Style(colour=VERMILION, marker="v", symbol="triangle-down"),
    Verdict.EQUIVALENT: Style(colour=GREEN, marker="s", symbol="square"),
    Verdict.INCONCLUSIVE: Style(colour=GREY, marker="o", symbol="circle"),
    Verdict.REFUSED: Style(colour=GREY, marker="x", symbol="x-thin-open"),
}


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """Style of one of several curves."""

    colour: str
    line: Literal["-", "--", "-.", ":"]
    """Line style in matplotlib."""
    dash: str
    """Dash style in plotly."""
    marker: str
    symbol: str


STROKES = (
    Stroke(colour=BLUE, line="-", dash="solid", marker="o", symbol="circle"),
    Stroke(colour=VERMILION, line="--", dash="dash", marker="s", symbol="square"),
    Stroke(colour=GREEN, line="-.", dash="dashdot", marker="^", symbol="triangle-up"),
    Stroke(colour=PURPLE, line=":", dash="dot", marker="D", symbol="diamond"),
    Stroke(colour=AMBER, line="-", dash="solid", marker="v", symbol="triangle-down"),
    Stroke(colour=GREY, line="--", dash="dash", marker="P", symbol="cross"),
)
"""Styles of curves in order; further curves start again with the first."""


def new_figure(width: float, height: float) -> Figure:
    """Return a matplotlib figure without pyplot, which would keep a reference to it.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        An empty figure that can be drawn and saved without a display.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, *, grid: str, hidden: tuple[str, ...] = ("top", "right")) -> None:
    """Remove the box from the axes and add a light grid along the values.

    Args:
        axes: Changed in place.
        grid: `x`, `y` or `both`.
        hidden: Sides without a line.
    """
    axes.spines[list(hidden)].set_visible(False)
    axes.grid(axis=grid, color=RULE, linewidth=0.6)  # type: ignore[arg-type]  # matplotlib's stubs want a Literal
    axes.set_axisbelow(True)


def is_bounded(interval: Interval | None) -> TypeGuard[Interval]:
    """Return whether an interval exists and both ends are finite; exact tests of few blocks can have infinite ends."""
    return interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high)


def short(name: str, num_chars: int) -> str:
    """Return a name, shortened with an ellipsis if necessary."""
    return name if len(name) <= num_chars else f"{name[: num_chars - 1]}…"


def pair_label(comparison: Comparison, num_chars: int) -> str:
    """Return a comparison's names on one line if they fit, otherwise on two.

    Args:
        comparison: The comparison.
        num_chars: Characters per line.

    Returns:
        One or two lines.
    """
    whole = f"{comparison.a} minus {comparison.b}"
    if len(whole) <= num_chars:
        return whole
    return f"{short(comparison.a, num_chars)}\nminus {short(comparison.b, num_chars - len('minus '))}"


def folded(name: str, num_chars: int, *, num_lines: int = 3) -> str:
    """Wrap a name over several lines, truncated after the last one."""
    return textwrap.fill(name, num_chars, max_lines=num_lines, placeholder=" …")
