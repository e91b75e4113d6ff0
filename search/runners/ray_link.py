"""State shared by Tune's hooks and the dispatcher: running trainings, retries after a lost worker, and the end."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from search.console.messages import print_line
from search.errors import ResourceError, StorageFaultError
from search.records import Progress
from search.runners.assignment import Assignment
from search.runners.dispatcher import Dispatcher
from search.runners.ray_cluster import Cluster, last_line
from search.storage.disk import describe_fault, find_fault
from search.text.counted import counted
from search.uris import redacted

# isort: split
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.search import Searcher

SETTLE_SECS = 2.0
"""Seconds to watch a node after its worker died, before the death counts: the node may be failing itself."""
STOP_SECS = 5.0
"""Seconds after an interrupt within which a training must report before it is killed."""
MAX_NODE_LOSSES = 5
"""Node losses in a row, without a new epoch, after which a training fails: it may crash the nodes itself."""
MAX_BAD_STARTS = 3
"""Failed worker starts in a row of one training after which the run ends: the cluster needs a repair."""
REASON_CHARS = 300
"""Maximum length of a reason; Ray's messages about dead workers are long."""


class KilledForMemoryError(RayActorError):
    """Ray's memory monitor killed the worker."""


class NotStartedError(RayActorError):
    """The worker could not be started for a reason outside the training, such as its environment or node."""


class _ActorManager(RayActorManager):
    """Reports every lost actor as one of the two losses that Tune handles; any other error would end the run."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:  # noqa: ANN401
        tracked = tracked_actor_task._tracked_actor  # noqa: SLF001
        super()._actor_task_failed(tracked_actor_task, self._as_lost(tracked, exception, RayActorError))

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:  # noqa: ANN401
        super()._actor_start_failed(tracked_actor, self._as_lost(tracked_actor, exception, NotStartedError))

    def _as_lost(self, tracked: Any, exception: Exception, kind: type[RayActorError]) -> Exception:  # noqa: ANN401
        if isinstance(exception, RayActorError | RayTaskError) or not isinstance(exception, RayError):
            return exception
        actor = self._live_actors_to_ray_actors_resources.get(tracked)
        kind = KilledForMemoryError if isinstance(exception, OutOfMemoryError) else kind
        actor_id = actor[0]._actor_id.hex() if actor else None  # noqa: SLF001
        return kind(actor_id=actor_id, error_msg=str(exception))  # type: ignore[arg-type]


tune_controller.RayActorManager = _ActorManager  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """A training whose worker was lost, until the cause is known."""

    assignment: Assignment
    node_id: str
    """Id of the worker's node; empty if it was not placed yet."""
    begun: bool
    how: str
    reason: str
    since: float


@dataclass
class _FailureCounts:
    """Counts of lost workers of one training."""

    num_deaths: int = 0
    num_node_losses: int = 0
    """Since its last new epoch."""
    num_bad_starts: int = 0
    """Since it last started."""
    last_epoch: int = 0


class Link:
    """The dispatcher and its running trainings, shared by Tune's three hooks. Thread-safe.

    Tune pickles its hooks; a pickled link is empty and is never used.

    Args:
        dispatcher: The dispatcher.
        cluster: The cluster.
    """

    def __init__(self, dispatcher: Dispatcher | None = None, cluster: Cluster | None = None) -> None:
        self._dispatcher = dispatcher
        self._cluster = cluster
        self._lock = threading.RLock()
        self._closed = False
        self._over = False
        self._live: dict[str, Assignment] = {}
        self._lost: list[_Lost] = []
        self._again: list[Assignment] = []
        self._failures: collections.defaultdict[str, _FailureCounts] = collections.defaultdict(_FailureCounts)
        self._reported: set[str] = set()
        self._stopping_since: float | None = None
        self.fault: Exception | None = None

    def __reduce__(self) -> tuple[type[Link], tuple[()]]:
        """Pickle without state."""
        return Link, ()

    @contextlib.contextmanager
    def held(self) -> Iterator[Dispatcher]:
        """Lock the dispatcher for one hook, and store an exception in `fault`, as Tune reduces it to a traceback."""
        with self._lock:
            assert self._dispatcher is not None
            if self._closed:
                raise SystemExit
            try:
                yield self._dispatcher
            except Exception as error:
                self.fault = self.fault or error
                raise

    def close(self) -> None:
        """Refuse all later calls, because an abandoned run may still deliver results."""
        free = self._lock.acquire(timeout=STOP_SECS)
        self._closed = True
        if free:
            self._lock.release()

    def take(self, trial_id: str) -> Assignment | str | None:
        """Return the next training; those whose worker was lost come first.

        Args:
            trial_id: Tune's id of the trial that will run it.

        Returns:
            The assignment, None if there is none now (Tune asks again), or `Searcher.FINISHED`.
        """
        assert self._cluster is not None
        # Outside the lock, because this may block.
        self._cluster.update_nodes()
        left = {item.node_id for item in self._lost if item.node_id and self._cluster.has_left(item.node_id)}
        with self.held() as dispatcher:
            if self._lost and not dispatcher.stopping:
                self._resolve_lost(dispatcher, self._cluster, left)
            if len(self._live) >= self._cluster.limit():
                return None
            self._again = [item for item in self._again if not dispatcher.is_over(item.spec.key)]
            if dispatcher.stopping:
                assignment = None
            elif self._again:
                assignment = self._again.pop(0)
            else:
                # The time of each further request would grow with the number of trials.
                assignment = None if self._over else dispatcher.next()
                self._over = assignment is None
            if assignment is None:
                # Tune never asks again after FINISHED, and a lost training may still have to be handed out.
                waiting = self._live or (self._lost and not dispatcher.stopping)
                return None if waiting else str(Searcher.FINISHED)
            self._live[trial_id] = assignment
            return assignment

    def key(self, trial_id: str) -> str:
        """Return the key of a running training."""
        return self._live[trial_id].spec.key

    def record_progress(self, key: str, progress: Progress | None) -> None:
        """Reset the failure counts of a training that reports; repeated epochs of a restarted worker do not count."""
        failures = self._failures[key]
        failures.num_bad_starts = 0
        if progress is not None and progress.metrics.epoch > failures.last_epoch:
            failures.last_epoch, failures.num_node_losses = progress.metrics.epoch, 0

    def drop(self, trial_id: str) -> None:
        """Remove a training that has ended or pauses, after which another one may be promoted."""
        self._live.pop(trial_id, None)
        self._over = False

    def lose(self, trial_id: str, error: Exception | None) -> None:
        """Process a training that raised or whose worker was lost.

        Args:
            trial_id: Tune's id of the trial.
            error: What Tune recorded; None if it cannot be read.

        Raises:
            StorageFaultError: The machine cannot read or write a file; this is not the training's failure.
            ResourceError: The node cannot start workers.
        """
        assert self._cluster is not None
        node_id = self._cluster.node_of(error.actor_id) if isinstance(error, RayActorError) else ""
        with self.held() as dispatcher:
            assignment = self._live.pop(trial_id)
            if not isinstance(error, RayActorError):
                fault = find_fault(getattr(error, "cause", error))
                if fault is not None:
                    raise StorageFaultError(describe_fault(fault, assignment.folder))
                dispatcher.fail(assignment.spec.key, "lost" if error is None else last_line(error))
                return
            if error.actor_init_failed:
                # No training has started, so this is a fault of the node.
                name = self._cluster.name(node_id)
                raise ResourceError(
                    f"node {name}: a worker cannot start there ({last_line(error)}); repair or remove the node"
                )
            is_memory = isinstance(error, KilledForMemoryError)
            how = "killed because the node ran low on memory" if is_memory else "killed or crashed"
            lost = _Lost(
                assignment=assignment,
                node_id=node_id,
                begun=bool(node_id) and not isinstance(error, NotStartedError),
                how=how,
                reason=how if is_memory else redacted(last_line(error))[:REASON_CHARS],
                since=time.monotonic(),
            )
            self._lost.append(lost)

    def _resolve_lost(self, dispatcher: Dispatcher, cluster: Cluster, left: set[str]) -> None:
        """Retry each lost training, or record why it fails: a lost node is excused, a death on a living node counts."""
        now = time.monotonic()
        cluster.check_own_node()
        waiting, self._lost = self._lost, []
        for item in waiting:
            fault = None
            if item.node_id in left:
                fault = self._lose_node(item, cluster.name(item.node_id))
            elif now - item.since < SETTLE_SECS:
                self._lost.append(item)
                continue
            elif item.begun:
                fault = self._lose_worker(item, cluster)
            else:
                self._count_bad_start(item)
            if fault is None:
                self._again.append(item.assignment)
            else:
                dispatcher.fail(item.assignment.spec.key, fault)

    def _lose_node(self, item: _Lost, name: str) -> str | None:
        """Count a node loss, which is not the training's failure; return a reason if it repeats without progress."""
        if item.node_id not in self._reported:
            self._reported.add(item.node_id)
            print_line(f"lost node {name} ({item.reason}); its trials continue on other nodes")
        failures = self._failures[item.assignment.spec.key]
        failures.num_node_losses += 1
        if failures.num_node_losses < MAX_NODE_LOSSES:
            return None
        times = failures.num_node_losses
        return f"its node was lost {counted(times, 'time')} without a new epoch; the last one was {name}: {item.reason}"

    def _lose_worker(self, item: _Lost, cluster: Cluster) -> str | None:
        """Count the death of a worker on a living node; return a reason if the training fails."""
        failures = self._failures[item.assignment.spec.key]
        failures.num_deaths += 1
        if failures.num_deaths <= cluster.resources.max_failures:
            return None
        times = counted(failures.num_deaths, "time")
        return f"its worker process died {times}; the last one, on node {cluster.name(item.node_id)}, was {item.how}"

    def _count_bad_start(self, item: _Lost) -> None:
        """Count a worker that could not be started.

        Raises:
            ResourceError: It failed `MAX_BAD_STARTS` times in a row for this training.
        """
        failures = self._failures[item.assignment.spec.key]
        failures.num_bad_starts += 1
        if failures.num_bad_starts >= MAX_BAD_STARTS:
            raise ResourceError(
                f"the Ray cluster could not start a worker {counted(failures.num_bad_starts, 'time')} in a row "
                f"({item.reason}); fix this, then run the same command again"
            )
        print_line(f"a worker could not be started ({item.reason}); retrying")

    def to_stop(self, live: list[Any]) -> list[Any]:
        """Carry out commands from other processes, and return Tune's trials to stop from here.

        These are, after an interrupt, trials without a worker and those that do not report; and those without a worker
        that were stopped by hand.
        """
        with self.held() as dispatcher:
            if dispatcher.obey():
                self._over = False
            if not dispatcher.stopping:
                return [trial for trial in live if trial.status == "PENDING" and self._is_over(dispatcher, trial)]
            self._stopping_since = self._stopping_since or time.monotonic()
            late = time.monotonic() - self._stopping_since > STOP_SECS
            return [trial for trial in live if late or trial.status == "PENDING"]

    def _is_over(self, dispatcher: Dispatcher, trial: Any) -> bool:  # noqa: ANN401
        assignment = self._live.get(trial.trial_id)
        return assignment is not None and dispatcher.is_over(assignment.spec.key)
