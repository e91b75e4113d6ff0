"""The part of the page about two objectives and a limit."""

from __future__ import annotations

from statistics import fmean

from bench.search_efficiency.__main__ import RESULTS, read_results
from bench.search_efficiency.clock import NUM_TRAININGS
from bench.search_efficiency.goals import METHODS, NSGA2, NUM_WORKERS, count_parameters, limit_of, volumes
from bench.search_efficiency.intervals import show_mean, show_ratio
from bench.search_efficiency.table import NUM_CHOSEN, Table
from bench.tables import table


def goals_part(recorded: Table, name: str) -> list[str]:
    """Return the paragraphs about two objectives and a limit; none without recorded sweeps."""
    rows = read_results(RESULTS / f"{name}-goals.jsonl", recorded)
    if not rows:
        return []
    counts = count_parameters(recorded, name)
    found = {
        method: [
            (row, volumes(recorded, row["seed"] % NUM_CHOSEN, row["whole"], counts))
            for row in rows
            if row["method"] == method
        ]
        for method in METHODS
    }
    peer = [fmean(volume) for _, volume in found[NSGA2]]
    lines = [
        [
            method,
            sweeps[0][0]["version"],
            str(len(sweeps)),
            show_mean([fmean(volume) for _, volume in sweeps], 3),
            show_ratio([fmean(volume) for _, volume in sweeps], peer),
            show_mean([volume[-1] for _, volume in sweeps], 3),
            f"{fmean(row['trials'] for row, _ in sweeps):.0f}",
            f"{fmean(len(row['whole']) for row, _ in sweeps):.0f}",
        ]
        for method, sweeps in found.items()
        if sweeps
    ]
    header = ("method", "version", "sweeps", "hypervolume", "ratio", "at the end", "trials", "whole trials")
    return [
        "## Two goals and a limit",
        f"The goals are a high accuracy and few parameters, with at most {limit_of(counts):,} of them: half of the "
        f"points have so few. A sweep has {NUM_WORKERS} workers and the time of {NUM_TRAININGS} whole trainings. The "
        "number of parameters is known before a training. Ours never propose a point above the limit. Optuna's "
        "samplers receive it at once as a broken constraint, and it takes no time. Optuna's pruners take one objective "
        "only, so its trials are all trained to the end; `asha` here stops trials by their non-dominated rank. The "
        "Pareto front is that of the accuracies that the method saw, and its points count with the mean of their other "
        "trainings.",
        "- *Hypervolume*: of the front, between the limit and the median accuracy of the points within it, as a share "
        "of the hypervolume of all points, averaged over the sweep; higher is better.\n- *Ratio*: to that of NSGA-II.",
        table(header, lines),
    ]
