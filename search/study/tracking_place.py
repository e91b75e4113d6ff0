"""Where MLflow records a study."""

from __future__ import annotations

import dataclasses

from search.errors import TrackingError
from search.study.config import StudyConfig
from search.tracking.mlflow_client import default_uri
from search.uris import withheld_fault


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingPlace:
    """Where MLflow records a study."""

    uri: str
    experiment: str


def tracking_place(study: StudyConfig) -> TrackingPlace | None:
    """Where MLflow records a study; None with tracking switched off.

    Raises:
        TrackingError: The address names variables of the environment, and the study is only looked at.
    """
    if not study.tracking.enabled:
        return None
    if fault := withheld_fault("tracking.uri", study.tracking.uri):
        raise TrackingError(fault)
    uri = study.tracking.uri or default_uri(study.folder.parent)
    return TrackingPlace(uri=uri, experiment=study.tracking.experiment or study.name)
