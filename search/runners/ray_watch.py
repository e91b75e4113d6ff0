"""Noticing that the Ray cluster went away."""

from __future__ import annotations

import socket
import time

from search.errors import LostClusterError
from search.runners import ray_settings  # noqa: F401  before Ray

# isort: split
import ray

PROBE_SECS = 2.0
HEAD_PATIENCE_SECS = 25.0
"""A head may come back; after a minute without one Ray would end this process by itself, without a word of ours."""
OWN_NODE_PATIENCE_SECS = 4.0
"""This machine's Ray node never comes back for us: this long only in case that the machine is slow."""
HEAD_AWAY = "its head takes no connection"
OWN_NODE_ENDED = "this machine's Ray node has ended"


class Watch:
    """Notices that the cluster went away. It asks for no more than a connection: Ray's own calls would wait."""

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
        """Look whether the cluster is there; every two seconds at most.

        Raises:
            LostClusterError: It has been away for too long.
        """
        if time.monotonic() - self._asked_at >= PROBE_SECS:
            self.look()

    def look(self) -> bool:
        """Look now.

        Returns:
            Whether everything that this process needs is there.
        """
        self._asked_at = time.monotonic()
        there = True
        for why, (host, port, patience) in self._doors.items():
            if takes_connections(host, port, PROBE_SECS):
                self._open_at[why] = time.monotonic()
                continue
            there = False
            if time.monotonic() - self._open_at[why] >= patience:
                raise lost(self._name, why)
        return there

    def wait_for_verdict(self) -> None:
        """After a fault of Ray's: wait until the cluster is there, or for sure not.

        Raises:
            LostClusterError: It is gone.
        """
        while not self.look():
            time.sleep(PROBE_SECS / 2)


def lost(name: str, why: str) -> LostClusterError:
    """Say that the cluster went away."""
    return LostClusterError(f"lost the Ray cluster at {name}: {why}; everything is saved, the same command goes on")


def takes_connections(host: str, port: int, secs: float) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=secs).close()
    except OSError:
        return False
    return True
