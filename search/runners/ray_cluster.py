"""Nodes of the Ray cluster: their state and capacity, their check, and the transfer of images to them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.console.messages import print_line
from search.data.datasets import DataConfig, default_cache_dir
from search.errors import ResourceError
from search.runners import node_check as nodes
from search.runners import ray_settings  # noqa: F401  before Ray
from search.runners.ray_watch import OWN_NODE_ENDED, PROBE_SECS, lost_cluster_error, takes_connections
from search.study.config import ResourcesSection

# isort: split
import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LOOK_SECS = 1.0
"""Minimum seconds between two updates of the node list."""
NODE_CHECK_SECS = 180.0
"""Seconds within which a node must report; its first worker may have to be downloaded and started."""


@dataclass(frozen=True, kw_only=True)
class DriverInfo:
    """The driver's node and report, sent to workers so that late nodes can check themselves and fetch images."""

    node_id: str
    cache_dir: str
    needs: nodes.NodeRequirements
    told: nodes.NodeReport
    checked: frozenset[str]
    """Ids of nodes that passed the check."""


class Cluster:
    """The Ray cluster that this process has joined. Not thread-safe.

    Args:
        resources: Resources of a trial.
        address: Address of the cluster; None for a local one started by this process.
    """

    def __init__(self, resources: ResourcesSection, address: str | None) -> None:
        self.resources = resources
        self.address = address
        self._looked_at = -math.inf
        self._alive: list[dict[str, Any]] = []
        self._checked: set[str] = set()
        self._waiting = False
        self._dead: set[str] = set()
        self._known: dict[str, str] = {}

    def update_nodes(self) -> None:
        """Update the node list, at most once a second. Blocks while the cluster's head is unreachable."""
        if time.monotonic() - self._looked_at >= LOOK_SECS:
            draining = ray._private.state.state.get_draining_nodes()  # noqa: SLF001  the public state API needs ray[default]
            table: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            self._known = {node["NodeID"]: name_of(node) for node in table}
            self._dead = {node["NodeID"] for node in table if not node["Alive"]}
            self._alive = [node for node in table if node["NodeID"] not in {*self._dead, *draining}]
            self._looked_at = time.monotonic()

    def name(self, node_id: str) -> str:
        """Return the name of a node in the journal, `host/id`."""
        return self._known.get(node_id, node_id[:8] or "unknown")

    def has_left(self, node_id: str) -> bool:
        """Return whether a node has left or is draining. Its own port is probed too, because Ray reports this late."""
        node = next((node for node in self._alive if node["NodeID"] == node_id), None)
        return node is None or not takes_connections(node["NodeManagerAddress"], node["NodeManagerPort"], PROBE_SECS)

    def node_of(self, actor_id: str | None) -> str:
        """Return the id of the node that an actor ran on; empty if it ran on none."""
        if actor_id is None:
            return ""
        found: dict[str, Any] = ray._private.state.actors(actor_id=actor_id)  # noqa: SLF001  see `look`
        return str(found.get("Address", {}).get("NodeID", ""))

    def check_own_node(self) -> None:
        """Check that the cluster still counts this machine's node as alive; otherwise all workers of this job are lost.

        Raises:
            LostClusterError: The node counts as dead.
        """
        if ray.get_runtime_context().get_node_id() in self._dead:
            raise lost_cluster_error(self.address or "this machine", OWN_NODE_ENDED)

    def limit(self) -> int:
        """Return how many trials may run now: as many as fit, or 1 that waits if none fits."""
        fitting = sum(self._fits(node["Resources"]) for node in self._alive)
        if (fitting == 0) is not self._waiting:
            self._waiting = fitting == 0
            if self._waiting:
                needs = f"cpus: {self.resources.cpus:g}, gpus: {self.resources.gpus:g}"
                print_line(f"no node has the resources of a trial now ({needs}); waiting for a node to join")
            else:
                print_line("a node joined; continuing")
        return max(1, min(fitting, self.resources.concurrency or fitting))

    def _fits(self, have: dict[str, float]) -> int:
        return nodes.trials_that_fit(self.resources, have)

    def check_request(self) -> None:
        """Check that some node can meet a trial's request.

        Raises:
            ResourceError: No node can; the message has the requested and available numbers.
        """
        self.update_nodes()
        if faults := nodes.request_faults(self.resources, [node["Resources"] for node in self._alive]):
            raise ResourceError(*faults)

    @contextlib.contextmanager
    def checked(self, needs: nodes.NodeRequirements) -> Iterator[DriverInfo | None]:
        """Check that every node has what the study needs. Nodes that join later check themselves.

        Args:
            needs: Requirements of the study.

        Yields:
            What later nodes need for their check; None for a local cluster.

        Raises:
            ResourceError: One line per unsuitable node.
        """
        if self.address is None:
            if needs.bfloat16:
                here = nodes.inspect_node(dataclasses.replace(needs, folder=None))
                if fault := nodes.fault_of(socket.gethostname(), dataclasses.replace(needs, folder=None), here, here):
                    raise ResourceError(fault)
            yield None
            return
        mark = None if needs.folder is None else Path(needs.folder) / nodes.MARK
        try:
            if mark is not None:
                mark.write_text(uuid.uuid4().hex, encoding="utf-8")
            told = nodes.inspect_node(needs)
            self._check(needs, told)
            yield DriverInfo(
                node_id=ray.get_runtime_context().get_node_id(),
                cache_dir=str(default_cache_dir().absolute()),
                needs=needs,
                told=told,
                checked=frozenset(self._checked),
            )
        finally:
            if mark is not None:
                mark.unlink(missing_ok=True)

    def _check(self, needs: nodes.NodeRequirements, driver: nodes.NodeReport) -> None:
        self.update_nodes()
        asked = {}
        for node in self._alive:
            node_id = node["NodeID"]
            if node_id not in self._checked and self._fits(node["Resources"]):
                there = NodeAffinitySchedulingStrategy(node_id, soft=False)
                asked[_inspect_node.options(scheduling_strategy=there).remote(needs)] = node_id
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=NODE_CHECK_SECS) if asked else ([], [])
        faults = [
            f"node {self.name(asked[ref])}: expected its versions within {NODE_CHECK_SECS:g} s, found no answer; "
            "check Ray's logs there, or remove the node"
            for ref in late
        ]
        for ref in done:
            node_id = asked[ref]
            try:
                fault = nodes.fault_of(self.name(node_id), needs, ray.get(ref), driver)
            except (RayError, ImportError) as error:
                self._looked_at = -math.inf
                self.update_nodes()
                if self.has_left(node_id):
                    continue
                fault = (
                    f"node {self.name(node_id)}: expected a Python that runs this project, found {last_line(error)}; "
                    "install the locked requirements there"
                )
            if fault is None:
                self._checked.add(node_id)
            else:
                faults.append(fault)
        if faults:
            raise ResourceError(*sorted(faults))


@ray.remote(num_cpus=0, max_retries=0)
def _inspect_node(needs: nodes.NodeRequirements) -> nodes.NodeReport:
    return nodes.inspect_node(needs)


@ray.remote(num_cpus=0, max_retries=0)
def _send(config: DataConfig, cache_dir: str) -> Iterator[tuple[str, bytes]]:
    """Read the driver's decoded images; runs on the driver's node."""
    from search.data.store import open_data, send

    yield from send(open_data(config, Path(cache_dir)))


def fetch(home: DriverInfo) -> Iterator[tuple[str, bytes]]:
    """Fetch the decoded images from the driver's node through Ray's object store, up to four pieces ahead.

    Args:
        home: The driver's node.

    Yields:
        The pieces as `search.data.store.send` yields them.

    Raises:
        RayError: The images cannot be transferred.
    """
    there = NodeAffinitySchedulingStrategy(home.node_id, soft=False)
    options = {"scheduling_strategy": there, "_generator_backpressure_num_objects": 4}
    pieces: Any = _send.options(**options).remote(home.needs.data, home.cache_dir)
    for ref in pieces:
        yield ray.get(ref)


def name_of(node: dict[str, Any]) -> str:
    """Return a node's name, `host/id`; one host may run several nodes."""
    return f"{node['NodeManagerHostname']}/{node['NodeID'][:8]}"


def last_line(error: BaseException) -> str:
    """Return the cause of an error from a node in one line."""
    cause = getattr(error, "cause", None) if isinstance(error, RayTaskError) else None
    if isinstance(cause, BaseException):
        return " ".join(f"{type(cause).__name__}: {cause}".split())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
