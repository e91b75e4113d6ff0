"""Writes the report to a file and logs it to MLflow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

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
from search.report.material import Material, gather
from search.report.page import make_page
from search.report.verdict import headline
from search.runners.session import TRACKER_PATIENCE_SECS, print_line, tracking_place
from search.storage.disk import raising_storage_faults
from search.storage.remote_copy import copy_of
from search.storage.working_copy import publish
from search.study.config import StudyConfig
from search.study.folder import write_atomically

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
    material = gather(study)
    page = make_page(material)
    kept = study.folder / FILE_NAME
    file = kept if to is None else to.expanduser().absolute()
    _write(file, page, option="" if to is None else "--to ")
    if file != kept:
        try:
            write_atomically(kept, page)
        except StorageFaultError as error:
            print_line(f"the report could not be written into the study's folder and was not sent to MLflow: {error}")
            return _report(file, material, page)
    _track(study, page, patience)
    try:
        publish(study.location)
    except (StoreError, StoreAwayError, StorageFaultError) as error:
        print_line(str(error))
    return _report(file, material, page)


def _report(file: Path, material: Material, page: str) -> Report:
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


def _track(study: StudyConfig, page: str, patience: float) -> None:
    """Record the page in the journal, as comparisons are, and log it to MLflow."""
    try:
        place = tracking_place(study)
    except TrackingError as error:
        print_line(f"{study.name}: not sent to MLflow: {error}")
        return
    if place is None:
        return
    digest = hashlib.sha256(page.encode()).hexdigest()[:16]
    try:
        with Journal(study.folder, copy_of(study.location, print_line)) as journal:
            known = [event for event in journal.marks if event["event"] == "report"]
            if not known or known[-1]["digest"] != digest:
                journal.note("report", digest=digest, artifacts=[FILE_NAME])
            tracker = FollowerProcess(study.folder, place.uri, place.experiment, print_line)
            if not tracker.close(patience):
                print_line(f"{study.name}: {tracker.backlog}")
    except (StudyLockedError, JournalError, StoreError, StoreAwayError, StorageFaultError, OSError) as error:
        print_line(f"the report was not sent to MLflow: {error}; run `hybrid-search report` again")
