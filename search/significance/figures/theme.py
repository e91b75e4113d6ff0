"""What all pictures share: colours that survive colour blindness, marks that survive gray print, labels that fit."""

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
"""Of Okabe and Ito's palette."""
GREY, RULE = "#666666", "#DDDDDD"
ROPE_ALPHA = 0.2
"""Opacity of the band of practical equivalence, in AMBER."""
DIVERGING = ("#C56A0A", "#F3BC69", "#F7F7F7", "#7FB2D6", "#00436B")
"""0 to 1 through a near-white middle; the upper end is the darker one, so that gray print tells the ends apart."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one verdict is drawn: told apart without colour too."""

    colour: str
    marker: str
    """In matplotlib's words."""
    symbol: str
    """The same in plotly's."""


LOOKS = {
    Verdict.BETTER: Look(colour=BLUE, marker="^", symbol="triangle-up"),
    Verdict.WORSE: Look(colour=VERMILION, marker="v", symbol="triangle-down"),
    Verdict.EQUIVALENT: Look(colour=GREEN, marker="s", symbol="square"),
    Verdict.INCONCLUSIVE: Look(colour=GREY, marker="o", symbol="circle"),
    Verdict.REFUSED: Look(colour=GREY, marker="x", symbol="x-thin-open"),
}


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """How one of several curves is drawn."""

    colour: str
    line: Literal["-", "--", "-.", ":"]
    """In matplotlib's words."""
    dash: str
    """The same in plotly's."""
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
"""Curves in their order; beyond the last, the first again."""


def new_figure(width: float, height: float) -> Figure:
    """A figure without pyplot, which would keep every figure alive.

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
    """Leave of the axes what is read: no box, and a light grid along the values.

    Args:
        axes: Changed in place.
        grid: `x`, `y` or `both`.
        hidden: Sides without a line.
    """
    axes.spines[list(hidden)].set_visible(False)
    axes.grid(axis=grid, color=RULE, linewidth=0.6)  # type: ignore[arg-type]  # matplotlib's stubs want a Literal
    axes.set_axisbelow(True)


def is_bounded(interval: Interval | None) -> TypeGuard[Interval]:
    """Whether there is an interval with two ends; exact tests of few blocks have one without."""
    return interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high)


def short(name: str, num_chars: int) -> str:
    """A name that fits, its end replaced by an ellipsis if need be."""
    return name if len(name) <= num_chars else f"{name[: num_chars - 1]}…"


def pair_label(comparison: Comparison, num_chars: int) -> str:
    """Name a comparison in one line if it fits, else in two.

    Args:
        comparison: Names its configurations.
        num_chars: Characters per line.
    """
    whole = f"{comparison.a} minus {comparison.b}"
    if len(whole) <= num_chars:
        return whole
    return f"{short(comparison.a, num_chars)}\nminus {short(comparison.b, num_chars - len('minus '))}"


def folded(name: str, num_chars: int, *, num_lines: int = 3) -> str:
    """A name over several lines, cut after the last of them."""
    return textwrap.fill(name, num_chars, max_lines=num_lines, placeholder=" …")
