"""Write all figures of some comparisons as files; the only module of this package that writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.significance.declared import NEW_DATA_SETS
from search.significance.figures.critical_difference import MIN_DATASETS, critical_difference_plot
from search.significance.figures.forest import forest_plot
from search.significance.figures.lines import planning_lines
from search.significance.figures.planning_curve import planning_plot
from search.significance.figures.slopes import slope_plot
from search.significance.figures.superiority import superiority_matrix
from search.significance.records import Comparison
from search.significance.tests.friedman import friedman, nemenyi_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SLOPES = 12
"""Paired slopes are drawn for the first comparisons, up to this number."""
MIN_CONFIGS = 3
"""Minimum number of configurations of a matrix; with two, it is a single number."""
DPI = 150
_OURS = re.compile(r"(forest|slopes-\d+|superiority(-\d+)?|critical-difference|planning)\.png")


def save_figures(comparisons: Sequence[Comparison], folder: Path) -> list[str]:
    """Write all applicable figures of some comparisons into a folder, replacing earlier ones of the same names.

    `forest.png` always; `slopes-N.png` for comparison N (from 0) if it has blocks; `superiority.png`, or one
    `superiority-N.png` per data set, for three or more configurations; `critical-difference.png` if six or more data
    sets were judged together; `planning.png` if variances are known.

    Args:
        comparisons: In their declared order; if empty, nothing is written.
        folder: Created if missing.

    Returns:
        The names of the files, the forest plot first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if _OURS.fullmatch(file.name):
            file.unlink()
    names = []
    for name, figure in _drawn(comparisons):
        figure.savefig(folder / name, dpi=DPI)
        names.append(name)
    return names


def _drawn(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, Figure]]:
    if not comparisons:
        return
    yield "forest.png", forest_plot(comparisons)
    for position, comparison in enumerate(comparisons[:MAX_SLOPES]):
        if comparison.blocks:
            yield f"slopes-{position}.png", slope_plot(comparison)
    datasets = list(dict.fromkeys(comparison.dataset for comparison in comparisons))
    for position, dataset in enumerate(datasets):
        own = [comparison for comparison in comparisons if comparison.dataset == dataset]
        if len({name for item in own for name in (item.a, item.b)}) >= MIN_CONFIGS:
            name = "superiority.png" if len(datasets) == 1 else f"superiority-{position}.png"
            yield name, superiority_matrix(own, title=dataset or None)
    if ranks := _ranks(comparisons):
        yield "critical-difference.png", ranks
    if lines := planning_lines(comparisons):
        yield "planning.png", planning_plot(lines, rope=comparisons[0].rope)


def _ranks(comparisons: Sequence[Comparison]) -> Figure | None:
    """Return mean ranks of the configurations, if each has a score on every data set."""
    if any(comparison.estimand != NEW_DATA_SETS for comparison in comparisons):
        return None
    scores: dict[str, dict[str, float]] = {}
    for c in comparisons:
        for name, values in ((c.a, c.scores_a), (c.b, c.scores_b)):
            scores.setdefault(name, {}).update(zip(c.blocks, values, strict=True))
    datasets = list(dict.fromkeys(block for row in scores.values() for block in row))
    whole = [name for name, row in scores.items() if len(row) == len(datasets)]
    if len(whole) < MIN_CONFIGS or len(datasets) < MIN_DATASETS:
        return None
    alpha = comparisons[0].alpha
    found = friedman(np.array([[scores[name][dataset] for name in whole] for dataset in datasets]))
    difference = nemenyi_difference(len(whole), len(datasets), alpha=alpha)
    return critical_difference_plot(whole, found.average_ranks, difference, num_datasets=len(datasets), alpha=alpha)
