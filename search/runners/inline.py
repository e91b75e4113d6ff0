"""Runs one training after another in this process: for tests, debugging and machines without Ray."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from search.errors import DivergedError, HybridSearchError, InterruptedStudyError
from search.records import Progress
from search.study import ResourcesSection
from search.work import Work, run_assignment


def pick_device(gpus: float) -> str:
    """`cuda` where GPUs were asked for, else `cpu`.

    Raises:
        ResourceError: GPUs were asked for and there are none.
    """
    import torch

    from search.errors import ResourceError

    if gpus == 0:
        return "cpu"
    if not torch.cuda.is_available():
        raise ResourceError(f"resources.gpus: {gpus:g} asked for, and this machine has none; set it to 0")
    return "cuda"


def _advance(work: Work, key: str, epochs: Iterator[Progress | None]) -> Progress | None:
    """Train one epoch inside the trial boundary: what the training raises is recorded, not raised."""
    try:
        return next(filter(None, epochs))
    except DivergedError as error:
        work.diverge(key, error)
    except HybridSearchError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a model raises
        work.fail(key, f"{type(error).__name__}: {error}")
    return None


def run(work: Work, resources: ResourcesSection) -> None:
    """Carry out all assignments of a work.

    Raises:
        InterruptedStudyError: Ctrl-C; the state is saved.
        ResourceError: GPUs were asked for and there are none.
    """
    import torch

    device = pick_device(resources.gpus)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(resources.cpus)))
    node = socket.gethostname()
    try:
        while (assignment := work.next()) is not None:
            epochs = run_assignment(assignment, device)
            while (progress := _advance(work, assignment.spec.key, epochs)) is not None:
                if not work.report(assignment.spec.key, progress, node):
                    break
    except KeyboardInterrupt:
        raise InterruptedStudyError("interrupted; everything is saved, the same command goes on") from None
    finally:
        torch.set_num_threads(threads)
