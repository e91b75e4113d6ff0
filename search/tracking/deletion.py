"""Delete the MLflow runs of one study."""

from __future__ import annotations

from pathlib import Path

from search.errors import NotFoundError
from search.journal.mlflow_run import FOLDERS_TAG, JOURNAL_TAG
from search.journal.reading import read_id
from search.tracking.mlflow_client import connect, translated
from search.tracking.mlflow_runs import fetch_runs


def delete_runs(uri: str, experiment: str, folder: Path) -> int | Path:
    """Delete the runs that a study's journal was copied to; runs of other studies and programs stay.

    They stay as well if another folder from which they were written still has this study: one is a copy of the other.

    MLflow keeps deleted runs, and their artifacts, until `mlflow gc`. The experiment stays as well, as MLflow would
    refuse a new one of the same name.

    Args:
        uri: MLflow tracking URI.
        experiment: The experiment.
        folder: The study's folder.

    Returns:
        Number of deleted runs, 0 if the store or the experiment does not exist; or the other folder.

    Raises:
        TrackingError: MLflow is unreachable or rejects the request; call again to delete the rest.
    """
    try:
        runs = fetch_runs(uri, experiment)
    except NotFoundError:
        return 0
    journal_id = read_id(folder)
    ours = [run for run in runs if journal_id and run.tags.get(JOURNAL_TAG) == journal_id]
    writers = {Path(item) for run in ours for item in run.tags.get(FOLDERS_TAG, "").splitlines()}
    for writer in sorted(writers):
        if writer != folder.resolve() and read_id(writer) == journal_id:
            return writer
    with translated(uri):
        client = connect(uri)
        for run in ours:
            client.delete_run(run.run_id)
    return len(ours)
