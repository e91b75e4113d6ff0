"""Plot the expected best score against the number of trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.significance.figures.theme import AMBER, BLUE, GREY, VERMILION, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def best_of_plot(
    expected: NDArray[Any],
    unbiased: NDArray[Any] | None = None,
    *,
    band: tuple[NDArray[Any], NDArray[Any]] | None = None,
    band_label: str = "",
    values: NDArray[Any] | None = None,
) -> Figure:
    """Draw the expected best validation accuracy of k trials against k.

    Args:
        expected: Expected best of k trials drawn with replacement, fractions, shape (K,), for k = 1 to K.
        unbiased: The same for trials drawn without replacement, shape (K,).
        band: Lower and upper edge of a band, each of shape (K,).
        band_label: Label of the band.
        values: Scores of the trials, marked at the edge.

    Returns:
        A figure in percent.

    Reference:
        Dodge et al. 2019, Show Your Work (with replacement); Tang et al. 2020, Showing Your Work Doesn't Always Work
        (without).
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(6.6, 4.4)
    axes = figure.subplots()
    budgets = np.arange(1, len(expected) + 1)
    if band is not None:
        axes.fill_between(budgets, 100 * band[0], 100 * band[1], color=AMBER, alpha=0.2, linewidth=0, label=band_label)
    marker = len(budgets) <= 30
    axes.plot(
        budgets,
        100 * expected,
        "-",
        color=BLUE,
        marker="o" if marker else "",
        markersize=4,
        label="drawn with replacement (Dodge 2019)",
    )
    if unbiased is not None:
        axes.plot(
            budgets[: len(unbiased)],
            100 * unbiased,
            "--",
            color=VERMILION,
            marker="s" if marker else "",
            markersize=4,
            label="without, unbiased (Tang 2020)",
        )
    if values is not None:
        at = np.full(len(values), budgets[-1] * 1.03)
        axes.plot(at, 100 * values, "_", color=GREY, markersize=8, label="the trials")
    axes.set_xlabel("number of trials")
    axes.set_ylabel("expected best validation accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    plain_axes(axes, grid="y")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return figure
