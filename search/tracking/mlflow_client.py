"""Connect to MLflow: addresses, time limits, and translation of its many exceptions into a few."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from search.errors import HybridSearchError, TrackingError
from search.tracking import mlflow_database
from search.tracking.sqlite_uri import SQLITE, path_of, sqlite_uri
from search.uris import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_SECS = 4
"""Seconds that `check_uri` waits for an answer."""
ANSWER_SECS = 60.0
"""Time limit in seconds of a request with its answer; MLflow's own limit restarts with each byte received."""
UPLOAD_SECS = 1800.0
"""The same for requests that send files."""
_ENVIRONMENT = {
    # MLflow's defaults (7 retries of 120 s) would block on an unreachable server; the mirror retries by itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_PERMANENT = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"}
_FORGOTTEN = "RESOURCE_DOES_NOT_EXIST"
_REASONS = (
    (
        "Invalid Host header",
        "403: the server's host check refuses this name; start it with --allowed-hosts, or use its address",
    ),
    (
        "error code 401",
        "401: not signed in; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    ("error code 403", "403: forbidden for this user; ask for access"),
    ("Connection refused", "connection refused; start the server, or correct the address"),
    ("Name or service not known", "unknown host name; correct the address"),
    ("name resolution", "unknown host name; correct the address"),
    ("timed out", "no answer in time; check the address and the network"),
)
"""Part of MLflow's message -> one line for the user."""
_STATUS = {"UNAUTHENTICATED": "error code 401", "PERMISSION_DENIED": "error code 403"}


class RejectedError(HybridSearchError):
    """MLflow rejected a request that it will never accept, so a retry is useless."""


class ForgottenError(TrackingError):
    """MLflow lost an object it had: the address leads to another database, or runs were deleted permanently."""


def default_uri(storage: Path) -> str:
    """Return the default tracking URI: an SQLite file in the storage folder."""
    return sqlite_uri(storage.expanduser().absolute() / "mlflow.db")


def runs_page(address: str, experiment_id: str) -> str:
    """Return the page with an experiment's runs; the server's front page shows traces of language models instead.

    >>> runs_page("http://localhost:5000/", "3")
    'http://localhost:5000/#/experiments/3/runs?workflowType=machine_learning'
    """
    return f"{address.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


def check_uri(uri: str) -> None:
    """Check within about 5 s that a tracking server answers, or that an SQLite file can be written.

    Args:
        uri: MLflow tracking URI.

    Raises:
        TrackingError: The server refuses or is unreachable, or the file cannot be written; the message has the reason.
    """
    if uri.startswith(SQLITE):
        _check_writable(path_of(uri))
        return
    before = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT")
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(PROBE_SECS)
    try:
        with translated(uri, secs=PROBE_SECS + 1):
            connect(uri).search_experiments(max_results=1)
    except RejectedError as error:
        raise TrackingError(*error.faults) from None
    finally:
        del os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
        if before is not None:
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = before


def _check_writable(file: Path) -> None:
    if file.is_dir():
        raise TrackingError(f"tracking.uri: {file} is a folder; give a file in it")
    there = next(path for path in (file, *file.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK) or not (there == file or there.is_dir()):
        raise TrackingError(f"tracking.uri: {file} cannot be written; choose another place")


def connect(uri: str) -> MlflowClient:
    """Return a client with explicit addresses and short time limits. No request is sent to a server yet.

    An SQLite database is created or migrated first, by one process at a time.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import logging

    from mlflow import MlflowClient

    # Its exceptions are reported in one line; its own log would repeat them with a traceback.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    mlflow_database.prepare(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def artifact_location(uri: str, experiment: str) -> str | None:
    """Return a folder beside the SQLite file, as MLflow's default is the working folder; None for a server."""
    if not uri.startswith(SQLITE):
        return None
    folder = path_of(uri).absolute().parent / "mlartifacts" / quote(experiment, safe=" ")
    return folder.as_uri()


@contextlib.contextmanager
def translated(uri: str, *, secs: float = ANSWER_SECS) -> Iterator[None]:
    """Translate exceptions of MLflow, its database or its artifact store into one-line errors of this project.

    Args:
        uri: Tracking URI.
        secs: Time limit in seconds of everything in the context, if the URI is a server's.

    Raises:
        RejectedError: MLflow will never accept the request.
        ForgottenError: MLflow no longer has the object.
        TrackingError: Anything else, such as an unreachable server; a retry may succeed.
    """
    from mlflow.exceptions import MlflowException

    try:
        with _within(secs) if uri.startswith("http") else contextlib.nullcontext():
            yield
    except HybridSearchError:
        raise
    except MlflowException as error:
        mlflow_database.forget(uri)
        line = f"{redacted(uri)}: {_reason(error)}"
        kind = RejectedError if error.error_code in _PERMANENT else TrackingError
        raise (ForgottenError if error.error_code == _FORGOTTEN else kind)(line) from error
    except Exception as error:
        # Artifact stores raise various exceptions: OSError, requests, botocore.
        raise TrackingError(f"{redacted(uri)}: {_reason(error)}") from error


@contextlib.contextmanager
def _within(secs: float) -> Iterator[None]:
    """Raise TimeoutError after `secs` seconds; only in the main thread, as signals work in no other."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        msg = f"timed out: no complete answer within {secs:.0f} s"
        raise TimeoutError(msg)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, secs)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reason(error: Exception) -> str:
    text = str(error)
    # A rejection in JSON has its status in the error code, one in plain text in the message.
    text = f"{text}\n{_STATUS.get(getattr(error, 'error_code', ''), '')}"
    for mark, reason in _REASONS:
        if mark in text:
            return reason
    return text.splitlines()[0][:300] or type(error).__name__
