"""Plot P(A > B) for all pairs of configurations: how often one scores higher on the same block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.significance.figures.theme import DIVERGING, GREY, folded, new_figure
from search.significance.records import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

NAME_CHARS = 26
DARK_ABOVE = 0.87
"""Text in cells with a larger share is white."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration compared with another."""

    share: float | None
    """Share of common blocks in which the row scored above the column, ties half; None if unknown."""
    low: float | None = None
    """Ends of the share's interval."""
    high: float | None = None
    num_blocks: int = 0
    is_meaningful: bool = False
    """Whether the comparison is meaningful, in either direction."""
    is_refused: bool = False


def superiority_matrix(comparisons: Sequence[Comparison], *, title: str | None = None) -> Figure:
    """Draw, for every compared pair, how often the row scored above the column on the same block.

    Configurations are sorted by mean score. Undeclared and refused pairs are hatched.

    Args:
        comparisons: At least one, of one data set and any number of families.
        title: Title of the figure; None for no title.

    Returns:
        A figure; each cell holds the share and its interval.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    names, cells = cells_of(comparisons)
    count = len(names)
    size = min(max(0.92, 5.5 / count), 1.5)
    figure = new_figure(size * count + 3.6, size * count + 2.1)
    axes = figure.subplots()
    colours = diverging()
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            _draw_cell(axes, row, column, cell, colours)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    num_chars = int(10 * size)  # width of a column
    axes.set_xticks(range(count), [folded(name, num_chars, num_lines=4) for name in names], fontsize=9)
    axes.set_yticks(range(count), [folded(name, NAME_CHARS) for name in names], fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("A")
    axes.set_xlabel("B")
    axes.xaxis.set_label_position("top")
    figure.colorbar(
        ScalarMappable(norm=Normalize(0, 1), cmap=colours),
        ax=axes,
        label="P(A > B) on the same block",
        shrink=0.8,
        pad=0.02,
    )
    figure.supxlabel(legend_of(comparisons), fontsize=9)
    if title is not None:
        figure.suptitle(title, fontsize=12)
    return figure


def legend_of(comparisons: Sequence[Comparison]) -> str:
    """Return the explanation of a matrix."""
    level = f"{100 * (1 - comparisons[0].alpha):g} %"
    text = f"interval: {level}, on these images; hatched: not compared, or refused"
    if any(comparison.meaningful for comparison in comparisons):
        text += "; bold: shown to be meaningful"
    return text


def cells_of(comparisons: Sequence[Comparison]) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Arrange comparisons as a matrix.

    Args:
        comparisons: Comparisons of one data set. A pair in several families is one pair.

    Returns:
        The names, highest mean score first and those without a score last, and the cells, rows against columns.
    """
    means: dict[str, float] = {}
    known: dict[tuple[str, str], Cell] = {}
    for c in comparisons:
        for name, mean in ((c.a, c.mean_a), (c.b, c.mean_b)):
            means[name] = means.get(name, float("-inf")) if mean is None else mean
        if c.p_a_gt_b is None:
            known |= {pair: Cell(share=None, is_refused=True) for pair in ((c.a, c.b), (c.b, c.a)) if pair not in known}
            continue
        low, high = (c.p_a_gt_b_interval.low, c.p_a_gt_b_interval.high) if c.p_a_gt_b_interval else (None, None)
        cell = Cell(share=c.p_a_gt_b, low=low, high=high, num_blocks=c.num_blocks, is_meaningful=bool(c.meaningful))
        known[c.a, c.b] = cell
        known[c.b, c.a] = replace(cell, share=1 - c.p_a_gt_b, low=_rest(high), high=_rest(low))
    names = tuple(sorted(means, key=lambda name: -means[name]))
    unknown = Cell(share=None)
    return names, tuple(tuple(known.get((a, b), unknown) for b in names) for a in names)


def _rest(share: float | None) -> float | None:
    return None if share is None else 1 - share


def diverging() -> Colormap:
    """Return the diverging colour map from 0 to 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("superiority", DIVERGING)


def _draw_cell(axes: Axes, row: int, column: int, cell: Cell, colours: Colormap) -> None:
    from matplotlib.patches import Rectangle

    place = (column - 0.47, row - 0.47)
    if row == column:
        axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor="#EEEEEE", edgecolor="none"))
        return
    if cell.share is None:
        box = Rectangle(place, 0.94, 0.94, facecolor="white", edgecolor="#AAAAAA", hatch="////", linewidth=0.5)
        axes.add_patch(box)
        if cell.is_refused:
            style = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.text(column, row, "refused", ha="center", va="center", fontsize=8, color=GREY, bbox=style)
        return
    axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor=colours(cell.share), edgecolor="none"))
    ink = ink_on(cell.share)
    weight = "bold" if cell.is_meaningful else "normal"
    up = 0.13 if cell.low is not None else 0
    axes.text(
        column, row - up, share_text(cell.share), ha="center", va="center", fontsize=12, color=ink, fontweight=weight
    )
    if cell.low is not None and cell.high is not None:
        ends = f"{share_text(cell.low)}-{share_text(cell.high)}"
        axes.text(column, row + 0.22, ends, ha="center", va="center", fontsize=8, color=ink)


def ink_on(share: float) -> str:
    """Return black or white, whichever has more contrast on the colour of a share."""
    return "white" if share > DARK_ABOVE - 1e-9 else "black"


def share_text(share: float) -> str:
    """Return a share as `.93`; 0 and 1 only if they are exact."""
    if share in (0, 1):
        return f"{share:g}"
    return f"{min(max(share, 0.01), 0.99):.2f}".removeprefix("0")
