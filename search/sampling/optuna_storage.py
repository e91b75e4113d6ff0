"""Open Optuna's storage of a study, a log file or a database, and read what it has."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import StudyError
from search.journal.reconcile import OptunaTrial
from search.records import CUT_OFF, Draw
from search.sampling.trials import be_quiet

if TYPE_CHECKING:
    import optuna

    from search.study.config import StudyConfig


FILE_NAME = "optuna.log"


DAMAGED = "optuna.log.damaged"
"""Name to which a file in the log's place is moved if it is unreadable or belongs to another study."""


CONNECT_SECS = 10


def place_of(study: StudyConfig) -> Path | str:
    """Return where a sweep's Optuna study is stored: the folder of the log file, or the URL of a database."""
    return study.search.database or study.folder


def with_driver(url: str) -> str:
    """Add the installed PostgreSQL driver to a URL; without one, the default depends on SQLAlchemy's version."""
    installed = next((name for name in ("psycopg2", "psycopg") if find_spec(name)), None)
    scheme, mark, rest = url.partition("://")
    return f"postgresql+{installed}{mark}{rest}" if installed and scheme in {"postgres", "postgresql"} else url


def open_storage(place: Path | str, *, make_tables: bool = True) -> optuna.storages.BaseStorage:
    """Open the log file in a folder, or the database behind a URL.

    Args:
        place: Folder of the log file, or URL of a database.
        make_tables: Whether to create missing tables in a database.

    Raises:
        StudyError: The storage cannot be read or reached.
    """
    if isinstance(place, Path):
        return open_log(place / FILE_NAME)[0]
    import optuna

    url = with_driver(place)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        options |= {"connect_args": {"connect_timeout": CONNECT_SECS}}
    try:
        database = optuna.storages.RDBStorage(url, engine_kwargs=options, skip_table_creation=not make_tables)
    except Exception as error:  # noqa: BLE001  any driver's own exception means the same here
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"search.database: cannot be opened ({reason}); check the URL and that the server runs"
        ) from None
    return optuna.storages.get_storage(database)


def read_study(place: Path | str, name: str) -> optuna.Study | None:
    """Open an Optuna study for reading. Nothing is created or changed.

    Args:
        place: Folder of the log file, or URL of a database.
        name: Name of the study.

    Returns:
        The study; None if there is none.

    Raises:
        StudyError: The storage cannot be read.
    """
    import optuna

    be_quiet()
    if isinstance(place, Path):
        if not (place / FILE_NAME).is_file():
            return None
    elif not _has_tables(place):
        return None
    try:
        with contextlib.suppress(KeyError):
            return optuna.load_study(study_name=name, storage=open_storage(place, make_tables=False))
    except StudyError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged log raises various exceptions
        where = place / FILE_NAME if isinstance(place, Path) else "search.database"
        raise StudyError(f"{where}: cannot be read ({reason_of(error)})") from None
    return None


def _has_tables(url: str) -> bool:
    """Return whether a database exists and has Optuna's tables; a missing SQLite file must be creatable."""
    from sqlalchemy import create_engine, inspect, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(with_driver(url))
    except ArgumentError:  # its message may contain the whole URL, including a password
        raise StudyError("search.database: expected a URL, such as sqlite:////home/me/optuna.db") from None
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        file = Path(str(parsed.database))
        if not file.exists():
            folder = file.absolute().parent
            if not os.access(folder, os.W_OK | os.X_OK):
                raise StudyError(f"search.database: {folder} is not a writable folder; create it, or make it writable")
            return False
    options = {"connect_timeout": CONNECT_SECS} if backend in {"postgresql", "mysql"} else {}
    try:
        engine = create_engine(parsed, connect_args=options)
        try:
            return bool(inspect(engine).has_table("studies"))
        finally:
            engine.dispose()
    except Exception as error:  # noqa: BLE001  any driver's own exception means the same here
        raise StudyError(
            f"search.database: cannot be opened ({reason_of(error)}); check the URL and that the server runs"
        ) from None


def foreign_study(study: StudyConfig, journal_id: str) -> str | None:
    """Return why this sweep must not write to the study in its database; None if it may, or there is none.

    Nothing is created or changed.

    Args:
        study: The study.
        journal_id: Id of its journal; empty if the study has not started.

    Returns:
        The reason in one line; None if the database has no such study or it belongs to this journal.

    Raises:
        StudyError: The database cannot be reached.
    """
    place = place_of(study)
    found = read_study(place, study.name) if isinstance(place, str) else None
    return None if found is None else describe_foreign(found, journal_id)


def describe_foreign(study: optuna.Study, journal_id: str) -> str | None:
    """Return why a study in a database must not be written to; None if it is empty or belongs to this journal."""
    owner = study.user_attrs.get("owner")
    name = study.study_name
    if isinstance(owner, dict) and owner.get("journal"):
        if owner["journal"] == journal_id:
            return None
        return (
            f"search.database: the Optuna study {name} belongs to {owner.get('folder')} on {owner.get('node')}; "
            "rename this study or use another database; or, if that folder no longer exists, delete its study from "
            f"the database (`optuna delete-study --study-name {name}`)"
        )
    directions = [item.name.lower() for item in study.directions]
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    if not states and directions == ["maximize"] and not study.user_attrs:
        return None  # an earlier start was killed before it claimed the study, or a user created it in advance
    waiting = sum(state in {"RUNNING", "WAITING"} for state in states)
    return (
        f"search.database: contains an Optuna study {name} that hybrid-search did not make "
        f"({' and '.join(directions)}, {len(states)} trials, {waiting} of them unfinished); it was not changed: "
        "rename this study or use another database"
    )


def to_records(trials: Iterable[optuna.trial.FrozenTrial]) -> dict[int, OptunaTrial]:
    """Return Optuna's trials as `OptunaTrial`, by number."""
    return {
        trial.number: OptunaTrial(
            number=trial.number,
            state=trial.state.name,
            value=trial.value,
            params=trial.params,
            curve=trial.intermediate_values,
        )
        for trial in trials
    }


def known_trials(study: optuna.Study) -> list[OptunaTrial]:
    """Return all trials of an Optuna study as `OptunaTrial`."""
    return list(to_records(study.get_trials(deepcopy=False)).values())


def read_old_draws(place: Path | str, name: str, journal_id: str) -> dict[int, Draw]:
    """Read the draws without a trial from Optuna, for a version 1 journal, which does not contain them.

    Args:
        place: Folder of the log file, or URL of a database.
        name: Name of the study.
        journal_id: Id of the journal.

    Returns:
        Draws by number, those of trials with their point only. Empty if the study is missing or another journal's.

    Raises:
        StudyError: The storage cannot be read.
    """
    study = read_study(place, name)
    if study is None or study.user_attrs.get("owner", {}).get("journal", journal_id) != journal_id:
        return {}
    draws = {}
    for trial in study.get_trials(deepcopy=False):
        attrs = trial.user_attrs
        is_whole = "digest" in attrs or "rejected" in attrs
        draws[trial.number] = Draw(
            number=trial.number,
            point=trial.params or None,
            rejected=attrs.get("rejected", "") if is_whole else CUT_OFF,
            twin=attrs.get("twin", ""),
        )
    return draws


class Lines:
    """In-memory backend of Optuna's journal storage; new lines are collected to be written to the file.

    Args:
        known: Lines already in the file, parsed.
    """

    def __init__(self, known: Iterable[dict[str, Any]] = ()) -> None:
        self._unread = list(known)
        self._unwritten: list[bytes] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:  # noqa: ARG002  each is read once
        """Return the lines that Optuna has not read yet."""
        unread, self._unread = self._unread, []
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Keep the lines that Optuna appends, to be written together."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        self._unwritten += [f"{line}\n".encode() for line in lines]
        self._unread += map(json.loads, lines)

    def take(self) -> list[bytes]:
        """Return and clear the lines that are not in the file yet."""
        lines, self._unwritten = self._unwritten, []
        return lines


def open_log(path: Path) -> tuple[optuna.storages.BaseStorage, Lines]:
    """Open a log file as an Optuna storage, with the object that reads and writes its lines."""
    import optuna

    text = path.read_bytes()
    lines = Lines(json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines())  # only complete lines
    return optuna.storages.JournalStorage(lines), lines  # type: ignore[arg-type]


def reason_of(error: BaseException) -> str:
    """Return the root cause of an error in one line."""
    from sqlalchemy.exc import SQLAlchemyError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen.strerror or str(seen)
        if isinstance(seen, SQLAlchemyError):
            return str(getattr(seen, "orig", None) or seen).strip().splitlines()[0]
        seen = seen.__cause__ or seen.__context__
    return f"{type(error).__name__}: {error}".splitlines()[0]
