"""Protect experiments that contain runs of other programs from being written to."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence

from search.errors import HybridSearchError, TrackingError
from search.journal.mlflow_run import JOURNAL_TAG, KEY_TAG, maker_of
from search.text.counted import counted
from search.tracking.sqlite_uri import SQLITE, path_of
from search.uris import redacted


def refuse_foreign_experiment(uri: str, experiment: str, journal_id: str) -> None:
    """Raise if an experiment was deleted or contains runs of other programs. Nothing is created or changed.

    A study that has started continues without its copy if MLflow is unreachable or the experiment was deleted, and may
    use an experiment that already contains its own runs.

    Args:
        uri: MLflow tracking URI.
        experiment: Name of the experiment.
        journal_id: Id of the study's journal; empty if the study has not started.

    Raises:
        TrackingError: The experiment contains foreign runs; or, before the study has started, it was deleted or MLflow
            is unreachable.
    """
    try:
        found = _read_database(uri, experiment) if uri.startswith(SQLITE) else _query_server(uri, experiment)
    except HybridSearchError:
        if journal_id:
            return
        raise
    if found is None:
        return
    is_deleted, runs = found
    if is_deleted and not journal_id:
        raise TrackingError(f"{redacted(uri)}: {deleted(experiment)}")
    if foreign := foreign_runs(runs, journal_id):
        raise TrackingError(f"{redacted(uri)}: {not_ours(experiment, foreign)}")


def deleted(experiment: str) -> str:
    """Return the error message for a deleted experiment."""
    return (
        f"experiment {experiment} was deleted; restore it in MLflow (`mlflow experiments restore --experiment-id ID`), "
        "or set tracking.experiment to another name"
    )


def not_ours(experiment: str, foreign: Iterable[str]) -> str:
    """Return the error message for an experiment with foreign runs.

    Args:
        experiment: Name of the experiment.
        foreign: Names of the foreign runs.
    """
    names = list(foreign)
    return (
        f"experiment {experiment} contains {counted(len(names), 'run')} that hybrid-search did not make "
        f"(such as {names[0]!r}), so nothing is added to it; set tracking.experiment to another name"
    )


def foreign_runs(runs: Sequence[tuple[str, str | None]], journal_id: str) -> list[str]:
    """Return the names of runs of other programs; empty if this journal's own runs are among the runs.

    >>> foreign_runs([("baseline", None), ("trial 0", "3f2a")], "")
    ['baseline']

    Args:
        runs: (name, `maker_of`) of each run of an experiment.
        journal_id: Id of the study's journal; empty if the study has not started.
    """
    if journal_id and any(journal == journal_id for _, journal in runs):
        return []
    return [name for name, journal in runs if journal is None]


def _read_database(uri: str, experiment: str) -> tuple[bool, list[tuple[str, str | None]]] | None:
    """Read an SQLite file without MLflow, whose import takes seconds.

    Returns:
        Whether the experiment was deleted, and (name, id of the journal) of its runs; None if there is none.
    """
    file = path_of(uri)
    if not file.is_file() or not file.stat().st_size:
        return None
    try:
        address = f"{file.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=2.0)) as database:
            row = database.execute(
                "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?", (experiment,)
            ).fetchone()
            if row is None:
                return None
            runs = database.execute(
                "SELECT COALESCE(runs.name, runs.run_uuid), COALESCE(journal.value, key.value) FROM runs "
                "LEFT JOIN tags AS journal ON journal.run_uuid = runs.run_uuid AND journal.key = ? "
                "LEFT JOIN tags AS key ON key.run_uuid = runs.run_uuid AND key.key = ? "
                "WHERE experiment_id = ? AND lifecycle_stage = 'active'",
                (JOURNAL_TAG, KEY_TAG, row[0]),
            ).fetchall()
    except sqlite3.Error:
        return None  # damaged, or of another MLflow version: the process that writes the copy reports it
    return row[1] != "active", runs


def _query_server(uri: str, experiment: str) -> tuple[bool, list[tuple[str, str | None]]] | None:
    from search.errors import NotFoundError
    from search.tracking.mlflow_client import RejectedError, connect, translated
    from search.tracking.mlflow_runs import fetch_runs

    try:
        with translated(uri):
            found = connect(uri).get_experiment_by_name(experiment)
        if found is None:
            return None
        if found.lifecycle_stage != "active":
            return True, []
        return False, [(run.name, maker_of(run.tags)) for run in fetch_runs(uri, experiment)]
    except NotFoundError:
        return None
    except RejectedError as error:
        raise TrackingError(*error.faults) from None
