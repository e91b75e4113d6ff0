"""A local folder and its copy below a URI: what is new on one side goes to the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.storage.disk import telling_disk_faults, write_bytes
from search.storage.store import Stamp, Store
from search.text.names import is_relative_path

STATE = ".synced.json"


class Synced:
    """Keeps a folder and its remote copy alike.

    Both sides are compared with what they were when they were alike last, which the folder remembers. What changed
    remotely is pulled, what changed here is pushed; where both did, the remote one wins, as it does where the store
    cannot tell when a file was written.

    Args:
        folder: On this machine; made by the first pull that finds something, or by the first push.
        store: The copy.
        names: What takes part: files, and folders with a / at the end; unset: everything but hidden files.
    """

    def __init__(self, folder: Path, store: Store, names: Sequence[str] = ("",)) -> None:
        self.folder, self._store, self._names = folder, store, names
        self.state: dict[str, Any] = _read_state(folder / STATE)
        """Kept with the folder. `files`: per name the stamps here and there when both were alike."""
        self._files: dict[str, dict[str, Any]] = self.state.setdefault("files", {})

    def pull(self) -> None:
        """Bring what changed remotely since both were alike, and remove what was removed there."""
        there = self._store.stamps(name for name in self._names if not _is_folder(name))
        for name in filter(_is_folder, self._names):
            there |= self._store.list(name)
        changed = [name for name, stamp in there.items() if self._is_news(name, stamp)]
        for name, content in self._store.read_all(changed):
            if content is not None:
                put(self.folder / name, content)
                self._note(name, there[name])
        # A store that has nothing at all was emptied or is another one: what is here is all that there is.
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
        """Send what changed here since both were alike, and remove what was removed here."""
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
        """Remember what both sides are."""
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
    """Write a file so that a reader sees the old or the new one. It can be made again: no flush to the disk.

    Raises:
        StorageFaultError: The machine cannot write or read a file.
    """
    with telling_disk_faults(path):
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
