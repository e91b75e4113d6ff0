"""Plot mean ranks over data sets with Nemenyi's critical difference; descriptive, for six data sets or more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.significance.figures.theme import GREY, new_figure, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_DATASETS = 6
NAME_CHARS = 30


def critical_difference_plot(
    names: Sequence[str],
    mean_ranks: Sequence[float],
    critical_difference: float,
    *,
    num_datasets: int,
    alpha: float = 0.05,
) -> Figure:
    """Draw mean ranks on a line, with a bar over those that differ by less than the critical difference.

    Descriptive: whether two configurations are joined depends on the other configurations.

    Args:
        names: Configurations.
        mean_ranks: Mean ranks over the data sets; 1 is best.
        critical_difference: Nemenyi's, in ranks.
        num_datasets: Number of data sets, at least 6.
        alpha: Level of the critical difference, for the label.

    Returns:
        A figure.

    Raises:
        ValueError: There are fewer than 6 data sets.

    Reference:
        Demsar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7; against reading verdicts
        from it: Benavoli, Corani & Mangili 2016, Should We Really Use Post-Hoc Tests Based on Mean-Ranks?, JMLR 17.
    """
    if num_datasets < MIN_DATASETS:
        msg = f"num_datasets must be at least {MIN_DATASETS} for mean ranks, got {num_datasets}; show each data set"
        raise ValueError(msg)
    ranked = sorted(zip(mean_ranks, names, strict=True))
    count, bars = len(ranked), groups_of([rank for rank, _ in ranked], critical_difference)
    half = -(-count // 2)
    top = 0.75 + 0.16 * len(bars)
    figure = new_figure(9, 1.5 + 0.2 * len(bars) + 0.34 * half)
    axes = figure.subplots()
    axes.plot((1, count), (0, 0), color="black", linewidth=1)
    for place in range(1, count + 1):
        axes.plot((place, place), (0, 0.12), color="black", linewidth=1)
        axes.text(place, 0.2, str(place), ha="center", va="bottom", fontsize=9)
    axes.plot((1, 1 + critical_difference), (0.85, 0.85), color="black", linewidth=1.5, marker="|", markersize=8)
    words = f"critical difference {critical_difference:.2f} (Nemenyi, {alpha:g})"
    axes.text(1 + critical_difference / 2, 0.95, words, ha="center", va="bottom", fontsize=9)
    for position, (first, last) in enumerate(bars):
        height = -0.16 * (position + 1)
        ends = (ranked[first][0] - 0.04, ranked[last][0] + 0.04)
        axes.plot(ends, (height, height), color=GREY, linewidth=4, solid_capstyle="butt")
    edges = (1 - 0.12 * count, count + 0.12 * count)
    for position, (rank, name) in enumerate(ranked):
        is_left = position < half
        depth = position if is_left else count - 1 - position
        height, edge = -top - 0.34 * depth + 0.3, edges[0 if is_left else 1]
        axes.plot((rank, rank, edge), (0, height, height), color=GREY, linewidth=0.8)
        axes.plot(rank, 0, "o", color="black", markersize=4)
        label = f"{short(name, NAME_CHARS)}  {rank:.2f}" if is_left else f"{rank:.2f}  {short(name, NAME_CHARS)}"
        axes.text(edge, height, f" {label} ", ha="right" if is_left else "left", va="center", fontsize=9)
    axes.set_ylim(-top - 0.34 * half + 0.4, 1.35)
    axes.axis("off")
    axes.set_title(f"mean ranks over {num_datasets} data sets (1 is best); descriptive, not a test", fontsize=10)
    return figure


def groups_of(ranks: Sequence[float], critical_difference: float) -> list[tuple[int, int]]:
    """Return the longest runs of configurations that differ by less than the critical difference.

    Args:
        ranks: Mean ranks, ascending.
        critical_difference: In ranks.

    Returns:
        First and last index of each run of two or more; no run contains another.
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(position for position, other in enumerate(ranks) if other - rank < critical_difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
