"""The page of the simulated sweeps, with its picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bench.report import write_page as write
from bench.search_efficiency.__main__ import RESULTS, WORKERS
from bench.search_efficiency.clock import NUM_TIMES, NUM_TRAININGS, TARGET
from bench.search_efficiency.methods import DEFAULT, METHODS, PEER
from bench.search_efficiency.table import Table
from bench.tables import table

PICTURE = Path(__file__).parents[1] / "pictures" / "search_efficiency.png"
NUM_BOOTSTRAPS = 2000
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
Values = np.ndarray[Any, np.dtype[np.float64]]


def write_page(name: str = "digits") -> None:
    """Write `bench/search_efficiency.md` from the recorded runs."""
    rows = [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    recorded = Table.load(name)
    _draw(rows)
    parts = [
        "# How soon a search finds a good point",
        f"Every point of a finite space ({len(recorded.points)} points, `bench/search_table/{name}.yaml`) was trained "
        f"in advance for {recorded.num_epochs} epochs with at least two seeds. A sweep is then simulated: a training "
        "takes the time that it took, proposals take none. A method sees the validation accuracies of one seed. Its "
        "answer at any moment is the trial with the highest accuracy among those trained to the end, and it is judged "
        "by the mean of that point's other trainings. A sweep has the time of "
        f"{NUM_TRAININGS} whole trainings, divided by its workers.",
        f"![Mean regret over time]({PICTURE.parent.name}/{PICTURE.name})",
        "- *Time to target*: part of the sweep's time until the answer is at most "
        f"{100 * TARGET:g} percentage points below the best point's mean; a sweep that does not reach it counts "
        "with its whole time.\n- *Ratio*: mean time to target, divided by that of the first peer.\n- *Regret*: the "
        "answer's distance from the best point's mean, averaged over the sweep, in percentage points.\n- *Final*: mean "
        "accuracy of the last answer.\n\nIntervals are 95 % bootstrap intervals over the simulated sweeps.",
    ]
    for workers in WORKERS:
        parts += [f"## {workers} workers", _table([row for row in rows if row["workers"] == workers])]
    write("search_efficiency.md", "\n\n".join(parts) + "\n")


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
                _show(found, _time, 3),
                _ratio(found, peer),
                f"{100 * fmean(row['reached'] is not None for row in found):.0f} %",
                _show(found, lambda row: 100 * fmean(row["regret"]), 2),
                _show(found, lambda row: 100 * row["final"], 2),
                f"{fmean(row['num_trials'] for row in found):.0f}",
            ]
        )
    header = ("method", "version", "sweeps", "time to target", "ratio", "reached", "regret", "final (%)", "trials")
    return table(header, lines)


def _time(row: Row) -> float:
    return 1.0 if row["reached"] is None else float(row["reached"])


def _means(values: Values) -> Values:
    random = np.random.default_rng(0)
    means: Values = values[random.integers(len(values), size=(NUM_BOOTSTRAPS, len(values)))].mean(axis=1)
    return means


def _show(rows: list[Row], value: Callable[[Row], float], digits: int) -> str:
    values = np.array([value(row) for row in rows])
    low, high = np.quantile(_means(values), (0.025, 0.975))
    return f"{values.mean():.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _ratio(rows: list[Row], peer: list[Row]) -> str:
    if not peer:
        return ""
    ours, theirs = (np.array([_time(row) for row in found]) for found in (rows, peer))
    random = np.random.default_rng(1)
    shuffled = random.permutation(_means(theirs))
    low, high = np.quantile(_means(ours) / shuffled, (0.025, 0.975))
    return f"{ours.mean() / theirs.mean():.2f} ({low:.2f}-{high:.2f})"


def _draw(rows: list[Row]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    times = [(index + 1) / NUM_TIMES for index in range(NUM_TIMES)]
    for workers, axes in zip(WORKERS, figure.subplots(1, 2, sharey=True), strict=True):
        for name, (colour, style) in zip(DRAWN, STYLES, strict=True):
            found = [row["regret"] for row in rows if row["method"] == name and row["workers"] == workers]
            if found:
                axes.plot(times, 100 * np.mean(found, axis=0), color=colour, linestyle=style, label=name)
        axes.set(title=f"{workers} workers", xlabel="part of the sweep's time", yscale="log")
        axes.axhline(100 * TARGET, color="#BBBBBB", linewidth=0.8)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("regret (percentage points)")
    figure.axes[1].legend(frameon=False, fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
