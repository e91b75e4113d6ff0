"""Which trials keep their weights after the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from search.journal.fronts import front_of
from search.records import TrialRecord
from search.study.config import StudyConfig

KEEP_WEIGHTS = 3
"""Number of best trials whose weights are kept, or the number of finalists if that is higher."""


def num_kept(study: StudyConfig) -> int | None:
    """Return of how many of the highest-ranked completed trials the weights are kept; None: of all."""
    match study.search.keep_checkpoints:
        case "none":
            return 0
        case "finalists":
            return max(KEEP_WEIGHTS, study.compare.finalists)
        case "all":
            return None


def keep_best(study: StudyConfig, ranked: Sequence[TrialRecord]) -> Sequence[TrialRecord]:
    """Return the completed trials whose weights are kept, those of the Pareto front among them.

    Args:
        study: The study.
        ranked: Completed trials, best first.
    """
    num, objectives = num_kept(study), study.search.objectives
    if num is None:
        return ranked
    front = front_of(ranked, objectives, {}, num_startup=0).trials if num and len(objectives) > 1 else ()
    kept = {record.key for record in (*ranked[:num], *front)}
    return [record for record in ranked if record.key in kept]


def describe_kept(study: StudyConfig) -> str:
    """Describe which weights a sweep keeps, for messages about weights that were deleted."""
    kept = num_kept(study)
    which = "all" if kept is None else "none" if kept == 0 else f"those of its {kept} highest-ranked trials"
    if kept and len(study.search.objectives) > 1:
        which += " and of the Pareto front"
    return f"search.keep_checkpoints {study.search.keep_checkpoints}: a sweep keeps {which}"
