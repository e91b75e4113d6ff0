"""Run trainings as Ray Tune trials."""

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
from search.runners.assignment import Assignment, run_assignment
from search.runners.dispatcher import Dispatcher
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
"""Tune's own limit of concurrent trials, set out of reach: the cluster's limit is applied with each trial."""


# Tune would send these variables with each job, and every node logs them in plain text. A node that needs AWS
# credentials has its own.
class_cache.ENV_VARS_TO_PROPAGATE = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")}


class Trial(tune.Trainable):
    """A worker process, reused for several trials; each step trains to the next epoch or tick."""

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        *,
        num_threads: int,
        device: str,
        carry_out: Callable[[Assignment, str], Generator[Progress | None, None, None]],
        home: DriverInfo | None,
    ) -> None:
        """Check this node if it joined late, and start the first assignment."""
        import torch

        torch.set_num_threads(num_threads)
        self._device = device
        self._carry_out = carry_out
        self._home = home
        node_id = ray.get_runtime_context().get_node_id()
        self._node = f"{socket.gethostname()}/{node_id[:8]}"
        self._fault: str | None = None
        if home is not None and node_id not in home.checked:
            self._fault = nodes.fault_of(self._node, home.needs, nodes.inspect_node(home.needs), home.told)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next assignment."""
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Close the training; an interrupted one saves a checkpoint. If that fails, its previous checkpoint remains."""
        with contextlib.suppress(Exception):
            self._training.close()

    def _begin(self, config: dict[str, Any]) -> None:
        self._assignment: Assignment = config["assignment"]
        self._training: Generator[Progress | None, None, None] = self._carry_out(self._assignment, self._device)

    def step(self) -> dict[str, Any]:
        """Train to the next epoch or tick."""
        try:
            if self._fault is not None:
                raise ResourceError(self._fault)
            return {"progress": self._advance(), "node": self._node}
        except DivergedError as error:
            return {"diverged": error}
        except HybridSearchError as error:
            # Wrong input fails every trial alike, so the driver ends the run and no trial counts as failed.
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
        """Receive the decoded images from the driver's node; return False if this node has them already."""
        from search.data.store import receive

        try:
            return receive(home.needs.data, home.needs.data_key, lambda: fetch(home))
        except RayError as error:
            raise ResourceError(f"{missing}; and the driver's node did not send them ({last_line(error)})") from None

    def _named(self, error: HybridSearchError) -> HybridSearchError:
        if self._home is None:
            return error
        host = socket.gethostname()
        return type(error)(*(fault if host in fault else f"node {self._node}: {fault}" for fault in error.faults))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the training writes and reads its own checkpoints."""

    def load_checkpoint(self, checkpoint: object) -> None:
        """Do nothing; see `save_checkpoint`."""


class Proposer(Searcher):
    """Passes the dispatcher's assignments to Tune."""

    def __init__(self, link: Link) -> None:
        super().__init__(metric="training_iteration", mode="max")  # unused: `Judge` decides
        self._link = link

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next assignment."""
        taken = self._link.take(trial_id)
        return {"assignment": taken} if isinstance(taken, Assignment) else taken

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002
        """Free the trial's slot; `Judge` has already recorded the outcome."""
        self._link.drop(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the state is in the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see `save`."""


class Silent(TrialProgressCallback):
    """Prints nothing. Tune's default prints each trial that ends after an interrupt, at any verbosity."""

    def _print(self, msg: str) -> None:
        """Do nothing."""


class Judge(FIFOScheduler):
    """Passes each epoch and tick to the dispatcher, and its decision back to Tune."""

    def __init__(self, link: Link) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._link = link

    def on_trial_result(self, tune_controller: object, trial: Any, result: dict[str, Any]) -> str:  # noqa: ANN401, ARG002
        """Record an epoch or a tick, and return whether Tune continues the trial."""
        with self._link.held() as dispatcher:
            key = self._link.key(trial.trial_id)
            if "fault" in result:
                raise result["fault"]
            if "diverged" in result:
                dispatcher.diverge(key, result["diverged"])
                return str(TrialScheduler.STOP)
            progress = result["progress"]
            self._link.record_progress(key, progress)
            go_on = dispatcher.tick(key) if progress is None else dispatcher.report(key, progress, result["node"])
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: object, trial: Any) -> None:  # noqa: ANN401, ARG002
        """Record a trial that raised or was lost. Tune does not retry it."""
        error = None
        with contextlib.suppress(Exception):  # an exception of a user's model may not unpickle
            # The file where the driver wrote it; `get_pickled_error` looks in the experiment's snapshots.
            error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        self._link.lose(trial.trial_id, error)

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ANN401
        """Choose none: Tune starts waiting trials in order anyway, and a search through all would slow down over time.

        Tune calls this continuously, so after an interrupt it also stops the trials that cannot report.
        """
        for trial in self._link.to_stop(list(tune_controller.get_live_trials())):
            tune_controller.stop_trial(trial)


def run(dispatcher: Dispatcher, there: Cluster, needs: nodes.NodeRequirements) -> None:
    """Run all assignments of a dispatcher as Ray Tune trials.

    Args:
        dispatcher: The dispatcher.
        there: The cluster.
        needs: Requirements on its nodes.

    Raises:
        InterruptedStudyError: A signal or Ctrl-C interrupted the run; the state is saved.
        ResourceError: A node lacks a requirement; one line per node.
        LostClusterError: The cluster was lost; the state is saved.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    link = Link(dispatcher, there)
    storage = dispatcher.folder_of("x").parent.parent / "ray"
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
            # Tune prints to standard output, which is reserved for the command's result.
            with contextlib.redirect_stdout(sys.stderr):
                _fit(tuner, dispatcher, link, Watch(there.address))
        finally:
            # The journal contains everything in Tune's own files.
            shutil.rmtree(storage, ignore_errors=True)
    dispatcher.check_interrupted()


def _fit(tuner: tune.Tuner, dispatcher: Dispatcher, link: Link, watch: Watch) -> None:
    """Run Tune in its own thread, so that this one can handle Ctrl-C and a lost cluster while Tune blocks."""
    faults: list[BaseException] = []

    def fit() -> None:
        try:
            tuner.fit()
        except BaseException as error:  # noqa: BLE001  raised again in the main thread
            faults.append(error)

    thread = threading.Thread(target=fit, name="tune", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            try:
                thread.join(1.0)
                watch.check()
            except KeyboardInterrupt:
                if dispatcher.interrupted:
                    raise InterruptedStudyError(
                        "interrupted twice; saved work is kept, run the same command again to continue"
                    ) from None
                dispatcher.interrupt("Ctrl-C")
        if link.fault is not None:
            raise link.fault from None
        if faults:
            watch.wait_for_verdict()
            raise faults[0]
    finally:
        link.close()
