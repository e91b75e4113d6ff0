"""The folder of an export: recognised by its evidence, and replaced so that a kill at any moment loses nothing.

The new export is written beside the old one, under a hidden name. Then the old one is moved aside, the new one takes
its place, and the old one is removed. A process that is killed in between leaves hidden folders: the next export to
the same place puts the old one back if nothing is in its place, and removes the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from search.errors import InputError

FILES = ("README.md", "config.yaml", "evidence.json", "model.pt2", "model.safetensors")
"""What an export consists of."""
MAX_EVIDENCE_BYTES = 1 << 28
"""Evidence holds every repeat and block of a comparison; nothing sensible comes near this."""


def read_evidence(folder: Path) -> dict[str, Any] | None:
    """The evidence of an export; None if the folder is none: no other file says that it is one."""
    path = folder / "evidence.json"
    try:
        if not path.is_file() or path.stat().st_size > MAX_EVIDENCE_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    parts = [found.get(name) for name in ("model", "weights")] if isinstance(found, dict) else [None]
    return found if all(isinstance(part, dict) for part in parts) else None


def check_target(folder: Path, study: str) -> Path:
    """Check that an export may be written to a folder, before anything is computed.

    What a killed export left there is put back or removed first.

    Args:
        folder: As the user named it.
        study: Name of the study that is exported.

    Returns:
        The folder itself, with links followed.

    Raises:
        InputError: Something else is there: a file, other files, or the export of another study.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    try:
        if target.parent.is_dir():
            with _locked(target.parent):
                _clean(target)
        if not target.exists():
            return target
        if not target.is_dir():
            raise InputError(f"--to {folder}: expected a folder, found a file; name a folder")
        names = sorted(path.name for path in target.iterdir())
    except OSError as error:
        raise InputError(f"--to {folder}: cannot be read ({error.strerror}); name another folder") from None
    if not names:
        return target
    if others := [name for name in names if name not in FILES]:
        raise InputError(f"--to {folder}: the folder holds other files ({others[0]}); name an empty or new one")
    evidence = read_evidence(target)
    if evidence is None:
        raise InputError(
            f"--to {folder}: the folder holds {names[0]} and no evidence.json of an export, so it is left alone; name "
            "an empty or new one"
        )
    if (found := _study_of(target, evidence)) != study:
        raise InputError(f"--to {folder}: the folder holds the export of another study ({found}); name another one")
    return target


def _study_of(folder: Path, evidence: dict[str, Any]) -> str:
    """Name of the study that an export is of; exports of earlier versions say it in config.yaml only."""
    if "study" in evidence:
        return str(evidence["study"])
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return "unknown"
    return str(config.get("name")).removesuffix("-winner") if isinstance(config, dict) else "unknown"


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Write a folder as a whole.

    Args:
        folder: As `check_target` returns it.

    Yields:
        An empty folder to write into; it takes the other's place at the end of the block, unless that raises.

    Raises:
        InputError: The place cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = _hidden(folder, f"new-{secrets.token_hex(4)}")
        with _locked(folder.parent):
            new.mkdir()
            held = _lock(new)
    except OSError as error:
        raise InputError(f"--to {folder}: cannot be written ({error.strerror}); name another folder") from None
    try:
        yield new
        for path in (*new.iterdir(), new):
            _flush(path)
        _exchange(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        os.close(held)


def _exchange(folder: Path, new: Path) -> None:
    """Put the new folder in place of the old one, which is moved aside first and removed last."""
    aside = _hidden(folder, "old")
    try:
        with _locked(folder.parent):
            _recover(folder)
            if folder.exists() and any(folder.iterdir()):
                folder.rename(aside)
            try:
                new.rename(folder)
            except BaseException:
                _recover(folder)
                raise
            _flush(folder.parent)
            _remove(aside)
    except OSError as error:
        raise InputError(f"--to {folder}: cannot be replaced ({error.strerror}); name another folder") from None


def old_of(folder: Path) -> Path | None:
    """The export that an interrupted one left aside, where nothing is in its place."""
    aside = _hidden(folder.absolute(), "old")
    return aside if not folder.exists() and read_evidence(aside) is not None else None


def _hidden(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.export-{kind}")


def _recover(folder: Path) -> None:
    """Put back an export that was moved aside by a process that was killed."""
    aside = _hidden(folder, "old")
    if old_of(folder) is not None:
        aside.rename(folder)
    else:
        _remove(aside)


def _remove(folder: Path) -> None:
    """Remove an export, what says that it is one first: half of it is never put back."""
    with contextlib.suppress(OSError):
        (folder / "evidence.json").unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _clean(folder: Path) -> None:
    """Recover, and remove what killed processes were writing; one that still writes holds a lock on its folder."""
    _recover(folder)
    prefix = _hidden(folder, "new-").name
    for path in folder.parent.iterdir():
        if not path.name.startswith(prefix) or not path.is_dir() or path.is_symlink():
            continue
        with contextlib.suppress(OSError):
            held = _lock(path)
            try:
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one export at a time move folders around here; a file system without locks has one user at a time anyway."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path) -> int:
    """Hold a folder for this process, where the file system has locks.

    Raises:
        BlockingIOError: Another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        pass  # one user at a time anyway, as above
    return handle


def _flush(path: Path) -> None:
    """Let a power cut find the file or folder whole, where the file system can promise that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
