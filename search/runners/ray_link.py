"""Between Tune and the work: what is under way, what becomes of a training whose worker is lost, when all is over."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from search.errors import ResourceError
from search.runners.ray_cluster import Cluster, last_line
from search.work import Assignment, Work

# isort: split
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.search import Searcher

SETTLE_SECS = 2.0
"""A node whose worker died may be about to die itself: so long it is watched before the worker's death is counted."""
STOP_SECS = 5.0
"""After an interrupt: a training that gives no sign within this time is ended where it is."""


class KilledForMemoryError(RayActorError):
    """Ray's memory monitor killed the worker."""


class _ActorManager(RayActorManager):
    """Tune knows two ways to lose an actor; at any other, such as a worker killed for its memory, it ends the run."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:  # noqa: ANN401
        tracked = tracked_actor_task._tracked_actor  # noqa: SLF001
        super()._actor_task_failed(tracked_actor_task, self._as_lost(tracked, exception))

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:  # noqa: ANN401
        super()._actor_start_failed(tracked_actor, self._as_lost(tracked_actor, exception))

    def _as_lost(self, tracked: Any, exception: Exception) -> Exception:  # noqa: ANN401
        if isinstance(exception, RayActorError | RayTaskError) or not isinstance(exception, RayError):
            return exception
        actor = self._live_actors_to_ray_actors_resources.get(tracked)
        kind = KilledForMemoryError if isinstance(exception, OutOfMemoryError) else RayActorError
        actor_id = actor[0]._actor_id.hex() if actor else None  # noqa: SLF001
        return kind(actor_id=actor_id, error_msg=str(exception))  # type: ignore[arg-type]


tune_controller.RayActorManager = _ActorManager  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """A training whose worker is gone, until it is known why."""

    assignment: Assignment
    node_id: str
    """Empty where the worker had not begun."""
    how: str
    since: float


class Link:
    """The work and the trainings under way, for Tune's three hooks. Tune pickles its hooks; the state stays here."""

    def __init__(self, work: Work | None = None, there: Cluster | None = None) -> None:
        self._work = work
        self._there = there
        self._lock = threading.RLock()
        self._closed = False
        self._over = False
        self._live: dict[str, Assignment] = {}
        self._lost: list[_Lost] = []
        self._again: list[Assignment] = []
        self._num_deaths: collections.Counter[str] = collections.Counter()
        self._stopping_since: float | None = None
        self.fault: Exception | None = None

    def __reduce__(self) -> tuple[type[Link], tuple[()]]:
        """Leave everything behind; hooks that were pickled are never called."""
        return Link, ()

    @contextlib.contextmanager
    def held(self) -> Iterator[Work]:
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
        left = {item.node_id for item in self._lost if self._there.has_left(item.node_id)}
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
                work.fail(assignment.spec.key, "lost" if error is None else last_line(error))
                return
            if error.actor_init_failed:
                # No training has begun: it is the node that cannot begin one.
                name = self._there.name(node_id)
                raise ResourceError(f"node {name}: a worker cannot begin there ({last_line(error)}); mend or remove it")
            how = (
                "killed as the node ran low on memory"
                if isinstance(error, KilledForMemoryError)
                else "killed or crashed"
            )
            self._lost.append(_Lost(assignment=assignment, node_id=node_id, how=how, since=time.monotonic()))

    def _settle(self, work: Work, there: Cluster, left: set[str]) -> None:
        """Decide about lost trainings: one whose node left goes on elsewhere, a death on a living node counts."""
        now = time.monotonic()
        there.check_own_node()
        waiting, self._lost = self._lost, []
        for item in waiting:
            key = item.assignment.spec.key
            if item.node_id in left:
                self._again.append(item.assignment)
            elif now - item.since < SETTLE_SECS:
                self._lost.append(item)
            elif self._num_deaths[key] < there.resources.max_failures:
                self._num_deaths[key] += 1
                self._again.append(item.assignment)
            else:
                times = self._num_deaths[key] + 1
                last = f"the last one on node {there.name(item.node_id)} was {item.how}"
                work.fail(key, f"its worker process died {times} time{'s' * (times > 1)}: {last}")

    def to_stop(self, live: list[Any]) -> list[Any]:
        """Which of Tune's trials must be stopped from here: they have no worker, or it gives no sign."""
        with self.held() as work:
            if not work.stopping:
                return []
            self._stopping_since = self._stopping_since or time.monotonic()
            late = time.monotonic() - self._stopping_since > STOP_SECS
            return [trial for trial in live if late or trial.status == "PENDING"]
