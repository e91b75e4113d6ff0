"""A training as it is sent to a worker, and how a worker executes it."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import InputError
from search.own_models.errors import naming_place
from search.records import Progress
from search.storage.disk import raising_storage_faults
from search.training.spec import TrialSpec

if TYPE_CHECKING:
    from search.data.datasets import DataConfig
    from search.data.store import ImageData


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One training, as it is sent to a worker."""

    spec: TrialSpec
    folder: str
    """The trial's own folder, on storage shared by all nodes."""
    remote: str | None = field(default=None, repr=False)
    """URI of the trial's folder on an object store, used instead of `folder`; may contain a password."""
    num_known_epochs: int
    """Number of epochs already in the journal; the worker does not report them again."""
    pause_after: int | None = None
    """Epoch at which the trial pauses. Another worker may resume it then, so this one closes its files before it
    reports the epoch."""


@functools.lru_cache(maxsize=2)
def _open_once(config: DataConfig, data_key: str) -> ImageData:
    """Open a data set once per process, because scanning its files takes longer than a small trial.

    Data received from the driver take precedence: such a node has no files of its own.
    """
    from search.data.store import open_data, open_received

    return open_received(config, data_key) or open_data(config)


def run_assignment(assignment: Assignment, device: str) -> Generator[Progress | None, None, None]:
    """Execute an assignment in this process. Closing the generator saves a checkpoint.

    Args:
        assignment: The training.
        device: Torch device, `cpu` or `cuda`.

    Yields:
        The progress after each epoch; None within an epoch, where it may be closed (see `search.training.loop.train`).

    Raises:
        InputError: This node's data differ from those that the study started with.
        DivergedError: The loss is not finite.
        StorageFaultError: The machine cannot read or write a file.
    """
    with (
        raising_storage_faults(Path(assignment.folder)),
        contextlib.closing(_carry_out(assignment, device)) as training,
    ):
        for progress in training:
            if progress is not None and progress.metrics.epoch == assignment.pause_after:
                training.close()
                yield progress
                return
            yield progress


def _carry_out(assignment: Assignment, device: str) -> Generator[Progress | None, None, None]:
    from search.data.datasets import default_cache_dir
    from search.storage.scratch import in_scratch
    from search.training.loop import train

    spec = assignment.spec
    cache = default_cache_dir()
    with raising_storage_faults(cache):
        data = _open_once(spec.data, spec.data_key)
    if data.digest != spec.data_key:
        raise InputError(
            f"data.root: node {socket.gethostname()} has different {spec.data.name} data ({data.digest}) than the "
            f"study was started with ({spec.data_key}); give all nodes the same files"
        )

    def begin(folder: Path) -> Generator[Progress | None, None, None]:
        with raising_storage_faults(folder), naming_place(spec.label or "the model"):
            yield from train(spec, data, folder, device=device, num_known_epochs=assignment.num_known_epochs)

    if assignment.remote is None:
        yield from begin(Path(assignment.folder))
    else:
        with raising_storage_faults(cache):
            yield from in_scratch(assignment.remote, cache / "scratch", begin)
