"""A study's folder: permission to write, the resolved study file, and changes since the start of the study."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired

import yaml
from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from search.errors import InputError, StudyChangedError, StudyError
from search.journal.events import read_json
from search.journal.journal import read_events, read_records
from search.significance.records import Verdict
from search.storage.disk import write_bytes
from search.storage.location import is_uri
from search.storage.working_copy import JOURNAL, refresh
from search.study.config import EXTENDABLE, FREE, StudyConfig, check_memory, load_study, to_dict
from search.text.explain import explain
from search.text.names import Key
from search.uris import Uri

OPTUNA_LOG = "optuna.log"
MAX_SHOWN = 80
"""Maximum number of characters of a mapping in a message."""
COMPARISON = "comparison"
"""Subfolder of comparisons: one folder per comparison, named by its key, and copies of the latest comparison's
files."""


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
    resolved = folder / "study.yaml"
    if resolved.is_file():
        faults = _changed(load_study(resolved, fill=False, recorded=True), study)
        if faults and has_trials(folder):
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
    known = [event["data"]["digest"] for event in read_events(folder / JOURNAL) if event["event"] == "session"]
    if not known or known[-1] == digest or not has_trials(folder):
        return
    if not _changed(load_study(folder / "study.yaml", fill=False, recorded=True), study):
        raise StudyChangedError(
            f"{folder}: the study was started on data {known[-1]}, but the data is {digest} now; restore the files, "
            "or give the study another name"
        )


def has_trials(folder: Path) -> bool:
    """Return whether the journal contains a trial or repeat, so that the study must not change."""
    return bool(read_records(folder))


def claim_folder(study: StudyConfig) -> Path:
    """Create the study's folder and write the resolved study file.

    Returns:
        The folder.

    Raises:
        StudyChangedError: Fields have changed that make old and new trials incomparable.
        StudyError: The storage is not writable.
    """
    check_folder(study)
    folder = make_folder(study)
    resolved = folder / "study.yaml"
    try:
        if resolved.is_file() and not has_trials(folder):
            (folder / OPTUNA_LOG).unlink(missing_ok=True)  # the space may have changed
        write_atomically(resolved, yaml.safe_dump(to_dict(study), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise StudyError(f"storage: {folder} cannot be written ({error.strerror}); choose another storage") from None
    return folder


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


def check_given(path: str, overrides: Sequence[str], found: StudyConfig, *, refuse: bool) -> list[str]:
    """Check that a study file matches the recorded study, as a sweep's --set is easily forgotten later.

    Fields of `compare` may change if --set names them.

    Args:
        path: The study as named by the user: a study file, or a folder or URI, which always match.
        overrides: The --set options of this command.
        found: The study returned by `find_study`.
        refuse: Whether differences raise an error instead of being returned.

    Returns:
        One line per differing field; the recorded values apply, except in `compare`.

    Raises:
        StudyChangedError: There are differences and `refuse` is true.
    """
    resolved = found.folder / "study.yaml"
    if is_uri(path) or not Path(path).is_file() or Path(path).samefile(resolved):
        return []
    given = load_study(Path(path), overrides)
    recorded = load_study(resolved, fill=False, recorded=True)
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
    resolved = study.folder / "study.yaml"
    if not resolved.is_file():
        return []
    before = to_dict(load_study(resolved, fill=False, recorded=True))["compare"]
    changes = _changes(before, to_dict(study)["compare"], "compare")
    return [f"{field} was {_show(was)} and is {_show(now)} from now on" for field, was, now in changes]


def _changes(old: object, new: object, path: str) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        if path == "space" and old == new and list(old) != list(new):
            yield "space (the order of its parameters)", list(old), list(new)
    elif old != new:
        yield path, old, new


def _show(value: object) -> str:
    if isinstance(value, Mapping) and len(repr(value)) > MAX_SHOWN:
        return f"a mapping with {len(value)} keys"
    return "not set" if value is None else repr(value)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


class _Dict(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]


class _Comparison(_Dict):
    a: str
    b: str
    verdict: Annotated[Verdict, Strict(False)]
    sentence: str
    estimand: str
    provisional: bool
    adjust_method: str
    family_size: int
    num_blocks: int
    num_images: int | None
    estimate: float | None
    interval: dict[str, Any] | None
    adjusted_p: float | None
    p_a_gt_b: float | None
    components: NotRequired[dict[str, float] | None]


class _Raced(_Dict):
    key: Key
    block: str


class _Repeat(_Raced):
    state: str
    diverged_in_epoch: int | None
    test_accuracy: float | None


class _Racer(_Dict):
    name: str
    point: dict[str, Any]
    repeats: list[_Raced]


class _Contender(_Dict):
    name: str
    finalist: bool
    point: dict[str, Any]
    repeats: list[_Repeat]


class _Race(_Dict):
    sentences: list[str]
    survivor: str
    contenders: list[_Racer]


class _Data(_Dict):
    digest: str
    num_classes: NotRequired[int]


class _Document(_Dict):
    """The fields of a comparison that all readers need; the report checks further fields itself."""

    key: Key
    num_looks: NotRequired[int]
    data: _Data
    comparisons: list[_Comparison]
    contenders: list[_Contender]
    race: NotRequired[_Race]


MAX_BYTES = 1 << 28
"""Size limit of a comparison file."""
_DOCUMENT: TypeAdapter[Any] = TypeAdapter(_Document)


def load_comparison(folder: Path) -> dict[str, Any] | None:
    """Return the latest comparison of a study, or None.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / COMPARISON / "comparison.json"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            document: dict[str, Any] = read_json(stream.read(MAX_BYTES))
        _DOCUMENT.validate_python(document)
        race = document.get("race")
        if race and race["survivor"] not in {item["name"] for item in race["contenders"]}:
            raise ValueError(f"race.survivor: no configuration is called {race['survivor']!r}")
    except ValidationError as error:
        fault = next(explain(error, document, dict, ()))
        raise InputError(f"{path}: damaged ({fault}); `hybrid-search compare` writes it again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); `hybrid-search compare` writes it again") from None
    return document
