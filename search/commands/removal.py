"""The `archive` and `delete` commands: move a study away, or delete it with its runs in MLflow."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from search.console.messages import print_line
from search.errors import InputError, StudyLockedError
from search.journal.reading import read_records
from search.storage.disk import raising_storage_faults, write_bytes
from search.storage.lease import Lease
from search.storage.location import ARCHIVE, Location, join, resolved, unarchived
from search.storage.locks import try_lock
from search.storage.store import Store
from search.storage.working_copy import LOCK, RESOLVED, name_copy, send_rest
from search.study.config import StudyConfig, to_dict
from search.study.load import read_recorded
from search.study.tracking_place import TrackingPlace, tracking_place
from search.text.counted import counted
from search.uris import redacted

LEASE = "driver.json"


def archive(study: StudyConfig) -> Location:
    """Move a study to the storage's archive. Its runs in MLflow stay.

    On an object store its files are copied there and then deleted, after what only the working copy has was sent. If
    this is interrupted, the study stays where it is, and the archive has a part of a copy.

    Returns:
        Where the study is now. If the archive has a study of this name, a number is appended.

    Raises:
        InputError: The folder is a link, or the study is in the archive.
        StudyLockedError: A command trains trials or repeats of the study.
        StorageFaultError: The folder cannot be moved.
        StoreError: The working copy and the object store have different journals.
        StoreAwayError: The object store cannot be reached.
    """
    location = study.location
    if unarchived(location.storage) != location.storage:
        raise InputError(f"{location}: expected a study outside the archive; `hybrid-search delete` deletes one there")
    with _undriven(location) as stop_renewing:
        _record_name(study)
        if location.uri is None:
            target = Path(location.storage).expanduser() / ARCHIVE
            with raising_storage_faults(target):
                target.mkdir(exist_ok=True)
                name = _free_name(study.name, {path.name for path in target.iterdir()})
                location.folder.rename(target / name)
            return Location(str(target), name)
        store = Store(resolved(location.storage))
        send_rest(location, store.below(study.name), secrets.token_hex(4))
        name = _free_name(study.name, set(store.below(ARCHIVE).folders()))
        names = [item for item in store.list(f"{study.name}/") if item != f"{study.name}/{LEASE}"]
        store.copy_all({item: f"{ARCHIVE}/{name}/{item.partition('/')[2]}" for item in names})
        stop_renewing()
        _delete_folders(location)
        return Location(join(location.storage, ARCHIVE), name)


def _record_name(study: StudyConfig) -> None:
    """Record the name of a study whose folder was copied or renamed, as the archive may add a number to it."""
    recorded = read_recorded(study.folder)
    if recorded is not None and recorded.name != study.name:
        named = to_dict(recorded.model_copy(update={"name": study.name}))
        write_bytes(study.folder / RESOLVED, yaml.safe_dump(named, sort_keys=False, allow_unicode=True).encode())


def _free_name(name: str, taken: set[str]) -> str:
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def describe(study: StudyConfig) -> str:
    """Return what `delete` would delete, for the question: `12 trials, 4 repeats, 35.2 MB and its runs in MLflow`."""
    records = read_records(study.folder).values()
    num_trials = sum(record.kind == "trial" for record in records)
    parts = [counted(num_trials, "trial")]
    if len(records) > num_trials:
        parts.append(counted(len(records) - num_trials, "repeat"))
    if study.location.uri is None:
        num_bytes = sum(path.lstat().st_size for path in study.folder.rglob("*"))
        parts.append(f"{num_bytes / 1e6:,.1f} MB")
    place = tracking_place(study)
    runs = f" and its runs in MLflow ({redacted(place.uri)})" if place else ""
    return f"{', '.join(parts)}{runs}"


def delete(study: StudyConfig) -> list[str]:
    """Delete a study: its runs in MLflow, then its folder and, on an object store, its files there.

    Returns:
        Lines on what was deleted and what stays.

    Raises:
        InputError: The folder is a link.
        StudyLockedError: A command trains trials or repeats of the study.
        TrackingError: MLflow is unreachable; the folder is still there.
        StorageFaultError: The folder cannot be deleted.
        StoreAwayError: The object store cannot be reached.
    """
    lines = []
    place = tracking_place(study)
    with _undriven(study.location) as stop_renewing:
        if place is not None:
            lines.append(_delete_runs(study, place))
        stop_renewing()
        _delete_folders(study.location)
    lines.insert(0, f"deleted {study.location}")
    if study.search.database is not None:
        lines.append(f"Optuna's copy stays in {redacted(study.search.database)}, under the name {study.name}")
    return lines


def _delete_runs(study: StudyConfig, place: TrackingPlace) -> str:
    from search.tracking.deletion import delete_runs

    deleted = delete_runs(place.uri, place.experiment, study.folder)
    if isinstance(deleted, Path):
        return f"its runs in MLflow stay, because {deleted} has the same study, one being a copy of the other"
    if deleted == 0:
        return f"found no runs of it in MLflow at {redacted(place.uri)}, experiment {place.experiment}"
    return f"deleted {counted(deleted, 'run')} in MLflow; `mlflow gc` deletes their files"


def _delete_folders(location: Location) -> None:
    if location.uri is not None:
        Store(resolved(location.storage)).delete(f"{location.name}/")
    with raising_storage_faults(location.folder):
        shutil.rmtree(location.folder)


@contextlib.contextmanager
def _undriven(location: Location) -> Iterator[Callable[[], None]]:
    """Keep every driver away from a study while it is moved or deleted.

    Yields:
        Function to call before files are deleted: an object store's lease would otherwise be written again.

    Raises:
        InputError: The study's folder is a link.
        StudyLockedError: A driver works on it.
    """
    if location.folder.is_symlink():
        raise InputError(
            f"{location.folder}: expected a folder, found a link to {location.folder.resolve()}; give that folder "
            "instead, or remove the link"
        )
    with raising_storage_faults(location.folder), (location.folder / LOCK).open("a+") as stream:
        if not try_lock(stream):
            stream.seek(0)
            owner = stream.read().strip() or "an unknown process"
            raise StudyLockedError(
                f"{location}: {owner} is working on this study; end it first, with `hybrid-search pause`"
            )
        if location.uri is None:
            yield lambda: None
            return
        lease = Lease(Store(location.uri), name_copy(location))
        lease.take(print_line)
        try:
            lease.confirm()
            yield lease.stop
        finally:
            lease.give_back()
