"""Delete the MLflow runs of one study."""

from __future__ import annotations

from search.errors import NotFoundError
from search.journal.mlflow_run import JOURNAL_TAG
from search.tracking.mlflow_client import connect, translated
from search.tracking.mlflow_runs import fetch_runs


def delete_runs(uri: str, experiment: str, journal_id: str) -> int:
    """Delete the runs that a study's journal was copied to; runs of other studies and programs stay.

    MLflow keeps deleted runs, and their artifacts, until `mlflow gc`. The experiment stays as well, as MLflow would
    refuse a new one of the same name.

    Args:
        uri: MLflow tracking URI.
        experiment: The experiment.
        journal_id: Id of the study's journal.

    Returns:
        Number of deleted runs; 0 if the store or the experiment does not exist.

    Raises:
        TrackingError: MLflow is unreachable or rejects the request; call again to delete the rest.
    """
    try:
        runs = fetch_runs(uri, experiment)
    except NotFoundError:
        return 0
    ours = [run for run in runs if journal_id and run.tags.get(JOURNAL_TAG) == journal_id]
    with translated(uri):
        client = connect(uri)
        for run in ours:
            client.delete_run(run.run_id)
    return len(ours)
