"""The Ray cluster under the trials: joining and leaving it, who is in it, what its nodes have, and noticing its end."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import logging
import math
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search import nodes
from search.data.datasets import DataConfig, default_cache_dir
from search.errors import HybridSearchError, LostClusterError, ResourceError
from search.runners.ray_local import alone, asks_for_token, hide_token
from search.study import ResourcesSection

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Relative paths in study files keep their meaning in the workers.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The journal records; Tune's own CSV, JSON and TensorBoard files and snapshots would only cost time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    # What a trial's failure is, and whether it begins again, is ours to say.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A run that lost its cluster must not start another one by a late call.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
}


for _name, _value in ENVIRONMENT.items():  # Ray reads some of these when it is imported
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray.exceptions import AuthenticationError, RayError, RayTaskError  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

LOOK_SECS = 1.0
"""The nodes are looked at no more often than this."""
CONNECT_SECS = 5.0
"""A head that takes no connection for so long is not there."""
NODE_CHECK_SECS = 180.0
"""A node has so long to tell what it has; its first worker may have to be fetched and started."""
PROBE_SECS = 2.0
HEAD_PATIENCE_SECS = 25.0
"""A head may come back; after a minute without one Ray would end this process by itself, without a word of ours."""
OWN_NODE_PATIENCE_SECS = 4.0
"""This machine's Ray node never comes back for us: this long only in case that the machine is slow."""
LEAVE_SECS = 15.0
HEAD_AWAY = "its head takes no connection"
OWN_NODE_ENDED = "this machine's Ray node has ended"


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where the driver is, for a node that must ask it for images, and what it has."""

    node_id: str
    cache_dir: str
    needs: nodes.Needs
    told: nodes.Told
    checked: frozenset[str]
    """Nodes that have been found to have what they need."""


class Cluster:
    """The cluster that was joined.

    Args:
        resources: What a trial gets.
        address: Its address; None for one of our own on this machine.
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

    def alive(self) -> list[dict[str, Any]]:
        """The living nodes that may be given work, looked at no more than once a second."""
        if time.monotonic() - self._looked_at >= LOOK_SECS:
            draining = ray._private.state.state.get_draining_nodes()  # noqa: SLF001  the public state API needs ray[default]
            table: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            self._known = {node["NodeID"]: name_of(node) for node in table}
            self._dead = {node["NodeID"] for node in table if not node["Alive"]}
            self._alive = [node for node in table if node["NodeID"] not in {*self._dead, *draining}]
            self._looked_at = time.monotonic()
        return self._alive

    def name(self, node_id: str) -> str:
        """What a node is called in the journal."""
        return self._known.get(node_id, node_id[:8] or "unknown")

    def has_left(self, node_id: str) -> bool:
        """Whether a node is gone, or about to go."""
        return all(node["NodeID"] != node_id for node in self.alive())

    def node_of(self, actor_id: str | None) -> str:
        """Where an actor was; empty if it was nowhere yet."""
        if actor_id is None:
            return ""
        found: dict[str, Any] = ray._private.state.actors(actor_id=actor_id)  # noqa: SLF001  see `alive`
        return str(found.get("Address", {}).get("NodeID", ""))

    def check_own_node(self) -> None:
        """Check that the cluster still counts this machine's node: without it every worker of ours is lost.

        Raises:
            LostClusterError: It does not.
        """
        self.alive()
        if ray.get_runtime_context().get_node_id() in self._dead:
            raise lost(self.address or "this machine", OWN_NODE_ENDED)

    def limit(self) -> int:
        """How many trials there may be now: as many as fit, and one that waits where none does."""
        fitting = sum(self._fits(node["Resources"]) for node in self.alive())
        if (fitting == 0) is not self._waiting:
            self._waiting = fitting == 0
            if self._waiting:
                gpus = f" and {self.resources.gpus:g} GPUs" if self.resources.gpus else ""
                _tell(
                    f"no node is left that has {self.resources.cpus:g} CPUs{gpus} for a trial; waiting for one to join"
                )
            else:
                _tell("a node joined; going on")
        return max(1, min(fitting, self.resources.concurrency or fitting))

    def _fits(self, have: dict[str, float]) -> int:
        fits = math.floor(have.get("CPU", 0.0) / self.resources.cpus + 1e-9)
        if self.resources.gpus:
            fits = min(fits, math.floor(have.get("GPU", 0.0) / self.resources.gpus + 1e-9))
        return fits

    def check_request(self) -> None:
        """Check that some node can meet a trial's request.

        Raises:
            ResourceError: With the numbers.
        """
        resources, have = self.resources, [node["Resources"] for node in self.alive()]
        faults = []
        for word, wanted in (("gpus", resources.gpus), ("cpus", resources.cpus)):
            most = max((node.get(word[:-1].upper(), 0.0) for node in have), default=0.0)
            if wanted > most:
                faults.append(
                    f"resources.{word}: a trial asks for {wanted:g}, and no node has more than {most:g} "
                    f"({len(have)} node(s)); lower it"
                )
        if not faults and not any(map(self._fits, have)):
            faults.append(
                f"resources: no node has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs together; lower one of "
                "them"
            )
        if faults:
            raise ResourceError(*faults)

    @contextlib.contextmanager
    def checked(self, needs: nodes.Needs) -> Iterator[Home | None]:
        """Check that every node has what the study needs, and let the ones that join later check themselves.

        Yields:
            What they need for that; None in a cluster of our own.

        Raises:
            ResourceError: One line per node.
        """
        if self.address is None:
            if needs.bfloat16:
                here = nodes.look(dataclasses.replace(needs, folder=None))
                if fault := nodes.fault_of(socket.gethostname(), dataclasses.replace(needs, folder=None), here, here):
                    raise ResourceError(fault)
            yield None
            return
        mark = None if needs.folder is None else Path(needs.folder) / nodes.MARK
        try:
            if mark is not None:
                mark.write_text(uuid.uuid4().hex, encoding="utf-8")
            told = nodes.look(needs)
            self._check(needs, told)
            yield Home(
                node_id=ray.get_runtime_context().get_node_id(),
                cache_dir=str(default_cache_dir().absolute()),
                needs=needs,
                told=told,
                checked=frozenset(self._checked),
            )
        finally:
            if mark is not None:
                mark.unlink(missing_ok=True)

    def _check(self, needs: nodes.Needs, driver: nodes.Told) -> None:
        asked = {}
        for node in self.alive():
            node_id = node["NodeID"]
            if node_id not in self._checked and self._fits(node["Resources"]):
                there = NodeAffinitySchedulingStrategy(node_id, soft=False)
                asked[_look.options(scheduling_strategy=there).remote(needs)] = node_id
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=NODE_CHECK_SECS) if asked else ([], [])
        faults = [
            f"node {self.name(asked[ref])}: expected its versions within {NODE_CHECK_SECS:g} s, found no answer; look "
            "at Ray's logs there, or take the node out"
            for ref in late
        ]
        for ref in done:
            node_id = asked[ref]
            try:
                fault = nodes.fault_of(self.name(node_id), needs, ray.get(ref), driver)
            except (RayError, ImportError) as error:
                self._looked_at = -math.inf
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
def _look(needs: nodes.Needs) -> nodes.Told:
    return nodes.look(needs)


@ray.remote(num_cpus=0, max_retries=0)
def _send(config: DataConfig, cache_dir: str) -> Iterator[tuple[str, bytes]]:
    """Read the driver's decoded images on the driver's node."""
    from search.data.store import open_data, send

    yield from send(open_data(config, Path(cache_dir)))


def fetch(home: Home) -> Iterator[tuple[str, bytes]]:
    """Fetch the decoded images from the driver's node, through Ray's object store, a few pieces ahead.

    Raises:
        RayError: They cannot be had.
    """
    there = NodeAffinitySchedulingStrategy(home.node_id, soft=False)
    options = {"scheduling_strategy": there, "_generator_backpressure_num_objects": 4}
    pieces: Any = _send.options(**options).remote(home.needs.data, home.cache_dir)
    for ref in pieces:
        yield ray.get(ref)


def name_of(node: dict[str, Any]) -> str:
    """Host and node: several nodes may be on one host."""
    return f"{node['NodeManagerHostname']}/{node['NodeID'][:8]}"


def last_line(error: BaseException) -> str:
    """What an error from a node says, in one line."""
    cause = getattr(error, "cause", None) if isinstance(error, RayTaskError) else None
    if isinstance(cause, BaseException):
        return " ".join(f"{type(cause).__name__}: {cause}".split())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class Watch:
    """Notices that the cluster went away. It asks for no more than a connection: Ray's own calls would wait."""

    def __init__(self, cluster: Cluster) -> None:
        context = ray.get_runtime_context()
        me = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())  # type: ignore[no-untyped-call]
        host, _, port = context.gcs_address.rpartition(":")
        own = me["NodeManagerAddress"], me["NodeManagerPort"]
        self._name = cluster.address or "this machine"
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
            if _takes_connections(host, port, PROBE_SECS):
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


def _takes_connections(host: str, port: int, secs: float) -> bool:
    try:
        socket.create_connection((host, port), timeout=secs).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def cluster(resources: ResourcesSection) -> Iterator[Cluster]:
    """Join the cluster of `resources.address`, or start a local one; leave it at the end.

    Raises:
        ResourceError: The cluster cannot be reached, or can never meet a trial's request.
    """
    if ray.is_initialized():
        joined = Cluster(resources, resources.address)
        joined.check_request()
        yield joined
        return
    address = resources.address
    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False, "configure_logging": True}
    # Ray prints pages of its nodes' logs here when one of them ends; what matters to a trial is in its record.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # noqa: SLF001
    stack = contextlib.ExitStack()
    if address is None:
        options |= {"include_dashboard": resources.dashboard, **stack.enter_context(alone())}
    else:
        _check_address(address)
        # The nodes need Ray and the locked requirements; the project itself travels along.
        environment = {
            "py_modules": [str(folder) for folder in nodes.package_folders()],
            "excludes": ["__pycache__"],
            "env_vars": {name: value for name, value in ENVIRONMENT.items() if name.startswith("RAY_")},
        }
        options |= {"address": address, "runtime_env": environment}
    gone = False
    try:
        try:
            context: Any = ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as error:
            raise _no_cluster(address, error) from None
        hide_token()
        if address is not None:
            _warn_of_dashboard(str(context.address_info.get("webui_url") or ""))
            if not asks_for_token():
                _tell(
                    "warning: this Ray cluster asks for no token, so whoever reaches its ports runs code as its user: "
                    "start every node with RAY_AUTH_MODE=token, see docs/security.md"
                )
        joined = Cluster(resources, address)
        joined.check_request()
        yield joined
    except LostClusterError:
        gone = True
        raise
    finally:
        # Taking leave of a cluster that is not there may wait for it.
        leaving = threading.Thread(target=ray.shutdown, daemon=True)
        leaving.start()
        leaving.join(LEAVE_SECS if gone else None)
        stack.close()


def _check_address(address: str) -> None:
    """Refuse at once what Ray would try for minutes."""
    if address.startswith("ray://"):
        raise ResourceError(
            f"resources.address: {address} is a Ray client's address, expected host:port of the head (or auto) from a "
            "machine that is a node itself: `ray start --address=host:6379` there, then run this command there"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and not _takes_connections(host.strip("[]"), int(port), CONNECT_SECS):
        raise _no_cluster(address, ConnectionError("nothing answers there"))


def _no_cluster(address: str | None, error: Exception) -> HybridSearchError:
    reason = " ".join(str(error).split())
    if isinstance(error, AuthenticationError) or "authentication" in reason.lower() or "token" in reason.lower():
        return ResourceError(
            f"resources.address: the Ray cluster at {address} takes this token not ({reason[:120]}...); give this "
            "machine the head's token: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
        )
    if "ersion mismatch" in reason:
        return ResourceError(f"resources.address: {reason}; use the same versions on all nodes")
    return ResourceError(
        f"resources.address: no Ray cluster at {address or 'this machine'} ({reason[:300]}); "
        "start one with `ray start --head`, or leave the address out"
    )


def _warn_of_dashboard(address: str) -> None:
    host = address.rpartition(":")[0].strip("[]")
    if not host or host == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    _tell(
        f"warning: Ray's dashboard listens at {address}, not on loopback only; whoever reaches it may run code on the "
        "cluster: start the head with --dashboard-host=127.0.0.1, or keep that port closed"
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
