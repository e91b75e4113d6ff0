"""Writes the report to a file and logs it to MLflow."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.copies.process import FollowerProcess
from search.errors import (
    InputError,
    JournalError,
    StorageFaultError,
    StoreAwayError,
    StoreError,
    StudyLockedError,
    TrackingError,
)
from search.journal.journal import Journal
from search.runners.session import TRACKER_PATIENCE_SECS, print_line, tracking_place
from search.storage.disk import raising_storage_faults
from search.storage.remote_copy import copy_of
from search.storage.working_copy import publish
from search.study.config import StudyConfig
from search.study.folder import write_atomically

if TYPE_CHECKING:
    from search.report.material import Material

FILE_NAME = "report.html"
"""Name of the report in the study's folder."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written."""

    file: Path
    headline: str
    """The report's first sentence, the main result."""
    verdicts: tuple[str, ...]
    num_bytes: int


def write_report(study: StudyConfig, to: Path | None = None, *, patience: float = TRACKER_PATIENCE_SECS) -> Report:
    """Write a study's report to its folder, and log it to MLflow as an artifact of the sweep's run.

    Nothing is trained. If another process is running the study, the page is written but not logged; the next report
    logs it.

    Args:
        study: A study that was started.
        to: A second path for the page.
        patience: Timeout for MLflow, seconds.

    Returns:
        The report; its path is `to` if given.

    Raises:
        InputError: The study's files are damaged, or the page cannot be written.
    """
    with _MlflowCopy(study) as copy:
        # Imported here, while the copy's process imports MLflow.
        from search.report.material import gather
        from search.report.page import make_page

        material = gather(study)
        page = make_page(material)
        kept = study.folder / FILE_NAME
        file = kept if to is None else to.expanduser().absolute()
        _write(file, page, option="" if to is None else "--to ")
        if file != kept:
            try:
                write_atomically(kept, page)
            except StorageFaultError as error:
                print_line(
                    f"the report could not be written into the study's folder and was not sent to MLflow: {error}"
                )
                return _report(file, material, page)
        copy.finish(page, patience)
    try:
        publish(study.location)
    except (StoreError, StoreAwayError, StorageFaultError) as error:
        print_line(str(error))
    return _report(file, material, page)


def _report(file: Path, material: Material, page: str) -> Report:
    from search.report.verdict import headline

    return Report(
        file=file,
        headline=headline(material),
        verdicts=tuple(comparison.sentence for comparison in material.comparisons),
        num_bytes=len(page.encode()),
    )


def _write(file: Path, page: str, *, option: str) -> None:
    if file.is_dir():
        raise InputError(f"{option}{file}: expected a file, found a folder; give a file such as {file / FILE_NAME}")
    try:
        with raising_storage_faults(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, page)
    except StorageFaultError as error:
        cause = error.__cause__
        why = cause.strerror if isinstance(cause, OSError) else str(error)
        raise InputError(f"{option}{file}: cannot be written ({why}); choose another file with --to") from None


class _MlflowCopy:
    """The copy of the report in MLflow. Use as a context manager, and end it with `finish`.

    The process that writes it is started before the page is made, because loading MLflow takes as long.
    """

    def __init__(self, study: StudyConfig) -> None:
        self._study = study
        self._follower: FollowerProcess | None = None

    def __enter__(self) -> _MlflowCopy:
        with self._printing_faults():
            place = tracking_place(self._study)
            if place is not None:
                self._follower = FollowerProcess(self._study.folder, place.uri, place.experiment, print_line)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._follower is not None:
            self._follower.close(0.0)  # does nothing after `finish`

    def finish(self, page: str, patience: float) -> None:
        """Record the page in the journal, as comparisons are, and wait until it is logged to MLflow."""
        if self._follower is None:
            return
        digest = hashlib.sha256(page.encode()).hexdigest()[:16]
        study = self._study
        with self._printing_faults(), Journal(study.folder, copy_of(study.location, print_line)) as journal:
            known = [event for event in journal.marks if event["event"] == "report"]
            if not known or known[-1]["digest"] != digest:
                journal.note("report", digest=digest, artifacts=[FILE_NAME])
            if not self._follower.close(patience):
                print_line(f"{study.name}: {self._follower.backlog}")

    @contextlib.contextmanager
    def _printing_faults(self) -> Iterator[None]:
        try:
            yield
        except TrackingError as error:
            print_line(f"{self._study.name}: not sent to MLflow: {error}")
        except (StudyLockedError, JournalError, StoreError, StoreAwayError, StorageFaultError, OSError) as error:
            print_line(f"the report was not sent to MLflow: {error}; run `hybrid-search report` again")
