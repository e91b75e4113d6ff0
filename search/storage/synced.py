"""Two-way synchronisation of a local folder with its copy below a URI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.storage.disk import raising_storage_faults, write_bytes
from search.storage.store import Stamp, Store
from search.text.names import is_relative_path

STATE = ".synced.json"


class Synced:
    """Synchronises a folder with its remote copy. Not thread-safe.

    Both sides are compared with their state at the last synchronisation, which is stored in the folder. Remote changes
    are pulled and local changes are pushed. If both sides changed, or the store provides no modification times, the
    remote file wins.

    Args:
        folder: The local folder; created by the first pull or push that transfers a file.
        store: The remote copy.
        names: Files, and folders with a trailing /, to synchronise; by default all except hidden files.
    """

    def __init__(self, folder: Path, store: Store, names: Sequence[str] = ("",)) -> None:
        self.folder, self._store, self._names = folder, store, names
        self.state: dict[str, Any] = _read_state(folder / STATE)
        """Stored in the folder. `files` holds, per name, the local and remote stamps at the last synchronisation."""
        self._files: dict[str, dict[str, Any]] = self.state.setdefault("files", {})

    def pull(self) -> None:
        """Download remote changes since the last synchronisation, and delete local files that were deleted remotely."""
        there = self._store.stamps(name for name in self._names if not _is_folder(name))
        for name in filter(_is_folder, self._names):
            there |= self._store.list(name)
        changed = [name for name, stamp in there.items() if self._is_news(name, stamp)]
        for name, content in self._store.read_all(changed):
            if content is not None:
                put(self.folder / name, content)
                self._note(name, there[name])
        # An empty store was emptied or replaced by another one; local files are then kept.
        for name in [name for name in self._files if there and name not in there]:
            known = self._files.pop(name)
            if _stamp(self.folder / name) == known["here"]:
                (self.folder / name).unlink(missing_ok=True)
        if changed:
            self.save()

    def _is_news(self, name: str, stamp: Stamp) -> bool:
        known = self._files.get(name)
        return known is None or known["there"] != list(stamp) or stamp[0] is None or not (self.folder / name).exists()

    def push(self) -> None:
        """Upload local changes since the last synchronisation, and delete remote files that were deleted locally."""
        here = self._here()
        changed = [name for name, stamp in here.items() if self._files.get(name, {}).get("here") != stamp]
        gone = [name for name in self._files if name not in here]
        if not changed and not gone:
            return
        self._store.write_all({name: (self.folder / name).read_bytes() for name in changed})
        self._store.delete_all(gone)
        for name in gone:
            del self._files[name]
        for name, stamp in self._store.stamps(changed).items():
            self._files[name] = {"here": here[name], "there": list(stamp)}
        self.save()

    def save(self) -> None:
        """Store the state of the synchronisation."""
        put(self.folder / STATE, json.dumps(self.state).encode())

    def _here(self) -> dict[str, list[int]]:
        found = {}
        for root in self._names:
            for path in (self.folder / root).rglob("*") if _is_folder(root) else (self.folder / root,):
                stamp = None if path.name.startswith(".") else _stamp(path)
                if stamp is not None:
                    found[path.relative_to(self.folder).as_posix()] = stamp
        return found

    def _note(self, name: str, there: Stamp) -> None:
        self._files[name] = {"here": _stamp(self.folder / name), "there": list(there)}


def put(path: Path, content: bytes) -> None:
    """Write a file atomically, without flushing it to disk, as it can be downloaded again.

    Raises:
        StorageFaultError: The file cannot be written.
    """
    with raising_storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content, flush=False)


def _is_folder(name: str) -> bool:
    return not name or name.endswith("/")


def _stamp(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return [found.st_mtime_ns, found.st_size] if path.is_file() else None


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    files = state.get("files", {}) if isinstance(state, dict) else None
    return state if isinstance(files, dict) and all(map(is_relative_path, files)) else {}
