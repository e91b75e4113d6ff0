"""The MLflow UI on a study's store."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping

from search.commands import tether
from search.errors import InputError
from search.runners.session import say, tracking_place
from search.study.config import StudyConfig


def serve_ui(study: StudyConfig, *, host: str, port: int) -> int:
    """Serve the UI until Ctrl-C or SIGTERM.

    Returns:
        The server's exit code.

    Raises:
        InputError: Tracking is switched off, a server of its own shows this study, or the port is taken.
    """
    place = tracking_place(study)
    if place is None:
        raise InputError("tracking.enabled is false for this study: there is nothing in MLflow to look at")
    if place.uri.startswith(("http://", "https://")):
        raise InputError(f"this study is on an MLflow server: open {place.uri} in a browser")
    _check_free(host, port)
    if host not in {"127.0.0.1", "localhost", "::1"}:
        say(f"warning: {host} lets everybody who can reach this machine read and change the runs")
    say(f"experiment `{place.experiment}` at {_page(place.uri, place.experiment, host, port)}   (Ctrl-C ends)")
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    # The address is not on the command line, which everybody on this machine may read. Jobs are for language models:
    # seven processes and a queue of pickles.
    settings = {"MLFLOW_BACKEND_STORE_URI": place.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return run_tethered(command, settings)


def run_tethered(command: list[str], settings: Mapping[str, str]) -> int:
    """Run a server until it ends, or Ctrl-C or SIGTERM; its workers end with it, so that the port is free again.

    The server ends as well when this process does, whatever ends it: a closed terminal, or SIGKILL.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    env = {**os.environ, **settings, "MLFLOW_DISABLE_TELEMETRY": "true"}
    # A process group of its own: Ctrl-C in the terminal is for this process, which then ends all of them.
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


def _page(uri: str, experiment: str, host: str, port: int) -> str:
    from search.tracking.mlflow_client import connect, runs_page, translated

    with translated(uri):
        found = connect(uri).get_experiment_by_name(experiment)
    address = f"http://{host}:{port}"
    return address if found is None else runs_page(address, found.experiment_id)


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
