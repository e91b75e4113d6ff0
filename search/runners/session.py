"""Open a study for training: its lock and journal, its runner, and the process that copies its journal."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from collections.abc import Callable, Iterator

from search.console.messages import print_line, print_step
from search.copies.hooks import hooks_of
from search.copies.process import FollowerProcess
from search.errors import HybridSearchError, InterruptedStudyError
from search.journal.events import VERSION
from search.journal.journal import Journal
from search.journal.versions import git_revision, versions
from search.runners.dispatcher import Dispatcher
from search.runners.interruption import interruptible
from search.runners.node_check import needs_of
from search.sampling.optuna_storage import place_of
from search.storage.remote_copy import copy_of
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.folder import changed_claims, make_folder, record_study
from search.study.tracking_place import TrackingPlace, tracking_place
from search.uris import redacted

__all__ = ["Shown", "TrackingPlace", "open_runner", "open_session", "print_line", "tracking_place"]

TRACKER_PATIENCE_SECS = 120.0
"""Longest wait in seconds, at the end of a command, for the copies; the next start writes the rest."""
INTERRUPTED_PATIENCE_SECS = 2.0
"""The same after an interrupt, whose sender may soon kill the process: often ten seconds later."""


@dataclasses.dataclass
class Shown:
    """Receiver of display updates, set once the display exists."""

    update: Callable[[], None] = lambda: None


@contextlib.contextmanager
def open_runner(study: StudyConfig, facts: DataFacts) -> Iterator[Callable[[Dispatcher], None]]:
    """Open the runner that the study selects. SIGTERM and Ctrl-C interrupt the dispatcher that it runs.

    Args:
        study: The study.
        facts: Facts about its data.

    Yields:
        Function that runs a dispatcher to its end.
    """
    resources = study.resources
    with interruptible() as interruption:
        if resources.runner == "inline":
            from search.runners import inline

            inline.pick_device(resources.gpus)
            yield lambda work: interruption.carry_out(work, inline.run, resources)
            return
        address = resources.address
        print_step(f"{study.name}: {f'joining Ray at {address}' if address else 'starting Ray on this machine'}")
        from search.runners import ray_tune

        needs = needs_of(study, facts)
        with ray_tune.cluster(resources) as there:
            yield lambda work: interruption.carry_out(work, lambda work, _: ray_tune.run(work, there, needs), resources)


@contextlib.contextmanager
def open_session(study: StudyConfig, facts: DataFacts, command: str, patience: float) -> Iterator[Journal]:
    """Open the journal of a study that `check_study` accepted, and copy it to Optuna and MLflow in another process.

    Args:
        study: The study.
        facts: Facts about its data.
        command: The command, as recorded in the journal.
        patience: Longest wait in seconds for the copies at the end.

    Yields:
        The journal, closed at the end.
    """
    place = tracking_place(study)
    folder = make_folder(study)
    with Journal(folder, copy_of(study.location, print_line)) as journal:
        changed = changed_claims(study)
        record_study(study, has_trials=bool(journal.records))
        for line in changed:
            print_line(f"{study.name}: {line}")
        journal.note(
            "session",
            version=VERSION,
            verb=command,
            pid=os.getpid(),
            node=socket.gethostname(),
            versions=versions(),
            git=git_revision(),
            device="cuda" if study.resources.gpus else "cpu",
            objectives=dict(study.search.objectives),
            limits=dict(study.search.limits),
            num_startup=min(study.search.startup_trials, study.search.trials),
            data={
                "name": study.data.name,
                "digest": facts.key,
                "num_train": facts.num_train,
                "num_val": facts.num_val,
                "num_test": facts.num_test,
                "height": facts.height,
                "width": facts.width,
                "root": redacted(study.data.root) if study.data.root else None,
            },
            classes=list(facts.classes),
        )
        uri, experiment = (place.uri, place.experiment) if place else (None, None)
        tracker = FollowerProcess(
            folder, uri, experiment, print_line, optuna=place_of(study), hooks=bool(hooks_of(study))
        )
        try:
            yield journal
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | InterruptedStudyError):
                patience = min(patience, INTERRUPTED_PATIENCE_SECS)
            with contextlib.suppress(HybridSearchError):  # do not hide the original error
                journal.note("stop")
            raise
        else:
            journal.note("stop")
        finally:
            if not tracker.close(patience):
                print_line(f"{study.name}: {tracker.backlog}")
