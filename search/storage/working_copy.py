"""The local working copy of a study on an object store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from search.errors import StoreError
from search.storage.location import Location, bare
from search.storage.locks import holding, locked
from search.storage.segments import Segments
from search.storage.store import Store
from search.storage.synced import STATE, Synced, put
from search.text.names import is_relative_path

RESOLVED = "study.yaml"
FILES = (RESOLVED, "report.html", "comparison/", "reproduction/")
"""Synchronised files, beside the journal and the files of trials. Optuna's log and MLflow's SQLite are rebuilt from the
journal instead."""
JOURNAL, SEGMENTS, LOCK = "journal.jsonl", "journal", "lock"
COMMANDS = "commands"
"""Folder of the commands that wait for the driver."""
ARRAYS = ".npy"
"""Suffix of the files that the driver and readers need from a trial; weights are downloaded on demand."""


def refresh(location: Location) -> None:
    """Update a working copy from the store, unless a driver on this machine keeps it up to date.

    Raises:
        StoreError: The store refuses access, or the two journals differ.
        StoreAwayError: The store cannot be reached.
    """
    if location.uri is None:
        return
    store = Store(location.uri)
    store.check()
    with pulling(location):
        if not is_driven(location.folder):
            pull(location, store, Segments(store.below(SEGMENTS), ""))


def publish(location: Location) -> None:
    """Upload files that were not written by a driver, such as a report, unless a driver on this machine does so.

    Raises:
        StoreError: The store refuses access.
    """
    if location.uri is None:
        return
    with pulling(location):
        if not is_driven(location.folder):
            Synced(location.folder, Store(location.uri), FILES).push()


def fetch(location: Location, name: str) -> Path | None:
    """Return the local path of a study's file, downloading it if necessary; None if it does not exist."""
    path = location.folder / name
    if location.uri is not None and not path.is_file():
        bring(location.folder, Store(location.uri), [name])
    return path if path.is_file() else None


def read_resolved(location: Location) -> str | None:
    """Return the text of the resolved study file, or None if the study has not started."""
    path = location.folder / RESOLVED
    if path.is_file():
        return path.read_text(encoding="utf-8")
    content = None if location.uri is None else Store(location.uri).read(RESOLVED)
    return None if content is None else content.decode()


def uri_of_copy(folder: Path) -> str | None:
    """Return the URI of the study that a folder is the working copy of; None for other and for moved folders."""
    try:
        state = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    names = [state.get(name) for name in ("uri", "folder")] if isinstance(state, dict) else [None]
    if not all(isinstance(name, str) and name.isprintable() for name in names):
        return None
    return str(names[0]) if Path(str(names[1])).resolve() == folder.resolve() else None


def name_copy(location: Location) -> str:
    """Return a unique identifier of this working copy."""
    path = location.folder.parent / f".{location.name}.id"
    if not path.is_file():
        put(path, uuid.uuid4().hex.encode())
    return f"{path.read_text()} {socket.gethostname()} {location.folder}"


@contextlib.contextmanager
def pulling(location: Location) -> Iterator[None]:
    """Lock the working copy for writing, in addition to the driver's lock."""
    try:
        with locked(location.folder.parent / f".{location.name}.pull"):
            yield
    except OSError as error:
        raise StoreError(
            f"{location.folder}: the working copy of {location} cannot be written ({error.strerror or error}); free "
            "disk space there, or set HYBRID_SEARCH_STATE to another folder"
        ) from None


def pull(location: Location, store: Store, segments: Segments) -> Synced:
    """Download newer files, journal events and trial files from the store.

    Returns:
        The synchronised files; the state includes that of the journal.

    Raises:
        StoreError: The two journals differ.
    """
    folder = location.folder
    synced = Synced(folder, store, FILES)
    synced.pull()
    journal = _pull_journal(location, segments, synced.state.get("journal", {}))
    is_news = journal != synced.state.get("journal")
    synced.state |= {"uri": bare(store.uri), "folder": str(folder), "journal": journal}
    if is_news and folder.is_dir():
        synced.save()
    bring(folder, store, (name for name in _arrays(folder / JOURNAL) if not (folder / name).is_file()))
    return synced


def send_rest(location: Location, store: Store, writer: str) -> None:
    """Send what only the working copy has, such as the end of a journal whose driver could not reach the store.

    Args:
        location: The study, whose lease the caller holds.
        store: Its folder on the store.
        writer: Identifies this process in the names of segments.

    Raises:
        StoreError: The store refuses access, or the two journals differ.
        StoreAwayError: The store cannot be reached.
    """
    with pulling(location):
        segments = Segments(store.below(SEGMENTS), writer)
        synced = pull(location, store, segments)
        synced.push()
        journal = location.folder / JOURNAL
        start = synced.state["journal"]["size"]
        rest = journal.read_bytes()[start:] if journal.is_file() else b""
        if rest := rest[: rest.rfind(b"\n") + 1]:
            segments.append(start, rest)


def _pull_journal(location: Location, segments: Segments, known: dict[str, object]) -> dict[str, object]:
    """Append the events that exist only on the store to the local journal.

    Returns:
        Size and digest of the journal on the store, so that this part need not be compared next time.
    """
    path = location.folder / JOURNAL
    length = segments.refresh()
    here = path.read_bytes() if path.is_file() else b""
    here = here[: here.rfind(b"\n") + 1]  # ignore an incomplete line
    size = int(str(known.get("size", 0)))
    if size > min(length, len(here)) or hashlib.sha256(here[:size]).hexdigest() != known.get("digest"):
        size = 0
    there = here[:size] + (segments.read(size) if length > size else b"")
    common = min(len(here), len(there))
    if here[:common] != there[:common]:
        number = next(at for at, (a, b) in enumerate(zip(_lines(here), _lines(there), strict=False), start=1) if a != b)
        raise StoreError(
            f"{path}: differs from {location}/{SEGMENTS} from line {number} on: two machines continued from the same "
            f"point; to continue with the journal of the store, move {location.folder} away"
        )
    if len(there) > len(here):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.truncate(len(here))
            stream.write(there[len(here) :])
    return {"size": len(there), "digest": hashlib.sha256(there).hexdigest()}


def _lines(text: bytes) -> list[bytes]:
    return [*text.split(b"\n"), b"\x00"]


def bring(folder: Path, store: Store, names: Iterable[str]) -> None:
    """Download files; those that do not exist on the store are skipped."""
    for name, content in store.read_all(names):
        if content is not None:
            put(folder / name, content)


def _arrays(journal: Path) -> list[str]:
    """Return the arrays that the journal lists as trial files."""
    if not journal.is_file():
        return []
    found: dict[str, None] = {}
    for line in journal.read_bytes().split(b"\n"):
        if b'"artifacts"' in line:
            with contextlib.suppress(ValueError, RecursionError):  # errors are reported when the journal is read
                event = json.loads(line)
                artifacts = event.get("artifacts") if isinstance(event, dict) else None
                names = artifacts.values() if isinstance(artifacts, dict) else ()
                found |= dict.fromkeys(
                    name for name in names if isinstance(name, str) and name.endswith(ARRAYS) and is_relative_path(name)
                )
    return list(found)


def is_driven(folder: Path) -> bool:
    """Return whether a running process on this machine writes the study's journal."""
    try:
        with holding(folder / LOCK, shared=True) as is_free:
            return not is_free
    except OSError:
        return False
