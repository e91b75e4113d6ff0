"""A study's folder: permission to write, the resolved study file, and changes since the start of the study."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from search.errors import StudyChangedError, StudyError
from search.journal.reading import read_history
from search.records import digest_of
from search.storage.disk import write_bytes
from search.storage.location import is_uri
from search.storage.working_copy import refresh
from search.study.config import EXTENDABLE, FREE, StudyConfig, to_dict
from search.study.load import check_memory, read_recorded
from search.text.counted import counted
from search.uris import Uri

OPTUNA_LOG = "optuna.log"
MAX_SHOWN = 80
"""Maximum number of characters of a mapping in a message."""


def check_folder(study: StudyConfig) -> None:
    """Check that the storage is writable and that an existing study has not changed.

    Nothing is written except the working copy of a study on an object store. A study without recorded trials may
    change.

    Raises:
        StudyError: The storage is not writable or contains a key that workers need, or the journal is missing.
        StoreError: The store refuses access.
        StoreAwayError: The store cannot be reached.
        StudyChangedError: Fields have changed that make old and new trials incomparable.
    """
    storage = study.storage
    if study.resources.runner == "ray" and isinstance(storage, Uri) and storage.holds_secret and is_uri(storage):
        raise StudyError(
            "storage: expected an address without a key, as workers would not receive the key; set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY (or the variables of this store) on every node, or refer to an environment "
            "variable: ${NAME}"
        )
    refresh(study.location)
    folder = study.folder
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        why = "no permission" if there.is_dir() else f"{there} is a file"
        raise StudyError(f"storage: {folder} cannot be written ({why}); choose another storage")
    check_memory(folder)
    _check_unchanged(study, lambda: has_trials(folder))


def _check_unchanged(study: StudyConfig, has_trials: Callable[[], bool]) -> None:
    recorded = read_recorded(study.folder)
    faults = _changed(recorded, study) if recorded is not None else []
    if faults and has_trials():
        raise StudyChangedError(*faults)


def check_data(study: StudyConfig, digest: str) -> None:
    """Check that a study with trials uses the same data as at its start.

    Args:
        study: The study; changes of its file are reported by `check_folder` instead.
        digest: Digest of the current data.

    Raises:
        StudyChangedError: The data have changed.
    """
    folder = study.folder
    history = read_history(folder)
    known = [event["data"]["digest"] for event in history.marks if event["event"] == "session"]
    if not known or known[-1] == digest or not history.records:
        return
    recorded = read_recorded(folder)
    if recorded is None or not _changed(recorded, study):
        raise StudyChangedError(
            f"{folder}: the study was started on data {known[-1]}, but the data is {digest} now; restore the files, "
            "or give the study another name"
        )


def has_trials(folder: Path) -> bool:
    """Return whether the journal contains a trial or repeat, so that the study must not change."""
    return bool(read_history(folder).records)


def claim_folder(study: StudyConfig) -> Path:
    """Check and create the study's folder, and write the resolved study file.

    Returns:
        The folder.

    Raises:
        StudyChangedError: Fields have changed that make old and new trials incomparable.
        StudyError: The storage is not writable.
    """
    check_folder(study)
    folder = make_folder(study)
    record_study(study, has_trials=has_trials(folder))
    return folder


def record_study(study: StudyConfig, *, has_trials: bool) -> None:
    """Write the resolved study file into the study's folder.

    Call this with the journal open: another process may have changed the study since `check_folder`.

    Args:
        study: The study.
        has_trials: Whether the journal contains a trial or repeat.

    Raises:
        StudyChangedError: Fields have changed that make old and new trials incomparable.
        StudyError: The storage is not writable.
    """
    _check_unchanged(study, lambda: has_trials)
    folder = study.folder
    resolved = folder / "study.yaml"
    try:
        if resolved.is_file() and not has_trials:
            (folder / OPTUNA_LOG).unlink(missing_ok=True)  # the space may have changed
        write_atomically(resolved, yaml.safe_dump(to_dict(study), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise StudyError(f"storage: {folder} cannot be written ({error.strerror}); choose another storage") from None


def make_folder(study: StudyConfig) -> Path:
    """Create the study's folder.

    Raises:
        StudyError: The storage is not writable.
    """
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"storage: {study.folder} cannot be written ({error.strerror}); choose another storage"
        ) from None
    return study.folder


def _changed(before: StudyConfig, after: StudyConfig) -> list[str]:
    """Return one line per change that makes trials incomparable."""
    faults = []
    for path, was, now in _changes(to_dict(before), to_dict(after), ""):
        if path.startswith(FREE) or path in EXTENDABLE[1:]:
            continue
        if path == "search.trials" and isinstance(was, int) and isinstance(now, int) and now >= was:
            continue
        faults.append(
            f"{after.folder}: {path} was {_show(was)} when the sweep started and is {_show(now)} now; set it back, or "
            "give the study another name"
        )
    return faults


def check_given(
    path: str, overrides: Sequence[str], found: StudyConfig, given: StudyConfig | None, *, refuse: bool
) -> list[str]:
    """Check that a study file matches the recorded study, as a sweep's --set is easily forgotten later.

    Fields of `compare` may change if --set names them.

    Args:
        path: The study as named by the user: a study file, or a folder or URI, which always match; or another name for
            messages.
        overrides: The --set options of this command.
        found: The study that `find_with_file` returned.
        given: The content of the study file that it returned; None for a folder or URI.
        refuse: Whether differences raise an error instead of being returned.

    Returns:
        One line per differing field; the recorded values apply, except in `compare`.

    Raises:
        StudyChangedError: There are differences and `refuse` is true.
    """
    recorded = read_recorded(found.folder)
    resolved = found.folder / "study.yaml"
    if given is None or recorded is None or (Path(path).exists() and Path(path).samefile(resolved)):
        return []
    named = [text.partition("=")[0].strip() for text in overrides]
    lines = []
    for field, was, now in _changes(to_dict(recorded), to_dict(given), ""):
        words = f"{found.folder}: {field} was {_show(was)} when the study ran and is {_show(now)} in {path}"
        if field.startswith("compare."):
            if not any(f"{field}.".startswith(f"{name}.") or name.startswith(f"{field}.") for name in named):
                ways = (shlex.quote(f"{field}={json.dumps(value)}") for value in (was, now))
                lines.append(f"{words}; choose one: --set {' or --set '.join(ways)}")
        elif not field.startswith(FREE) and field not in (*EXTENDABLE, "name"):
            lines.append(f"{words}; repeat the --set of the sweep, or set it back")
    if lines and refuse:
        raise StudyChangedError(*lines)
    return lines


def changed_claims(study: StudyConfig) -> list[str]:
    """Return one line per field of `compare` that differs from the recorded value, which will be replaced."""
    recorded = read_recorded(study.folder)
    if recorded is None:
        return []
    changes = _changes(to_dict(recorded)["compare"], to_dict(study)["compare"], "compare")
    return [f"{field} was {_show(was)} and is {_show(now)} from now on" for field, was, now in changes]


def _changes(old: object, new: object, path: str) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        if path == "space" and old == new and list(old) != list(new):
            yield "space (the order of its parameters)", list(old), list(new)
    elif old != new or (path.startswith("model.") and type(old) is not type(new)):
        yield path, old, new


def _show(value: object) -> str:
    if isinstance(value, Mapping) and len(repr(value)) > MAX_SHOWN:
        return f"a mapping with {len(value)} keys"
    if isinstance(value, str) and "\n" in value:  # a file of the source of an own model
        return f"{counted(value.count(chr(10)), 'line')} of source ({digest_of(value)[:8]})"
    return "not set" if value is None else repr(value)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())
