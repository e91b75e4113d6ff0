"""Pictures of what mattered in a sweep, as PNG files for MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from search.records import Completed, Failed, Stopped, TrialRecord
from spaces.space import Space

DPI = 90


def draw_importance(records: Sequence[TrialRecord], space: Callable[[], Space], folder: Path) -> None:
    """Draw importances, slices, ranks over the two most important parameters, and parallel coordinates.

    Args:
        records: Records of the study.
        space: Returns the study's space; called only if there may be enough trials.
        folder: Folder of the files; not created if the trials are too few for importances.
    """
    from search.journal.importance import MIN_TRIALS, what_mattered

    if sum(isinstance(record.outcome, Completed | Stopped | Failed) for record in records) < MIN_TRIALS:
        return
    importance = what_mattered(records, space())
    if not importance.has_enough_trials:
        return
    from search.significance.figures.importance import importance_plot, pair_plot, parallel_plot, slices_plot

    trials, factors = importance.trials, importance.factors
    columns = [(ranking.title, ranking.shares, ranking.too_few) for ranking in importance.rankings]
    figures = {
        "importance": importance_plot(columns, importance.parameters),
        "slices": slices_plot(factors, trials.last_accuracy, trials.ended(Completed), trials.ended(Stopped)),
        "parallel": parallel_plot(factors, trials.rank, best=importance.best_rank),
    }
    if len(factors) > 1:
        figures["ranks"] = pair_plot(factors[0], factors[1], trials.rank)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI, facecolor="white")
