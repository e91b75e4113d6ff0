"""Between Tune and the work: what is under way, what becomes of a training whose worker is lost, when all is over."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from search.console.messages import say
from search.errors import ResourceError, StorageFaultError
from search.records import Progress
from search.runners.dispatcher import Assignment, Dispatcher
from search.runners.ray_cluster import Cluster, last_line
from search.storage.disk import find_fault, in_words
from search.uris import redacted

# isort: split
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.search import Searcher

SETTLE_SECS = 2.0
"""A node whose worker died may be about to die itself: so long it is watched before the worker's death is counted."""
STOP_SECS = 5.0
"""After an interrupt: a training that gives no sign within this time is ended where it is."""
MAX_NODE_LOSSES = 5
"""In a row without a new epoch: it may be the training that takes its nodes down, and it would do so for ever."""
MAX_BAD_STARTS = 3
"""In a row, of one training: it is the cluster that must be mended."""
REASON_CHARS = 300
"""Ray tells of a dead worker at length."""


class KilledForMemoryError(RayActorError):
    """Ray's memory monitor killed the worker."""


class NotBegunError(RayActorError):
    """The worker could not be started, for a reason that is not the training's: its environment, its place."""


class _ActorManager(RayActorManager):
    """Tune knows two ways to lose an actor; at any other, such as a worker killed for its memory, it ends the run."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:  # noqa: ANN401
        tracked = tracked_actor_task._tracked_actor  # noqa: SLF001
        super()._actor_task_failed(tracked_actor_task, self._as_lost(tracked, exception, RayActorError))

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:  # noqa: ANN401
        super()._actor_start_failed(tracked_actor, self._as_lost(tracked_actor, exception, NotBegunError))

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
    """A training whose worker is gone, until it is known why."""

    assignment: Assignment
    node_id: str
    """Empty where the worker was on none yet."""
    begun: bool
    how: str
    reason: str
    since: float


@dataclass
class _Luck:
    """What befell a training's workers."""

    num_deaths: int = 0
    num_node_losses: int = 0
    """Since its last new epoch."""
    num_bad_starts: int = 0
    """Since it last began."""
    last_epoch: int = 0


class Link:
    """The work and the trainings under way, for Tune's three hooks. Tune pickles its hooks; the state stays here."""

    def __init__(self, work: Dispatcher | None = None, there: Cluster | None = None) -> None:
        self._work = work
        self._there = there
        self._lock = threading.RLock()
        self._closed = False
        self._over = False
        self._live: dict[str, Assignment] = {}
        self._lost: list[_Lost] = []
        self._again: list[Assignment] = []
        self._luck: collections.defaultdict[str, _Luck] = collections.defaultdict(_Luck)
        self._told: set[str] = set()
        self._stopping_since: float | None = None
        self.fault: Exception | None = None

    def __reduce__(self) -> tuple[type[Link], tuple[()]]:
        """Leave everything behind; hooks that were pickled are never called."""
        return Link, ()

    @contextlib.contextmanager
    def held(self) -> Iterator[Dispatcher]:
        """Have the work for one hook, and keep what the driver's own code raises: Tune would make a traceback of it."""
        with self._lock:
            assert self._work is not None
            if self._closed:
                raise SystemExit
            try:
                yield self._work
            except Exception as error:
                self.fault = self.fault or error
                raise

    def close(self) -> None:
        """Let no hook reach the work any more: a run that was given up may still have results coming in."""
        free = self._lock.acquire(timeout=STOP_SECS)
        self._closed = True
        if free:
            self._lock.release()

    def take(self, trial_id: str) -> Assignment | str | None:
        """Hand out the next training, those whose worker was lost first.

        Returns:
            None for "nothing now"; Tune asks again.
        """
        assert self._there is not None
        # Not while the work is held: this may wait.
        self._there.look()
        left = {item.node_id for item in self._lost if item.node_id and self._there.has_left(item.node_id)}
        with self.held() as work:
            if self._lost and not work.stopping:
                self._settle(work, self._there, left)
            if len(self._live) >= self._there.limit():
                return None
            if work.stopping:
                assignment = None
            elif self._again:
                assignment = self._again.pop(0)
            else:
                # Asking again once there is none would cost the more, the more trials there are.
                assignment = None if self._over else work.next()
                self._over = assignment is None
            if assignment is None:
                # Tune never asks again after it has heard that all is over; a lost training must be handed out again.
                waiting = self._live or (self._lost and not work.stopping)
                return None if waiting else str(Searcher.FINISHED)
            self._live[trial_id] = assignment
            return assignment

    def key(self, trial_id: str) -> str:
        """The key of a training under way."""
        return self._live[trial_id].spec.key

    def hear(self, key: str, progress: Progress | None) -> None:
        """Take note that a training runs, and how far it got; what a restarted worker tells again is not new."""
        luck = self._luck[key]
        luck.num_bad_starts = 0
        if progress is not None and progress.metrics.epoch > luck.last_epoch:
            luck.last_epoch, luck.num_node_losses = progress.metrics.epoch, 0

    def drop(self, trial_id: str) -> None:
        """Forget a training that has ended."""
        self._live.pop(trial_id, None)

    def lose(self, trial_id: str, error: Exception | None) -> None:
        """Take in that a training raised, or that its worker is gone."""
        assert self._there is not None
        node_id = self._there.node_of(error.actor_id) if isinstance(error, RayActorError) else ""
        with self.held() as work:
            assignment = self._live.pop(trial_id)
            if not isinstance(error, RayActorError):
                fault = find_fault(getattr(error, "cause", error))
                if fault is not None:
                    raise StorageFaultError(in_words(fault, assignment.folder))
                work.fail(assignment.spec.key, "lost" if error is None else last_line(error))
                return
            if error.actor_init_failed:
                # No training has begun: it is the node that cannot begin one.
                name = self._there.name(node_id)
                raise ResourceError(f"node {name}: a worker cannot begin there ({last_line(error)}); mend or remove it")
            is_memory = isinstance(error, KilledForMemoryError)
            how = "killed as the node ran low on memory" if is_memory else "killed or crashed"
            lost = _Lost(
                assignment=assignment,
                node_id=node_id,
                begun=bool(node_id) and not isinstance(error, NotBegunError),
                how=how,
                reason=how if is_memory else redacted(last_line(error))[:REASON_CHARS],
                since=time.monotonic(),
            )
            self._lost.append(lost)

    def _settle(self, work: Dispatcher, there: Cluster, left: set[str]) -> None:
        """Decide about lost trainings: one whose node left goes on elsewhere, a death on a living node counts."""
        now = time.monotonic()
        there.check_own_node()
        waiting, self._lost = self._lost, []
        for item in waiting:
            fault = None
            if item.node_id in left:
                fault = self._lose_node(item, there.name(item.node_id))
            elif now - item.since < SETTLE_SECS:
                self._lost.append(item)
                continue
            elif item.begun:
                fault = self._lose_worker(item, there)
            else:
                self._count_bad_start(item)
            if fault is None:
                self._again.append(item.assignment)
            else:
                work.fail(item.assignment.spec.key, fault)

    def _lose_node(self, item: _Lost, name: str) -> str | None:
        """Count a loss that is nobody's failure, unless nothing else ever happens; say why the training fails."""
        if item.node_id not in self._told:
            self._told.add(item.node_id)
            say(f"lost node {name} ({item.reason}); what ran there goes on elsewhere")
        luck = self._luck[item.assignment.spec.key]
        luck.num_node_losses += 1
        if luck.num_node_losses < MAX_NODE_LOSSES:
            return None
        times = luck.num_node_losses
        return f"its node was lost {times} times without a new epoch, the last one {name}: {item.reason}"

    def _lose_worker(self, item: _Lost, there: Cluster) -> str | None:
        """Count the death of a worker whose node lives; say why the training fails, if it does."""
        luck = self._luck[item.assignment.spec.key]
        luck.num_deaths += 1
        if luck.num_deaths <= there.resources.max_failures:
            return None
        times = f"{luck.num_deaths} time{'s' * (luck.num_deaths > 1)}"
        return f"its worker process died {times}: the last one on node {there.name(item.node_id)} was {item.how}"

    def _count_bad_start(self, item: _Lost) -> None:
        """Count a worker that could not be started.

        Raises:
            ResourceError: So it was each time for this training.
        """
        luck = self._luck[item.assignment.spec.key]
        luck.num_bad_starts += 1
        if luck.num_bad_starts >= MAX_BAD_STARTS:
            raise ResourceError(
                f"the Ray cluster could not start a worker {luck.num_bad_starts} times in a row ({item.reason}); "
                "mend that, then run the same command again"
            )
        say(f"a worker could not be started ({item.reason}); trying again")

    def to_stop(self, live: list[Any]) -> list[Any]:
        """Which of Tune's trials must be stopped from here: they have no worker, or it gives no sign."""
        with self.held() as work:
            if not work.stopping:
                return []
            self._stopping_since = self._stopping_since or time.monotonic()
            late = time.monotonic() - self._stopping_since > STOP_SECS
            return [trial for trial in live if late or trial.status == "PENDING"]
