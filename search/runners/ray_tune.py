"""Runs trainings as Ray Tune trials. With `ray_cluster`, whose settings Ray reads, the only module that imports Ray."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from search.errors import DivergedError, HybridSearchError, InterruptedStudyError, ResourceError
from search.records import Progress
from search.runners import node_check as nodes
from search.runners.dispatcher import Assignment, Dispatcher, run_assignment
from search.runners.ray_cluster import Cluster, DriverInfo, fetch, last_line
from search.runners.ray_join import cluster
from search.runners.ray_link import Link
from search.runners.ray_watch import Watch

# isort: split
import ray
from ray import cloudpickle, tune
from ray.exceptions import RayError
from ray.tune.execution import class_cache
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

__all__ = ["cluster", "run"]

NO_LIMIT = 1 << 20
"""Tune's own bound on trials at the same time; the cluster's is asked for with each trial."""


# Tune would send these along with each job, and every node's log of runtime environments shows them: a node that needs
# them has its own.
class_cache.ENV_VARS_TO_PROPAGATE = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")}


class Trial(tune.Trainable):
    """One worker process, reused from trial to trial: advances its assignment by an epoch, or up to a tick."""

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        *,
        num_threads: int,
        device: str,
        carry_out: Callable[[Assignment, str], Generator[Progress | None, None, None]],
        home: DriverInfo | None,
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

    def _receive(self, home: DriverInfo, missing: HybridSearchError) -> bool:
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


class Proposer(Searcher):
    """Hands the work's assignments to Tune."""

    def __init__(self, link: Link) -> None:
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


class Silent(TrialProgressCallback):
    """Prints nothing. Tune's own one prints each trial that ends after an interrupt, at any verbosity."""

    def _print(self, msg: str) -> None:
        """Nothing."""


class Judge(FIFOScheduler):
    """Passes each epoch and tick to the work, and its decision back to Tune."""

    def __init__(self, link: Link) -> None:
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
            self._link.hear(key, progress)
            go_on = work.tick(key) if progress is None else work.report(key, progress, result["node"])
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: object, trial: Any) -> None:  # noqa: ANN401, ARG002
        """Take in a trial that raised or was lost. Tune begins none again by itself."""
        error = None
        with contextlib.suppress(Exception):  # whatever a model raises may be impossible to read back
            # Where the driver wrote it; `get_pickled_error` looks where snapshots of the experiment would bring it.
            error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        self._link.lose(trial.trial_id, error)

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ANN401
        """Choose none: Tune begins waiting trials in their order anyway, and searching all for one takes ever longer.

        Called all the time, so it is here that an early end reaches the trials that cannot report.
        """
        for trial in self._link.to_stop(list(tune_controller.get_live_trials())):
            tune_controller.stop_trial(trial)


def run(work: Dispatcher, there: Cluster, needs: nodes.NodeRequirements) -> None:
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
    link = Link(work, there)
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
                callbacks=[Silent()],
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False, num_to_keep=1),
                verbose=0,
            ),
        )
        try:
            # Tune prints; standard output belongs to the result.
            with contextlib.redirect_stdout(sys.stderr):
                _fit(tuner, work, link, Watch(there.address))
        finally:
            # Tune's own files carry nothing that the journal lacks.
            shutil.rmtree(storage, ignore_errors=True)
    work.check_interrupted()


def _fit(tuner: tune.Tuner, work: Dispatcher, link: Link, watch: Watch) -> None:
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
