"""The address of a study's run table on MLflow's page."""

from __future__ import annotations

import contextlib
import sqlite3

from search.tracking.mlflow_client import connect, runs_page, translated
from search.tracking.run_table import VIEW_TAG
from search.tracking.sqlite_uri import SQLITE, path_of


def page_of(uri: str, experiment: str, *, address: str, journal_id: str) -> str:
    """Return the address of a study's run table, with the view that the study's copy stores.

    Args:
        uri: MLflow tracking URI.
        experiment: Name of the experiment.
        address: Address of the server.
        journal_id: Id of the study's journal.

    Returns:
        The address; that of the server if the experiment does not exist yet.

    Raises:
        TrackingError: MLflow is unreachable.
    """
    found = _in_database(uri, experiment) if uri.startswith(SQLITE) else _on_server(uri, experiment)
    if found is None:
        return address
    experiment_id, tags = found
    page = runs_page(address, experiment_id)
    return f"{page}&viewStateShareKey={journal_id}" if f"{VIEW_TAG}{journal_id}" in tags else page


def _in_database(uri: str, experiment: str) -> tuple[str, set[str]] | None:
    """Read an SQLite file without MLflow, whose import takes seconds."""
    file = path_of(uri)
    if not file.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT experiments.experiment_id, experiment_tags.key FROM experiments LEFT JOIN experiment_tags ON "
                "experiment_tags.experiment_id = experiments.experiment_id WHERE name = ?",
                (experiment,),
            ).fetchall()
    except sqlite3.Error:
        return None  # damaged, or of another MLflow version: the server reports it
    return (str(rows[0][0]), {key for _, key in rows}) if rows else None


def _on_server(uri: str, experiment: str) -> tuple[str, set[str]] | None:
    with translated(uri):
        found = connect(uri).get_experiment_by_name(experiment)
    return None if found is None else (str(found.experiment_id), set(found.tags))
