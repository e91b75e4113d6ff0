"""Runs trainings as Ray Tune trials. With `ray_cluster`, whose settings Ray reads, the only module that imports Ray."""

from __future__ import annotations

import collections
import contextlib
import logging
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search import nodes
from search.errors import DivergedError, HybridSearchError, InterruptedStudyError, ResourceError
from search.records import Progress
from search.runners.ray_cluster import Cluster, Home, Watch, cluster, fetch, last_line
from search.work import Assignment, Work, run_assignment

# isort: split
import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

__all__ = ["cluster", "run"]

NO_LIMIT = 1 << 20
"""Tune's own bound on trials at the same time; the cluster's is asked for with each trial."""
SETTLE_SECS = 2.0
"""A node whose worker died may be about to die itself: so long it is watched before the worker's death is counted."""
STOP_SECS = 5.0
"""After an interrupt: a training that gives no sign within this time is ended where it is."""


class Trial(tune.Trainable):
    """One worker process, reused from trial to trial: advances its assignment by an epoch, or up to a tick."""

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        *,
        num_threads: int,
        device: str,
        carry_out: Callable[[Assignment, str], Generator[Progress | None, None, None]],
        home: Home | None,
    ) -> None:
        """Begin the first assignment."""
        import torch

        torch.set_num_threads(num_threads)
        self._device = device
        self._carry_out = carry_out
        self._home = home
        node_id = ray.get_runtime_context().get_node_id()
        self._node = f"{socket.gethostname()}/{node_id[:8]}"
        self._fault: str | None = None
        if home is not None and node_id not in home.checked:
            self._fault = nodes.fault_of(self._node, home.needs, nodes.look(home.needs), home.told)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin the next assignment."""
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Close the training: one that is cut off saves itself then. What it had saved before stands in any case."""
        with contextlib.suppress(Exception):
            self._training.close()

    def _begin(self, config: dict[str, Any]) -> None:
        self._assignment: Assignment = config["assignment"]
        self._training: Generator[Progress | None, None, None] = self._carry_out(self._assignment, self._device)

    def step(self) -> dict[str, Any]:
        """Train up to the next epoch or tick."""
        try:
            if self._fault is not None:
                raise ResourceError(self._fault)
            return {"progress": self._advance(), "node": self._node}
        except DivergedError as error:
            return {"diverged": error}
        except HybridSearchError as error:
            # Wrong input stays wrong, for every trial: the driver ends the run, and nothing counts as failed.
            return {"fault": self._named(error)}

    def _advance(self) -> Progress | None:
        from search.data.errors import FetchError, LayoutError

        try:
            return next(self._training)
        except (LayoutError, FetchError) as error:
            if self._home is None or not self._receive(self._home, error):
                raise
            self._begin({"assignment": self._assignment})
            return None

    def _receive(self, home: Home, missing: HybridSearchError) -> bool:
        """Take the decoded images over from the driver's node; False if they have been here already."""
        from search.data.store import receive

        cache_dir = Path(self._assignment.cache_dir) if self._assignment.cache_dir else None
        try:
            return receive(home.needs.data, home.needs.data_key, lambda: fetch(home), cache_dir)
        except RayError as error:
            raise ResourceError(f"{missing}; and the driver's node did not send them ({last_line(error)})") from None

    def _named(self, error: HybridSearchError) -> HybridSearchError:
        if self._home is None:
            return error
        host = socket.gethostname()
        return type(error)(*(fault if host in fault else f"node {self._node}: {fault}" for fault in error.faults))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the training writes its own checkpoints and finds them again."""

    def load_checkpoint(self, checkpoint: object) -> None:
        """Nothing: see `save_checkpoint`."""


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """A training whose worker is gone, until it is known why."""

    assignment: Assignment
    node_id: str
    """Empty where the worker had not begun."""
    how: str
    since: float


class _Link:
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

    def __reduce__(self) -> tuple[type[_Link], tuple[()]]:
        """Leave everything behind; hooks that were pickled are never called."""
        return _Link, ()

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
        with self._lock:
            self._closed = True

    def take(self, trial_id: str) -> Assignment | str | None:
        """Hand out the next training, those whose worker was lost first.

        Returns:
            None for "nothing now"; Tune asks again.
        """
        with self.held() as work:
            assert self._there is not None
            if self._lost and not work.stopping:
                self._settle(work, self._there)
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
        with self.held() as work:
            assert self._there is not None
            assignment = self._live.pop(trial_id)
            if not isinstance(error, RayActorError):
                work.fail(assignment.spec.key, "lost" if error is None else last_line(error))
                return
            node_id = self._there.node_of(error.actor_id)
            if error.actor_init_failed:
                # No training has begun: it is the node that cannot begin one.
                name = self._there.name(node_id)
                raise ResourceError(f"node {name}: a worker cannot begin there ({last_line(error)}); mend or remove it")
            how = "killed as the node ran low on memory" if isinstance(error, _Killed) else "killed or crashed"
            self._lost.append(_Lost(assignment=assignment, node_id=node_id, how=how, since=time.monotonic()))

    def _settle(self, work: Work, there: Cluster) -> None:
        """Decide about lost trainings: one whose node left goes on elsewhere, a death on a living node counts."""
        now = time.monotonic()
        there.check_own_node()
        waiting, self._lost = self._lost, []
        for item in waiting:
            key = item.assignment.spec.key
            if there.has_left(item.node_id):
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


class _Killed(RayActorError):
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
        kind = _Killed if isinstance(exception, OutOfMemoryError) else RayActorError
        actor_id = actor[0]._actor_id.hex() if actor else None  # noqa: SLF001
        return kind(actor_id=actor_id, error_msg=str(exception))  # type: ignore[arg-type]


tune_controller.RayActorManager = _ActorManager  # type: ignore[attr-defined]


class Proposer(Searcher):
    """Hands the work's assignments to Tune."""

    def __init__(self, link: _Link) -> None:
        super().__init__(metric="training_iteration", mode="max")  # never used: the judge decides
        self._link = link

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Hand out the next assignment."""
        taken = self._link.take(trial_id)
        return {"assignment": taken} if isinstance(taken, Assignment) else taken

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002
        """Make room for the next one; the judge has told the work."""
        self._link.drop(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal and the Optuna study are the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class Judge(FIFOScheduler):
    """Passes each epoch and tick to the work, and its decision back to Tune."""

    def __init__(self, link: _Link) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._link = link

    def on_trial_result(self, tune_controller: object, trial: Any, result: dict[str, Any]) -> str:  # noqa: ANN401, ARG002
        """Take in an epoch or a tick."""
        with self._link.held() as work:
            key = self._link.key(trial.trial_id)
            if "fault" in result:
                raise result["fault"]
            if "diverged" in result:
                work.diverge(key, result["diverged"])
                return str(TrialScheduler.STOP)
            progress = result["progress"]
            go_on = work.tick(key) if progress is None else work.report(key, progress, result["node"])
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: object, trial: Any) -> None:  # noqa: ANN401, ARG002
        """Take in a trial that raised or was lost. Tune begins none again by itself."""
        error = None
        with contextlib.suppress(Exception):  # whatever a model raises may be impossible to read back
            error = trial.get_pickled_error()
        self._link.lose(trial.trial_id, error)

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ANN401
        """Choose none: Tune begins waiting trials in their order anyway, and searching all for one takes ever longer.

        Called all the time, so it is here that an early end reaches the trials that cannot report.
        """
        for trial in self._link.to_stop(list(tune_controller.get_live_trials())):
            tune_controller.stop_trial(trial)


def run(work: Work, there: Cluster, needs: nodes.Needs) -> None:
    """Carry out all assignments of a work as Ray Tune trials.

    Args:
        work: The work.
        there: The cluster that was joined.
        needs: What its nodes must have.

    Raises:
        InterruptedStudyError: The work was interrupted, or Ctrl-C; the state is saved.
        ResourceError: A node lacks what it needs; one line per node.
        LostClusterError: The cluster went away; the state is saved.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    link = _Link(work, there)
    storage = work.folder_of("x").parent.parent / "ray"
    resources = there.resources
    with there.checked(needs) as home:
        trainable = tune.with_parameters(
            Trial,
            num_threads=max(1, int(resources.cpus)),
            device="cuda" if resources.gpus else "cpu",
            carry_out=run_assignment,
            home=home,
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=Proposer(link),
                scheduler=Judge(link),
                num_samples=-1,
                max_concurrent_trials=NO_LIMIT,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False, num_to_keep=1),
                verbose=0,
            ),
        )
        try:
            # Tune prints; standard output belongs to the result.
            with contextlib.redirect_stdout(sys.stderr):
                _fit(tuner, work, link, Watch(there))
        finally:
            # Tune's own files carry nothing that the journal lacks.
            shutil.rmtree(storage, ignore_errors=True)
    work.check_interrupted()


def _fit(tuner: tune.Tuner, work: Work, link: _Link, watch: Watch) -> None:
    """Let Tune work in a thread of its own: whatever it waits for, this one hears the user and sees the cluster end."""
    faults: list[BaseException] = []

    def fit() -> None:
        try:
            tuner.fit()
        except BaseException as error:  # noqa: BLE001  told to whoever waits
            faults.append(error)

    thread = threading.Thread(target=fit, name="tune", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            try:
                thread.join(1.0)
                watch.check()
            except KeyboardInterrupt:
                if work.interrupted:
                    raise InterruptedStudyError(
                        "interrupted twice; what was saved stays, the same command goes on"
                    ) from None
                work.interrupt("Ctrl-C")
        if link.fault is not None:
            raise link.fault from None
        if faults:
            watch.wait_for_verdict()
            raise faults[0]
    finally:
        link.close()
