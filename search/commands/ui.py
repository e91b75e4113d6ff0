"""The `ui` command: serves the MLflow UI on a study's store."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping

from search.commands import tether
from search.copies.process import environment
from search.errors import InputError, TrackingError
from search.journal.reading import read_id
from search.runners.session import print_line, tracking_place
from search.study.config import StudyConfig
from search.study.tracking_place import TrackingPlace
from search.uris import redacted


def serve_ui(study: StudyConfig, *, host: str, port: int) -> int:
    """Serve the MLflow UI until Ctrl-C or SIGTERM.

    Args:
        study: The study whose store is served.
        host: Address to listen on.
        port: Port to listen on.

    Returns:
        The server's exit code.

    Raises:
        InputError: Tracking is disabled, the study is tracked on an MLflow server, which has its own UI, or the port is
            in use.
    """
    place = tracking_place(study)
    if place is None:
        raise InputError("tracking.enabled is false for this study, so MLflow has no data of it; set it to true")
    if place.uri.startswith(("http://", "https://")):
        page = _page(study, place, redacted(place.uri))
        raise InputError(f"this study is on an MLflow server: open {page} in a browser")
    _check_free(host, port)
    if host not in {"127.0.0.1", "localhost", "::1"}:
        print_line(f"warning: with --host {host}, everybody who can reach this machine can read and change the runs")
    page = _page(study, place, f"http://{host}:{port}")
    greeting = f"experiment `{place.experiment}` at {page}   (Ctrl-C ends)"
    command = [sys.executable, "-P", "-m", "search.tracking.ui_server", host, str(port), greeting]
    # The address may hold a password, and every user can read command lines. Job execution serves language models
    # only, and would start seven processes and a queue of pickles.
    settings = {"MLFLOW_BACKEND_STORE_URI": place.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return run_tethered(command, settings)


def run_tethered(command: list[str], settings: Mapping[str, str]) -> int:
    """Run a server until it exits, or until Ctrl-C or SIGTERM; its workers are terminated, which frees the port.

    The server is also terminated if this process exits in any other way, such as by a closed terminal or SIGKILL.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    env = {**environment(), **settings, "MLFLOW_DISABLE_TELEMETRY": "true"}
    # A separate process group: Ctrl-C reaches this process only, which then terminates the whole group.
    server = subprocess.Popen(
        [sys.executable, "-P", tether.__file__, *command], env=env, stdin=subprocess.PIPE, start_new_session=True
    )
    assert server.stdin is not None
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=2 * tether.PATIENCE_SECS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        signal.signal(signal.SIGTERM, before)


def _page(study: StudyConfig, place: TrackingPlace, address: str) -> str:
    from search.tracking.page import page_of

    try:
        return page_of(place.uri, place.experiment, address=address, journal_id=read_id(study.folder))
    except TrackingError:
        return address


def _check_free(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host"
        ) from None
