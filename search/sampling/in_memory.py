"""The sweep as an Optuna study in memory, made from the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.journal.reading import read_draws, read_history
from search.sampling.trials import TrialMaker, be_quiet

if TYPE_CHECKING:
    import optuna

    from search.study.config import StudyConfig


def make_study(study: StudyConfig) -> optuna.Study:
    """Return the sweep of a study as an Optuna study in memory, with its objectives; nothing is written.

    Args:
        study: A study that was started.
    """
    import optuna

    be_quiet()
    objectives = study.search.objectives
    directions = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}
    made = optuna.create_study(
        study_name=study.name,
        storage=optuna.storages.InMemoryStorage(),
        directions=[directions[direction] for direction in objectives.values()],
    )
    if len(objectives) > 1:
        made.set_metric_names(list(objectives))
    records = {key: record for key, record in read_history(study.folder).records.items() if record.kind == "trial"}
    maker = TrialMaker(study.build_space(), objectives if len(objectives) > 1 else None)
    for trial in maker.known(records, read_draws(study.folder)).values():
        made.add_trial(trial)
    return made
