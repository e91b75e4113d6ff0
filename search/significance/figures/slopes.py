"""Plot paired slopes: the scores of both configurations on every block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.significance.figures.theme import LOOKS, folded, new_figure, plain_axes
from search.significance.records import Comparison, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNS = {
    1: (LOOKS[Verdict.BETTER], "-", "solid", "first higher"),
    -1: (LOOKS[Verdict.WORSE], "--", "dash", "second higher"),
    0: (LOOKS[Verdict.INCONCLUSIVE], ":", "dot", "tie"),
}
"""Sign of a block's difference -> look, matplotlib line style, plotly dash style, and label."""


def slope_plot(comparison: Comparison) -> Figure:
    """Draw one line per block from the first configuration's accuracy to the second's, and the means on top.

    Args:
        comparison: A comparison with at least one common block.

    Returns:
        A figure in percent.
    """
    figure = new_figure(5.4, 5)
    axes = figure.subplots()
    signs = signs_of(comparison)
    for sign, a, b in zip(signs, comparison.scores_a, comparison.scores_b, strict=True):
        look, line, _, _ = SIGNS[sign]
        ends = (100 * a, 100 * b)
        axes.plot((0, 1), ends, line, color=look.colour, marker=look.marker, markersize=4, linewidth=1, alpha=0.75)
    for sign, (look, line, _, words) in SIGNS.items():
        if sign in signs:
            label = f"{words}: {signs.count(sign)} of {len(signs)}"
            axes.plot([], [], line, color=look.colour, marker=look.marker, markersize=4, linewidth=1, label=label)
    if comparison.mean_a is not None and comparison.mean_b is not None:
        means = (100 * comparison.mean_a, 100 * comparison.mean_b)
        axes.plot((0, 1), means, color="black", marker="D", markersize=6, linewidth=2.5, label="mean")
    axes.set_xticks((0, 1), [folded(name, 22) for name in (comparison.a, comparison.b)], fontsize=10)
    axes.set_xlim(-0.25, 1.25)
    axes.set_ylabel(score_label(comparison))
    plain_axes(axes, grid="y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def signs_of(comparison: Comparison) -> list[int]:
    """Return the sign of the difference per block: 1 if the first is higher, -1 if the second is, 0 if equal."""
    return [(a > b) - (a < b) for a, b in zip(comparison.scores_a, comparison.scores_b, strict=True)]


def score_label(comparison: Comparison) -> str:
    """Return the axis label of the scores, in percent."""
    return "accuracy on the test images (%)" if comparison.num_images else "accuracy (%)"
