"""The pictures of a sweep's run in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from search.journal.follower import Follower
from search.journal.fronts import front_of
from search.journal.mlflow_run import PREFIX
from search.tracking import figures
from search.tracking.front_plot import front_plot
from search.tracking.importance_figures import draw_importance
from spaces.space import Space


def draw_sweep_pictures(journal: Follower, space: Callable[[], Space] | None, folder: Path) -> dict[str, str]:
    """Draw the learning curves of a sweep, the Pareto front of several objectives, and what mattered.

    Args:
        journal: The followed journal.
        space: Returns the search space; None for no picture of what mattered.
        folder: Receives the files.

    Returns:
        Tags of the run.
    """
    trials = journal.of_kind("trial")
    begun = [record for record in trials if record.curve]
    figures.draw_sweep(begun, journal.nominee, folder / "sweep.png")
    tags = {}
    session = journal.sessions.get("sweep", {})
    objectives, limits = session.get("objectives", {}), session.get("limits", {})
    if len(objectives) > 1:
        front = front_of(begun, objectives, {}, num_startup=0)
        if front.trials:
            front_plot(begun, front, limits).savefig(folder / "pareto_front.png", dpi=figures.DPI)
            tags[f"{PREFIX}pareto_front"] = ", ".join(record.label for record in front.trials)
    if space is not None:
        draw_importance(trials, space, folder / "importance")
    return tags
