"""Optuna's study on disk or in a database: opened, kept readable, claimed for one journal, and written again."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.disk import write_bytes
from search.errors import ProposalsError, StudyError
from search.optuna_log import DAMAGED, FILE_NAME, open_log, read_log, set_aside
from search.reconcile import OptunaTrial

if TYPE_CHECKING:
    import optuna

CLAIM_SECS = 2.0
"""A study that somebody has just made is claimed within this time."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose proposals a study holds."""

    journal: str
    """Id of the journal: it moves and is copied with its folder."""
    folder: str
    node: str


def open_study(
    storage: Path | str,
    name: str,
    owner: Owner | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> optuna.Study:
    """Open or make the study of one journal.

    Args:
        storage: Folder of the log file, or an Optuna storage URL.
        name: The study's name.
        owner: Who asks; unset: nobody claims it.
        say: Told what was set aside, and of a database that is away for a while.
        check: Called while a database is waited for; what it raises ends that.

    Raises:
        StudyError: The database cannot be reached, or the study belongs to another journal.
        ProposalsError: The file cannot be read or written.
    """
    _be_quiet()
    try:
        study = _make_study(_patient(storage, say, check), name)
        if owner is None or _claim(study, owner, is_shared=isinstance(storage, str)):
            return study
        path = Path(storage) / FILE_NAME
        set_aside(path)
        say(f"{path}: belongs to another journal; set aside as {DAMAGED}")
        study = _make_study(_patient(storage, say, check), name)
        _claim(study, owner, is_shared=False)
    except OSError as error:
        raise ProposalsError(
            f"{Path(storage) / FILE_NAME}: cannot be read or written ({error.strerror}); make room or mend it, then "
            "run the same command again"
        ) from None
    return study


def _be_quiet() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").propagate = False


def _make_study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    import optuna

    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


def _patient(storage: Path | str, say: Callable[[str], None], check: Callable[[], None]) -> optuna.storages.BaseStorage:
    from search.patient import PatientStorage

    if isinstance(storage, Path):
        inner, where = open_log(storage / FILE_NAME, say), str(storage / FILE_NAME)
    else:
        inner, where = _open_database(storage), "search.database"
    return PatientStorage(inner, where=where, say=say, check=check)  # type: ignore[abstract]


def open_storage(storage: Path | str) -> optuna.storages.BaseStorage:
    """Open the log file in a folder, or the database behind a URL.

    Raises:
        StudyError: The database cannot be reached.
    """
    return read_log(storage / FILE_NAME) if isinstance(storage, Path) else _open_database(storage)


def _open_database(url: str, *, make_tables: bool = True) -> optuna.storages.BaseStorage:
    import optuna

    url = with_driver(url)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        options |= {"connect_args": {"connect_timeout": 10}}
    try:
        database = optuna.storages.RDBStorage(url, engine_kwargs=options, skip_table_creation=not make_tables)
    except Exception as error:  # noqa: BLE001  any driver's own exception means the same here
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"search.database: cannot be opened ({reason}); check the URL and that the server runs"
        ) from None
    return optuna.storages.get_storage(database)


def with_driver(url: str) -> str:
    """Name the PostgreSQL driver that is installed: which one SQLAlchemy means by none depends on its version."""
    installed = next((name for name in ("psycopg2", "psycopg") if find_spec(name)), None)
    scheme, mark, rest = url.partition("://")
    return f"postgresql+{installed}{mark}{rest}" if installed and scheme in {"postgres", "postgresql"} else url


def _claim(study: optuna.Study, owner: Owner, *, is_shared: bool) -> bool:
    """Write our name on the study; False if a local one bears another name.

    Raises:
        StudyError: A shared one bears another name.
    """
    held = study.user_attrs.get("owner")
    if held is None and is_shared and study.get_trials(deepcopy=False) == []:
        # Two may have found no study at once; the one whose name stands after a while has it.
        study.set_user_attr("owner", asdict(owner))
        time.sleep(CLAIM_SECS)
        held = study.user_attrs["owner"]
    if held is not None and held["journal"] != owner.journal:
        if not is_shared:
            return False
        raise StudyError(
            f"search.database: the Optuna study {study.study_name} belongs to {held['folder']} on {held['node']}; "
            "rename this study or take another database, or, if that folder is gone, delete its study there "
            f"(`optuna delete-study --study-name {study.study_name}`)"
        )
    if held != asdict(owner):
        study.set_user_attr("owner", asdict(owner))
    return True


def rewrite(
    study: optuna.Study,
    storage: Path | str,
    trials: Iterable[optuna.trial.FrozenTrial],
    *,
    say: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> optuna.Study:
    """Write a study again with other trials: what is finished cannot be changed in place.

    A log file is replaced in one step. In a database the study is deleted first; cut off in between, the next start
    puts the rest back from the journal.

    Returns:
        The study, opened again.

    Raises:
        StorageFaultError: It cannot be written; the log that was there is still there.
    """
    import optuna

    attrs, name = study.user_attrs, study.study_name
    if isinstance(storage, Path):
        lines = _Lines()
        memory = optuna.storages.JournalStorage(lines)  # type: ignore[arg-type]
        _fill(_make_study(memory, name), attrs, trials)
        write_bytes(storage / FILE_NAME, b"".join(lines.written))
        return _make_study(_patient(storage, say, check), name)
    database = study._storage  # noqa: SLF001
    optuna.delete_study(study_name=name, storage=database)
    fresh = _make_study(database, name)
    _fill(fresh, attrs, trials)
    return fresh


def _fill(study: optuna.Study, attrs: dict[str, Any], trials: Iterable[optuna.trial.FrozenTrial]) -> None:
    for key, value in attrs.items():
        study.set_user_attr(key, value)
    for trial in trials:
        study.add_trial(trial)


class _Lines:
    """A log in memory, as Optuna's journal storage wants one."""

    def __init__(self) -> None:
        self._logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return json.loads(json.dumps(self._logs[log_number_from:]))  # type: ignore[no-any-return]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._logs += logs

    @property
    def written(self) -> Iterable[bytes]:
        return (json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in self._logs)


def read_study(storage: Path | str, name: str) -> optuna.Study | None:
    """Open a study to look at it; nothing is made, mended or claimed.

    Returns:
        None if there is none.

    Raises:
        StudyError: It cannot be read.
    """
    import optuna
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    _be_quiet()
    if isinstance(storage, Path):
        path = storage / FILE_NAME
        if not path.is_file():
            return None
    try:
        if isinstance(storage, str):
            url = make_url(with_driver(storage))
            if url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
                return None
        opened = open_storage(storage) if isinstance(storage, Path) else _open_database(storage, make_tables=False)
        with contextlib.suppress(KeyError):
            return optuna.load_study(study_name=name, storage=opened)
    except StudyError:
        raise
    except ArgumentError:  # its words may hold the whole text, and that a password
        raise StudyError("search.database: cannot be read (not the URL of a database)") from None
    except Exception as error:  # noqa: BLE001  damage has many names
        where = storage / FILE_NAME if isinstance(storage, Path) else "search.database"
        raise StudyError(f"{where}: cannot be read ({type(error).__name__}: {error})".splitlines()[0]) from None
    return None


def known_trials(study: optuna.Study) -> list[OptunaTrial]:
    """What a study holds, in our own words."""
    return [
        OptunaTrial(
            number=trial.number,
            state=trial.state.name,
            value=trial.value,
            params=trial.params,
            curve=trial.intermediate_values,
            whole="digest" in trial.user_attrs,
            twin=trial.user_attrs.get("twin"),
        )
        for trial in study.get_trials(deepcopy=False)
    ]
