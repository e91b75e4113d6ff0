"""Runs trainings as Ray Tune trials: the only module that imports Ray."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from typing import Any

from search.errors import DivergedError, HybridSearchError, InputError, InterruptedStudyError, ResourceError
from search.records import Progress
from search.runners.ray_local import alone, hide_token
from search.study import ResourcesSection
from search.work import Work, run_assignment

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Relative paths in study files keep their meaning in the workers.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The journal records; Tune's own CSV, JSON and TensorBoard files and snapshots would only cost time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    # Ctrl-C reaches us: the state is on disk already, there is nothing for Tune to save first.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


for _name, _value in ENVIRONMENT.items():  # Ray reads some of these when it is imported
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402


@contextlib.contextmanager
def cluster(resources: ResourcesSection) -> Iterator[None]:
    """Join the cluster of `resources.address`, or start a local one; leave it at the end.

    Raises:
        ResourceError: The cluster cannot be reached, or can never meet a trial's request.
    """
    if ray.is_initialized():
        _check_request(resources)
        yield
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    with contextlib.ExitStack() as stack:
        if resources.address is None:
            options |= {"include_dashboard": resources.dashboard, **stack.enter_context(alone())}
        else:
            options |= {"address": resources.address}
        # The workers import this project; a cluster's own nodes have it installed.
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = str(error).splitlines()[0]
            raise ResourceError(
                f"resources.address: no Ray cluster at {resources.address or 'this machine'} ({reason}); "
                "start one with `ray start --head`, or leave the address out"
            ) from None
        stack.callback(ray.shutdown)
        hide_token()
        _check_request(resources)
        yield


def _check_request(resources: ResourcesSection) -> None:
    nodes = _nodes()
    most_cpus = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    most_gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    faults = []
    if resources.gpus > most_gpus:
        faults.append(
            f"resources.gpus: a trial asks for {resources.gpus:g}, and no node has more than {most_gpus:g} "
            f"({len(nodes)} node(s)); lower it"
        )
    if resources.cpus > most_cpus:
        faults.append(
            f"resources.cpus: a trial asks for {resources.cpus:g}, and no node has more than {most_cpus:g} "
            f"({len(nodes)} node(s)); lower it"
        )
    if not faults and not any(
        node.get("CPU", 0.0) >= resources.cpus and node.get("GPU", 0.0) >= resources.gpus for node in nodes
    ):
        faults.append(
            f"resources: no node has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs together; lower one of them"
        )
    if faults:
        raise ResourceError(*faults)


def _nodes() -> list[dict[str, float]]:
    """Resources of each living node."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def fitting_trials(resources: ResourcesSection) -> int:
    """How many trials the cluster fits at the same time."""
    total = 0
    for have in _nodes():
        fits = math.floor(have.get("CPU", 0.0) / resources.cpus + 1e-9)
        if resources.gpus:
            fits = min(fits, math.floor(have.get("GPU", 0.0) / resources.gpus + 1e-9))
        total += fits
    return max(1, total)


class Trial(tune.Trainable):
    """One worker process, reused from trial to trial: advances its assignment by an epoch at a time."""

    def setup(self, config: dict[str, Any], *, num_threads: int, device: str) -> None:  # type: ignore[override]
        """Begin the first assignment."""
        import torch

        torch.set_num_threads(num_threads)
        self._device = device
        self._node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:8]}"
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin the next assignment."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._epochs: Iterator[Progress] = run_assignment(config["assignment"], self._device)

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        try:
            return {"progress": next(self._epochs), "node": self._node}
        except DivergedError as error:
            return {"diverged": error}
        except HybridSearchError as error:
            # Wrong input stays wrong, for every trial: the driver ends the run, and nothing counts as failed.
            return {"faults": error.faults}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the training writes its own checkpoints and finds them again."""

    def load_checkpoint(self, checkpoint: object) -> None:
        """Nothing: see `save_checkpoint`."""


class _Link:
    """The work and the trials' keys, for Tune's three hooks. Tune pickles its hooks; the driver's state stays here."""

    def __init__(self, work: Work | None = None, max_failures: int = 0) -> None:
        self._work = work
        self.max_failures = max_failures
        self.keys: dict[str, str] = {}
        self.fault: Exception | None = None

    @property
    def work(self) -> Work:
        """The work; hooks that were pickled have none and are never called."""
        assert self._work is not None
        return self._work

    @contextlib.contextmanager
    def remembered(self) -> Iterator[None]:
        """Keep what the driver's own code raises: Tune would turn it into a page of traceback."""
        try:
            yield
        except Exception as error:
            self.fault = error
            raise

    def __reduce__(self) -> tuple[type[_Link], tuple[()]]:
        """Leave everything behind."""
        return _Link, ()


class Proposer(Searcher):
    """Hands the work's assignments to Tune."""

    def __init__(self, link: _Link) -> None:
        super().__init__(metric="training_iteration", mode="max")  # never used: the judge decides
        self._link = link

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """Hand out the next assignment."""
        with self._link.remembered():
            assignment = self._link.work.next()
        if assignment is None:
            return str(Searcher.FINISHED)
        self._link.keys[trial_id] = assignment.spec.key
        return {"assignment": assignment}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the judge has told the work."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal and the Optuna study are the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class Judge(FIFOScheduler):
    """Passes each epoch to the work, and its decision back to Tune."""

    def __init__(self, link: _Link) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._link = link

    def on_trial_result(self, tune_controller: object, trial: Any, result: dict[str, Any]) -> str:  # noqa: ANN401, ARG002
        """Take in an epoch."""
        key = self._link.keys[trial.trial_id]
        with self._link.remembered():
            if "faults" in result:
                raise InputError(*result["faults"])
            if "diverged" in result:
                self._link.work.diverge(key, result["diverged"])
                return str(TrialScheduler.STOP)
            go_on = self._link.work.report(key, result["progress"], result["node"])
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: object, trial: Any) -> None:  # noqa: ANN401, ARG002
        """Take in a trial that Tune has given up; one that it starts again goes on from its checkpoint."""
        if trial.status == "ERROR":  # being queued again; one that is given up is still RUNNING or PENDING here
            return
        error = trial.get_pickled_error()
        text = str(getattr(error, "cause", None) or error or "lost").strip()
        starts = self._link.max_failures
        self._link.work.fail(self._link.keys[trial.trial_id], f"{text.splitlines()[-1]} (after {starts} new starts)")


def run(work: Work, resources: ResourcesSection) -> None:
    """Carry out all assignments of a work as Ray Tune trials. Call inside `cluster`.

    Raises:
        InterruptedStudyError: Ctrl-C; the state is saved.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    link = _Link(work, resources.max_failures)
    storage = work.folder_of("x").parent.parent / "ray"
    trainable = tune.with_parameters(
        Trial, num_threads=max(1, int(resources.cpus)), device="cuda" if resources.gpus else "cpu"
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=Proposer(link),
            scheduler=Judge(link),
            num_samples=-1,
            max_concurrent_trials=resources.concurrency or fitting_trials(resources),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=resources.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False, num_to_keep=1),
            verbose=0,
        ),
    )
    try:
        # Tune prints; standard output belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            tuner.fit()
    except KeyboardInterrupt:
        raise InterruptedStudyError("interrupted; everything is saved, the same command goes on") from None
    except Exception:
        if link.fault is not None:
            raise link.fault from None
        raise
    finally:
        # Tune's own files carry nothing that the journal lacks.
        shutil.rmtree(storage, ignore_errors=True)
