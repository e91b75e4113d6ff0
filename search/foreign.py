"""Copies are written where nothing of somebody else's is touched: refused before anything is written."""

from __future__ import annotations

from search.optuna_copy import refuse_foreign_study
from search.study import StudyConfig
from search.tracking.foreign import refuse_foreign_experiment
from search.tracking.journal import read_id
from search.tracking_place import tracking_place


def refuse_foreign_copies(study: StudyConfig) -> None:
    """Refuse a study whose copies would touch somebody else's Optuna study or MLflow experiment. Changes nothing.

    Raises:
        StudyError: `search.database` holds a study of this name that is not this study's; or, before the study has
            begun, the database cannot be reached.
        TrackingError: The MLflow experiment holds runs that are not of this program, or was deleted.
    """
    journal_id = read_id(study.folder)
    refuse_foreign_study(study, journal_id)
    place = tracking_place(study)
    if place is not None:
        refuse_foreign_experiment(place.uri, place.experiment, journal_id)
