"""The folder of an export: identified by its evidence.json, and replaced as a whole.

The new export is written to a hidden folder beside the old one. Then the old folder is renamed, the new one is renamed
to the target, and the old one is deleted. A killed process therefore loses nothing: it leaves hidden folders, and the
next export to the same target restores the old export if the target is missing, and deletes the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from search.errors import InputError
from search.storage.locks import holding

FILES = ("README.md", "config.yaml", "evidence.json", "model.onnx", "model.pt2", "model.safetensors")
"""Files of an export; that of an own model may lack the program, and the ONNX form is optional."""
CODE = "code"
"""Folder of an export that contains the source of an own model."""
MAX_EVIDENCE_BYTES = 1 << 28
"""Size limit of evidence.json, which holds every repeat of a comparison; real files are far smaller."""


def read_evidence(folder: Path) -> dict[str, Any] | None:
    """Return the evidence of an export, or None if the folder is not an export; evidence.json alone decides."""
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
    """Check that an export may be written to a folder, and recover from a killed export first.

    Call it before anything is computed.

    Args:
        folder: The target as the user named it.
        study: Name of the exported study.

    Returns:
        The target with symbolic links resolved.

    Raises:
        InputError: The target is a file, or holds other files or the export of another study.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    try:
        if target.parent.is_dir():
            with holding(target.parent, wait=True):
                _clean(target)
        if not target.exists():
            return target
        if not target.is_dir():
            raise InputError(f"--to {folder}: expected a folder, found a file; choose a folder")
        names = sorted(path.name for path in target.iterdir())
    except OSError as error:
        raise InputError(f"--to {folder}: cannot be read ({error.strerror}); choose another folder") from None
    if not names:
        return target
    if others := [name for name in names if name not in (*FILES, CODE)]:
        raise InputError(f"--to {folder}: the folder contains other files ({others[0]}); choose an empty or new one")
    evidence = read_evidence(target)
    if evidence is None:
        raise InputError(
            f"--to {folder}: the folder contains {names[0]} and no evidence.json of an export, so it is not replaced; "
            "choose an empty or new one"
        )
    if (found := _study_of(target, evidence)) != study:
        raise InputError(
            f"--to {folder}: the folder contains the export of another study ({found}); choose another one"
        )
    return target


def _study_of(folder: Path, evidence: dict[str, Any]) -> str:
    """Return the study name of an export; earlier versions wrote it to config.yaml only."""
    if "study" in evidence:
        return str(evidence["study"])
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return "unknown"
    return str(config.get("name")).removesuffix("-winner") if isinstance(config, dict) else "unknown"


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Replace a folder as a whole by what is written in a `with` block.

    Args:
        folder: The target, as returned by `check_target`.

    Yields:
        An empty folder to write to. It replaces the target when the block ends, unless the block raises.

    Raises:
        InputError: The target cannot be written.
    """
    held = contextlib.ExitStack()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = _hidden(folder, f"new-{secrets.token_hex(4)}")
        with holding(folder.parent, wait=True):
            new.mkdir()
            held.enter_context(holding(new))
    except OSError as error:
        raise InputError(f"--to {folder}: cannot be written ({error.strerror}); choose another folder") from None
    with held:
        try:
            yield new
            for path in (*sorted(new.rglob("*"), reverse=True), new):
                _flush(path)
            _exchange(folder, new)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _exchange(folder: Path, new: Path) -> None:
    """Rename the old folder, rename the new one to the target, then delete the old one."""
    aside = _hidden(folder, "old")
    try:
        with holding(folder.parent, wait=True):
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
        raise InputError(f"--to {folder}: cannot be replaced ({error.strerror}); choose another folder") from None


def old_of(folder: Path) -> Path | None:
    """Return the previous export that a killed process renamed, if the target is missing; else None."""
    aside = _hidden(folder.absolute(), "old")
    return aside if not folder.exists() and read_evidence(aside) is not None else None


def _hidden(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.export-{kind}")


def _recover(folder: Path) -> None:
    """Restore an export that a killed process renamed."""
    aside = _hidden(folder, "old")
    if old_of(folder) is not None:
        aside.rename(folder)
    else:
        _remove(aside)


def _remove(folder: Path) -> None:
    """Delete an export, its evidence.json first, so that a partly deleted export is never restored."""
    with contextlib.suppress(OSError):
        (folder / "evidence.json").unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _clean(folder: Path) -> None:
    """Recover, and delete what killed processes left; a process that still writes holds a lock on its folder."""
    _recover(folder)
    prefix = _hidden(folder, "new-").name
    for path in folder.parent.iterdir():
        if not path.name.startswith(prefix) or not path.is_dir() or path.is_symlink():
            continue
        with contextlib.suppress(OSError), holding(path) as is_ours:
            if is_ours:
                shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    """Flush a file or folder to disk (fsync), where the file system supports it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
