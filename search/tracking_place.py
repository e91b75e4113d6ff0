"""Where MLflow records a study."""

from __future__ import annotations

import dataclasses

from search.study import StudyConfig
from search.tracking.mlflow_client import default_uri


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingPlace:
    """Where MLflow records a study."""

    uri: str
    experiment: str


def tracking_place(study: StudyConfig) -> TrackingPlace | None:
    """Where MLflow records a study; None with tracking switched off."""
    if not study.tracking.enabled:
        return None
    uri = study.tracking.uri or default_uri(study.folder.parent)
    return TrackingPlace(uri=uri, experiment=study.tracking.experiment or study.name)
