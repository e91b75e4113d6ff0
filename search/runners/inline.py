"""Run trainings one after another in this process, for tests, debugging and machines without Ray."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from search.errors import DivergedError, HybridSearchError, InterruptedStudyError
from search.records import Progress
from search.runners.assignment import Assignment, run_assignment
from search.runners.dispatcher import Dispatcher
from search.study.config import ResourcesSection


def pick_device(gpus: float) -> str:
    """Return the torch device for a request: `cuda` if GPUs are requested, else `cpu`.

    Args:
        gpus: Requested number of GPUs per trial.

    Raises:
        ResourceError: GPUs are requested and none is available.
    """
    import torch

    from search.errors import ResourceError

    if gpus == 0:
        return "cpu"
    if not torch.cuda.is_available():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if hidden is None else f" visible, as CUDA_VISIBLE_DEVICES is {hidden!r}"
        raise ResourceError(f"resources.gpus: {gpus:g} requested, but this machine has none{why}; set it to 0")
    return "cuda"


def run(dispatcher: Dispatcher, resources: ResourcesSection) -> None:
    """Run all assignments of a dispatcher in this process.

    Args:
        dispatcher: The dispatcher.
        resources: Resources of a trial; `cpus` sets the number of threads.

    Raises:
        InterruptedStudyError: A signal or Ctrl-C interrupted the run; the state is saved.
        ResourceError: GPUs are requested and none is available.
    """
    import torch

    device = pick_device(resources.gpus)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(resources.cpus)))
    node = socket.gethostname()
    try:
        while (assignment := _next(dispatcher)) is not None:
            # Closing a training in the middle of an epoch makes it save a checkpoint.
            with contextlib.closing(run_assignment(assignment, device)) as training:
                while _advance(dispatcher, assignment.spec.key, training, node):
                    pass
    except KeyboardInterrupt:
        raise InterruptedStudyError(
            "interrupted; everything is saved, run the same command again to continue"
        ) from None
    finally:
        torch.set_num_threads(threads)
    dispatcher.check_interrupted()


def _next(dispatcher: Dispatcher) -> Assignment | None:
    dispatcher.obey()
    return dispatcher.next()


def _advance(dispatcher: Dispatcher, key: str, training: Iterator[Progress | None], node: str) -> bool:
    """Advance a training to its next epoch or tick. An exception of the model is recorded, not raised.

    Returns:
        Whether the training continues.
    """
    dispatcher.obey()
    try:
        progress = next(training)
    except DivergedError as error:
        dispatcher.diverge(key, error)
    except HybridSearchError:
        raise
    except Exception as error:  # noqa: BLE001  a model may raise anything
        dispatcher.fail(key, f"{type(error).__name__}: {error}")
    else:
        return dispatcher.tick(key) if progress is None else dispatcher.report(key, progress, node)
    return False
