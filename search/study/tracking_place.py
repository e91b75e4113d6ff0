"""The MLflow destination of a study."""

from __future__ import annotations

import dataclasses

from search.errors import TrackingError
from search.storage.location import Location, unarchived
from search.study.config import StudyConfig
from search.study.load import read_recorded
from search.tracking.mlflow_client import default_uri
from search.uris import withheld_fault


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingPlace:
    """MLflow tracking URI and experiment of a study."""

    uri: str
    experiment: str


def tracking_place(study: StudyConfig) -> TrackingPlace | None:
    """Return the MLflow destination of a study, or None if tracking is disabled.

    The runs of an archived study are where they were before, under the name that it had.

    Raises:
        TrackingError: The address refers to environment variables that were not filled in.
    """
    if not study.tracking.enabled:
        return None
    if fault := withheld_fault("tracking.uri", study.tracking.uri):
        raise TrackingError(fault)
    storage, name = unarchived(study.storage), study.name
    if storage != study.storage and (recorded := read_recorded(study.folder)) is not None:
        name = recorded.name
    uri = study.tracking.uri or default_uri(Location(storage, name).folder.parent)
    return TrackingPlace(uri=uri, experiment=study.tracking.experiment or name)
