"""The `studies` command: what lies in a storage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.commands.control import driven_by
from search.console.counts import duration
from search.console.tables import Rows, print_tables
from search.errors import HybridSearchError, NothingToDoError
from search.journal.budgets import sweep_end
from search.journal.commands import num_planned
from search.journal.reading import FILE_NAME, read_history
from search.journal.summary import is_exhausted, nominee
from search.storage.location import Location, is_uri, resolved, shown
from search.storage.store import Store
from search.storage.working_copy import RESOLVED
from search.study.load import find_study
from search.text.counted import counted
from spaces.errors import near_matches


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One study of a storage."""

    name: str
    state: str
    """`sweep runs`, `compare runs`, `finished`, `unfinished` or `unreadable`. A sweep is also finished if the space
    has fewer points than trials are planned."""
    num_over: int = 0
    """Number of trials with an outcome."""
    num_planned: int = 0
    nominee: str = ""
    """Label of the nominated trial; empty if there is none."""
    val_accuracy: float | None = None
    """Validation accuracy of the nominee, one run per block of the sweep."""
    changed_at: float | None = None
    """Time of the newest event, in seconds since 1970."""
    fault: str = ""
    """Why the study cannot be read."""


def list_studies(storage: str) -> list[StudyRow]:
    """Return the studies of a storage, by name.

    Args:
        storage: Folder or URI that contains studies.

    Raises:
        NothingToDoError: There is no such folder, or no study in it.
        StoreError: The store refuses access.
        StoreAwayError: The store cannot be reached.
    """
    names = _remote(storage) if is_uri(storage) else _local(Path(storage).expanduser())
    if not names:
        where = shown(storage) if is_uri(storage) else storage
        raise NothingToDoError(f"{where}: expected studies in it, found none; `sweep` makes one")
    return [_row(Location(storage, name)) for name in names]


def _local(storage: Path) -> list[str]:
    if _is_study(storage):
        raise NothingToDoError(f"{storage}: expected a folder of studies, found a study; give {storage.parent}")
    if not storage.is_dir():
        beside = [path.name for path in storage.absolute().parent.glob("*") if path.is_dir()]
        near = near_matches(storage.name, beside)
        hint = f"; did you mean {' or '.join(str(storage.parent / name) for name in near)}?" if near else ""
        raise NothingToDoError(f"{storage}: expected a folder of studies, found none{hint}")
    return sorted(path.name for path in storage.iterdir() if not path.name.startswith(".") and _is_study(path))


def _is_study(folder: Path) -> bool:
    return (folder / RESOLVED).is_file() or (folder / FILE_NAME).is_file()


def _remote(storage: str) -> list[str]:
    store = Store(resolved(storage))
    store.check()
    folders = store.folders()
    there = store.stamps(f"{name}/{RESOLVED}" for name in folders)
    return [name for name in folders if f"{name}/{RESOLVED}" in there]


def _row(location: Location) -> StudyRow:
    try:
        study = find_study(location.uri or location.folder)
        history = read_history(study.folder)
        verb = driven_by(study)
    except HybridSearchError as error:
        return StudyRow(name=location.name, state="unreadable", fault=error.faults[0])
    trials = [record for record in history.records.values() if record.kind == "trial"]
    num_over = sum(record.outcome is not None for record in trials)
    planned = num_planned(study.search.trials, history.marks)
    is_ended = is_exhausted(history.marks) or sweep_end(history.marks, study.search.budgets) is not None
    is_over = num_over >= planned or (num_over == len(trials) and is_ended)
    best = nominee(trials)
    times = [event["at"] for event in history.marks]
    times += [record.finished_at or record.started_at for record in history.records.values()]
    return StudyRow(
        name=location.name,
        state=f"{verb} runs" if verb else "finished" if is_over else "unfinished",
        num_over=num_over,
        num_planned=planned,
        nominee=best.label if best else "",
        val_accuracy=best.val_accuracy if best else None,
        changed_at=max(times, default=None),
    )


def to_dict(rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
    """Return the studies as plain data for `--json`."""
    return [asdict(row) for row in rows]


def to_lines(rows: Sequence[StudyRow]) -> list[str]:
    """Return the studies as a table."""
    now = time.time()
    table: Rows = [("study", "state", "trials", "validation", "nominee", "changed")]
    for row in rows:
        table.append(
            (
                row.name,
                row.state,
                f"{row.num_over:,}/{row.num_planned:,}",
                "-" if row.val_accuracy is None else f"{row.val_accuracy:.4f}",
                row.nominee or "-",
                "-" if row.changed_at is None else f"{duration(max(0.0, now - row.changed_at))} ago",
            )
        )
    faults = [f"{row.name}: {row.fault}" for row in rows if row.fault]
    lines = print_tables([table], [*faults, _count(len(rows))], least_first=["nominee", "validation", "changed"])
    return lines.splitlines()


def _count(number: int) -> str:
    return "1 study" if number == 1 else counted(number, "studie")
