"""The page of the simulated sweeps, with its picture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bench.report import machine
from bench.report import write_page as write
from bench.search_efficiency.__main__ import RESULTS, WORKERS, read_results
from bench.search_efficiency.clock import NUM_TRAININGS
from bench.search_efficiency.intervals import show_mean, show_ratio
from bench.search_efficiency.judged import NUM_TIMES, TARGET, judge
from bench.search_efficiency.methods import DEFAULT, METHODS, PEER
from bench.search_efficiency.page_goals import goals_part
from bench.search_efficiency.page_importance import importance_part
from bench.search_efficiency.table import NUM_CHOSEN, Table
from bench.tables import table

PICTURE = Path(__file__).parents[1] / "pictures" / "search_efficiency.png"
DRAWN = (DEFAULT, PEER, "random + asha", "Optuna: TPE + HyperbandPruner", "all one epoch, then the best")
STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#666666", ":"),
    ("#009E73", "-."),
    ("#CC79A7", (0, (5, 1, 1, 1, 1, 1))),
)
"""Okabe and Ito's colours and line styles; each alone identifies the method."""

Row = dict[str, Any]
"""A line of the results; `judged` is added here."""


def read_rows(recorded: Table, name: str) -> list[Row]:
    """Read the simulated sweeps on a table, and judge them."""
    rows = read_results(RESULTS / f"{name}.jsonl", recorded)
    return [{**row, "judged": judge(recorded, row["seed"] % NUM_CHOSEN, row["answers"])} for row in rows]


def write_page(name: str = "digits") -> None:
    """Write `bench/search_efficiency.md` from the recorded runs."""
    recorded = Table.load(name)
    rows = read_rows(recorded, name)
    _draw(rows)
    counts = Counter(point for point, _ in recorded.curves)
    most = max(counts.values())
    parts = [
        "# How soon a search finds a good point",
        f"Every point of a finite space ({len(recorded.points)} points, `bench/search_table/{name}.yaml`) was trained "
        f"in advance for {recorded.num_epochs} epochs with {min(counts.values())} seeds, and "
        f"{sum(count == most for count in counts.values())} of them with {most}. A sweep is then simulated: an epoch "
        "takes the time that it took on one core (the tenth percentile over the points whose models cost the same, as "
        "the machine was shared), proposals take none. A method sees the validation accuracies of one seed. Its answer "
        "at any moment is the trial with the highest accuracy among those trained to the end, and before there is one, "
        "among those with the most epochs. It is judged by the mean of that point's other "
        f"trainings. A sweep has the time of {NUM_TRAININGS} whole trainings, divided by its workers.",
        f"![Mean regret over time]({PICTURE.parent.name}/{PICTURE.name})",
        "- *Time to target*: part of the sweep's time until the answer is at most "
        f"{100 * TARGET:g} percentage points below the best point's mean; a sweep that does not reach it counts "
        "with its whole time.\n- *Ratio*: mean time to target, divided by that of the first peer.\n- *Regret*: the "
        "answer's distance from the best point's mean, averaged over the sweep, in percentage points.\n- *Final*: mean "
        "accuracy of the last answer.\n\nIntervals are 95 % bootstrap intervals over the simulated sweeps, half of "
        "which see one seed, half the other.",
    ]
    for workers in WORKERS:
        parts += [f"## {workers} workers", _table([row for row in rows if row["workers"] == workers])]
    parts.append(
        "Peers run with their defaults. Their own classes decide, called as their own loops call them. The space is "
        "declared as users of each package write it: with conditions for Optuna, Ray Tune and SMAC3, without for Syne "
        "Tune and NePS, which have none. Ours never propose a point twice; a peer that does trains it again. PriorBand "
        "has no prior here, so it draws points at random or near its best one. ifBO is missing, because its surrogate "
        "must be downloaded."
    )
    parts += goals_part(recorded, name)
    parts += importance_part(recorded, name)
    write("search_efficiency.md", "\n\n".join([*parts, machine()]) + "\n")


def _table(rows: list[Row]) -> str:
    by_method = {name: [row for row in rows if row["method"] == name] for name in METHODS}
    peer = by_method[PEER]
    lines = []
    for name, found in by_method.items():
        if not found:
            continue
        lines.append(
            [
                f"**{name}**" if name == DEFAULT else name,
                found[0]["version"],
                str(len(found)),
                show_mean(_times(found), 3),
                show_ratio(_times(found), _times(peer)),
                f"{100 * fmean(row['judged'].reached is not None for row in found):.0f} %",
                show_mean([100 * fmean(row["judged"].regret) for row in found], 2),
                show_mean([100 * row["judged"].final for row in found], 2),
                f"{fmean(row['trials'] for row in found):.0f}",
            ]
        )
    header = ("method", "version", "sweeps", "time to target", "ratio", "reached", "regret", "final (%)", "trials")
    return table(header, lines)


def _times(rows: list[Row]) -> list[float]:
    return [row["judged"].time for row in rows]


def _draw(rows: list[Row]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    times = [(index + 1) / NUM_TIMES for index in range(NUM_TIMES)]
    for workers, axes in zip(WORKERS, figure.subplots(1, 2, sharey=True), strict=True):
        for name, (colour, style) in zip(DRAWN, STYLES, strict=True):
            found = [row["judged"].regret for row in rows if row["method"] == name and row["workers"] == workers]
            if found:
                axes.plot(times, 100 * np.mean(found, axis=0), color=colour, linestyle=style, label=name)
        axes.set(title=f"{workers} workers", xlabel="part of the sweep's time", yscale="log")
        axes.axhline(100 * TARGET, color="#BBBBBB", linewidth=0.8)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("regret (percentage points)")
    figure.axes[1].legend(frameon=False, fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
