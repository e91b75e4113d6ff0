"""Read the runs of any MLflow experiment, including those of other programs."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from search.errors import NotFoundError, TrackingError
from search.journal.mlflow_run import MlflowRun
from search.tracking.mlflow_client import RejectedError, connect, default_uri, translated
from search.tracking.sqlite_uri import SQLITE, path_of, sqlite_uri
from search.uris import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1_000
"""Number of runs per request."""
NUM_SHOWN = 12


def chosen_uri(uri: str | None, storage: Path) -> str:
    """Return the given tracking URI, else that of MLFLOW_TRACKING_URI, else the default of a storage folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(storage)


def fetch_runs(uri: str, experiment: str) -> tuple[MlflowRun, ...]:
    """Read all runs of an experiment that were not deleted, oldest first.

    Args:
        uri: MLflow tracking URI.
        experiment: Name or id of the experiment.

    Raises:
        NotFoundError: The store or the experiment does not exist.
        TrackingError: MLflow is unreachable or rejects the request.
    """
    _check_there(uri)
    try:
        with translated(uri):
            client = connect(uri)
            found = _find(client, uri, experiment)
        return tuple(search_runs(client, uri, found))
    except RejectedError as error:
        raise TrackingError(*error.faults) from None


def _check_there(uri: str) -> None:
    """Raise if a local store does not exist, because MLflow would create it."""
    if uri.startswith(SQLITE):
        path = path_of(uri)
    elif "://" not in uri or uri.startswith("file:"):
        path = Path(unquote(urlsplit(uri).path))
        # MLflow reads file stores only on request now; older experiments are in them, and reading is harmless.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    else:
        return
    if not path.exists():
        raise NotFoundError(
            f"{uri}: not found; give the store with --tracking-uri, such as sqlite:////folder/mlflow.db or "
            "http://host:5000"
        )
    if "://" not in uri and path.is_file():
        raise TrackingError(f"{uri}: expected a tracking URI, found a file; write {sqlite_uri(path.absolute())}")


def _find(client: MlflowClient, uri: str, experiment: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(experiment)
    if found is None:
        try:
            found = client.get_experiment(experiment)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            names = [str(item.name) for item in client.search_experiments(max_results=PAGE)]
            near = difflib.get_close_matches(experiment, names, n=1)
            more = f" and {len(names) - NUM_SHOWN} more" if len(names) > NUM_SHOWN else ""
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names[:NUM_SHOWN])}{more}"
            raise NotFoundError(f"{redacted(uri)}: no experiment is called {experiment!r}; {hint}") from None
    if found.lifecycle_stage != "active":
        raise TrackingError(f"{redacted(uri)}: experiment {experiment} was deleted; restore it in MLflow")
    return str(found.experiment_id)


def search_runs(client: MlflowClient, uri: str, experiment_id: str, clause: str = "") -> list[MlflowRun]:
    """Return the runs of an experiment that were not deleted and fulfil a clause of MLflow's filters, oldest first."""
    runs: list[MlflowRun] = []
    token = None
    while True:
        with translated(uri):
            page = client.search_runs(
                [experiment_id],
                filter_string=clause,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
        runs += (
            MlflowRun(
                run_id=run.info.run_id,
                name=run.info.run_name or run.info.run_id,
                status=run.info.status,
                params=dict(run.data.params),
                tags=dict(run.data.tags),
                metrics=dict(run.data.metrics),
            )
            for run in page
        )
        token = page.token
        if not token:
            return runs
