"""Detect that the Ray cluster was lost."""

from __future__ import annotations

import socket
import time

from search.errors import LostClusterError
from search.runners import ray_settings  # noqa: F401  before Ray

# isort: split
import ray

PROBE_SECS = 2.0
HEAD_PATIENCE_SECS = 25.0
"""A head may restart within this time; after a minute without one Ray ends this process without a message."""
OWN_NODE_PATIENCE_SECS = 4.0
"""This machine's Ray node never restarts; this only allows for a slow machine."""
HEAD_AWAY = "its head accepts no connection"
OWN_NODE_ENDED = "this machine's Ray node has ended"


class Watch:
    """Detects that the cluster was lost, by opening connections only: Ray's own calls would block.

    Args:
        address: Address of the cluster; None for a local one.
    """

    def __init__(self, address: str | None) -> None:
        context = ray.get_runtime_context()
        me = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())  # type: ignore[no-untyped-call]
        host, _, port = context.gcs_address.rpartition(":")
        own = me["NodeManagerAddress"], me["NodeManagerPort"]
        self._name = address or "this machine"
        self._doors = {
            HEAD_AWAY: (host, int(port), HEAD_PATIENCE_SECS),
            OWN_NODE_ENDED: (*own, OWN_NODE_PATIENCE_SECS),
        }
        self._open_at = dict.fromkeys(self._doors, time.monotonic())
        self._asked_at = time.monotonic()

    def check(self) -> None:
        """Probe the cluster, at most every two seconds.

        Raises:
            LostClusterError: It has been unreachable for too long.
        """
        if time.monotonic() - self._asked_at >= PROBE_SECS:
            self.probe()

    def probe(self) -> bool:
        """Probe the cluster now.

        Returns:
            Whether its head and this machine's node accept connections.

        Raises:
            LostClusterError: One of them has been unreachable for too long.
        """
        self._asked_at = time.monotonic()
        there = True
        for why, (host, port, patience) in self._doors.items():
            if takes_connections(host, port, PROBE_SECS):
                self._open_at[why] = time.monotonic()
                continue
            there = False
            if time.monotonic() - self._open_at[why] >= patience:
                raise lost_cluster_error(self._name, why)
        return there

    def wait_for_verdict(self) -> None:
        """Wait, after an error of Ray's, until the cluster is reachable again or lost.

        Raises:
            LostClusterError: It is lost.
        """
        while not self.probe():
            time.sleep(PROBE_SECS / 2)


def lost_cluster_error(name: str, why: str) -> LostClusterError:
    """Return the error for a lost cluster."""
    return LostClusterError(
        f"lost the Ray cluster at {name}: {why}; everything is saved, run the same command again to continue"
    )


def takes_connections(host: str, port: int, secs: float) -> bool:
    """Return whether a port accepts connections within `secs` seconds."""
    try:
        socket.create_connection((host, port), timeout=secs).close()
    except OSError:
        return False
    return True
