"""Join and leave a Ray cluster, and explain failures to join in one line."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from search.console.messages import print_line
from search.errors import HybridSearchError, LostClusterError, ResourceError
from search.runners import node_check as nodes
from search.runners.ray_cluster import Cluster
from search.runners.ray_local import alone, asks_for_token, hide_token
from search.runners.ray_settings import ENVIRONMENT
from search.runners.ray_watch import takes_connections
from search.study.config import ResourcesSection

# isort: split
import ray
from ray.exceptions import AuthenticationError
from ray.job_config import JobConfig

CONNECT_SECS = 5.0
"""Seconds after which a head that accepts no connection counts as absent."""
LEAVE_SECS = 15.0
"""Longest wait in seconds for a lost cluster to shut down; `ray.shutdown` may hang."""
SIGNAL_SECS = 0.05
"""Interval in seconds at which the SIGTERM handler is restored while Ray shuts down, because Ray removes it."""


class _Job(JobConfig):
    """A Ray job whose workers do not import from the driver's working folder.

    Ray puts that folder first on each worker's path, where a user's `search.py` or `spaces/` would shadow the
    installed packages.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        # True keeps the driver's folder off the path, which a source tree needs for the packages themselves.
        return all(folder.parent != Path.cwd() for folder in nodes.package_folders())


@contextlib.contextmanager
def cluster(resources: ResourcesSection) -> Iterator[Cluster]:
    """Join the cluster at `resources.address` or start a local one, and leave it at the end.

    Args:
        resources: Resources of a trial, with the cluster's address.

    Yields:
        The cluster.

    Raises:
        ResourceError: The cluster cannot be reached, or can never meet a trial's request.
    """
    if ray.is_initialized():
        joined = Cluster(resources, resources.address)
        joined.check_request()
        yield joined
        return
    address = resources.address
    options: dict[str, Any] = {
        "job_config": _Job(),
        "logging_level": logging.CRITICAL,
        "log_to_driver": False,
        "configure_logging": True,
    }
    # Ray prints the logs of a node that ends here; what matters to a trial is in its record.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # noqa: SLF001
    stack = contextlib.ExitStack()
    if address is None:
        options |= {"include_dashboard": resources.dashboard, **stack.enter_context(alone())}
    else:
        check_address(address)
        # Nodes need Ray and the locked requirements; Ray sends the project's packages.
        environment = {
            "py_modules": [str(folder) for folder in nodes.package_folders()],
            "excludes": ["__pycache__"],
            "env_vars": {name: value for name, value in ENVIRONMENT.items() if name.startswith("RAY_")},
        }
        options |= {"address": address, "runtime_env": environment}
    gone = False
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with _errors_aside() as printed:
            try:
                context: Any = ray.init(**options)
            except SystemExit:  # raised by Ray's own SIGTERM handler, which is active until ours is restored
                raise KeyboardInterrupt from None
            except Exception as error:  # noqa: BLE001  Ray raises a plain one if a node starts too slowly
                raise _no_cluster(address, error, printed()) from None
            finally:
                _put_back(on_sigterm)
        hide_token()
        if address is not None:
            _warn_of_dashboard(str(context.address_info.get("webui_url") or ""))
            if not asks_for_token():
                print_line(
                    "warning: this Ray cluster requires no token, so anybody who reaches its ports can run code as "
                    "its user: start every node with RAY_AUTH_MODE=token, see docs/security.md"
                )
        joined = Cluster(resources, address)
        joined.check_request()
        yield joined
    except LostClusterError:
        gone = True
        raise
    finally:
        with stack:
            _leave(LEAVE_SECS if gone else math.inf, on_sigterm)


def _leave(secs: float, on_sigterm: Any) -> None:  # noqa: ANN401
    """Shut Ray down, waiting at most `secs` seconds: with a lost cluster it may hang."""
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    until = time.monotonic() + secs
    while leaving.is_alive() and time.monotonic() < until:
        leaving.join(SIGNAL_SECS)
        _put_back(on_sigterm)


def _put_back(on_sigterm: Any) -> None:  # noqa: ANN401
    """Restore this program's SIGTERM handler.

    Ray's Python code installs a handler that exits, its C++ code one that prints a stack and dies; shutdown sets none.
    """
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def check_address(address: str) -> None:
    """Check the form of a cluster's address and that it accepts connections; Ray would retry a wrong one for minutes.

    Raises:
        ResourceError: The address is malformed, or nothing answers there.
    """
    if address.startswith("ray://"):
        raise ResourceError(
            f"resources.address: {address} is a Ray client's address, expected host:port of the head (or auto) from a "
            "machine that is a node itself: `ray start --address=host:6379` there, then run this command there"
        )
    host, _, port = address.rpartition(":")
    if address not in {"auto", "local"} and not (host and port.isdigit()):
        raise ResourceError(f"resources.address: expected host:port, such as 10.0.0.1:6379, or auto, found {address!r}")
    if port.isdigit() and not takes_connections(host.strip("[]"), int(port), CONNECT_SECS):
        raise _no_cluster(address, ConnectionError("no answer"))


@contextlib.contextmanager
def _errors_aside() -> Iterator[Callable[[], str]]:
    """Capture standard error, where Ray's C++ code prints repeatedly why it cannot join."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(kept.fileno(), 2)

        def printed() -> str:
            kept.seek(0)
            return kept.read().decode(errors="replace")

        try:
            yield printed
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _no_cluster(address: str | None, error: Exception, printed: str = "") -> HybridSearchError:
    reason = " ".join(str(error).split())
    if isinstance(error, AuthenticationError) or "Unauthenticated" in printed:
        missing = "found none here" if isinstance(error, AuthenticationError) else "found another one or none here"
        return ResourceError(
            f"resources.address: expected the token of the Ray cluster at {address}, {missing}; set "
            "RAY_AUTH_MODE=token and put the head's token into RAY_AUTH_TOKEN, or into ~/.ray/auth_token"
        )
    if "ersion mismatch" in reason:
        return ResourceError(f"resources.address: {reason}; use the same versions on all nodes")
    return ResourceError(
        f"resources.address: no Ray cluster at {address or 'this machine'} ({reason[:300]}); start one with `ray "
        "start --head`, or remove the address"
    )


def _warn_of_dashboard(address: str) -> None:
    host = address.rpartition(":")[0].strip("[]")
    if not host or host == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    print_line(
        f"warning: Ray's dashboard listens at {address}, not on loopback only; anybody who reaches it can run code on "
        "the cluster: start the head with --dashboard-host=127.0.0.1, or keep that port closed"
    )
