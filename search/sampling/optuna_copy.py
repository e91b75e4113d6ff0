"""Copy of the sweep as an Optuna study, in a log file beside the journal or in a database, for Optuna's own tools.

The copy is written from the journal and never read back. If it is damaged or deleted, it is written again.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import TrackingError
from search.journal.follower import Follower
from search.journal.reconcile import Repair, optuna_differences
from search.records import TrialRecord
from search.sampling.optuna_storage import (
    DAMAGED,
    FILE_NAME,
    Lines,
    describe_foreign,
    known_trials,
    open_log,
    open_storage,
    reason_of,
    to_records,
)
from search.sampling.trials import TrialMaker, be_quiet
from search.storage.disk import write_bytes
from spaces.space import Space

if TYPE_CHECKING:
    import optuna


CLAIM_SECS = 2.0
"""Seconds after which one of two sweeps that create the same study in a database at once owns it."""
MANY = 20
"""If more trials than this are missing, the log file is rewritten instead of extended trial by trial."""


class OptunaCopy:
    """Keeps the Optuna study of one sweep up to date with its journal. Not thread-safe.

    Args:
        folder: The study's folder.
        name: The study's name.
        space: The search space.
        database: URL of a database; None for the log file in the folder.
        print_line: Receives lines for the user.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        space: Space,
        database: str | None = None,
        print_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder, self._name, self._print_line = folder, name, print_line
        self._place: Path | str = database or folder
        self._journal = Follower(folder)
        self._maker = TrialMaker(space)
        self._trials: dict[str, TrialRecord] = {}
        """The sweep's trials by key."""
        self._by_number: dict[int, TrialRecord] = {}
        self._twins: dict[str, dict[int, None]] = {}
        """Key of a trial -> numbers of other points with the same training."""
        self._news: dict[int, None] = {}
        """Numbers of trials whose latest state may not be in the copy."""
        self._study: optuna.Study | None = None
        self._lines = Lines()
        self._stamp: tuple[int, ...] = ()
        """Inode, size and time of the log file after the last write."""
        self._is_over: list[bool] = []
        """Whether each trial is finished in the copy, by number."""
        self._is_refused = False
        be_quiet()

    @property
    def num_waiting(self) -> int:
        """Number of trials whose latest state may not be in the copy."""
        return len(self._news)

    def sync(self) -> int:
        """Write everything that is new in the journal.

        Returns:
            Number of trials written.

        Raises:
            TrackingError: The copy cannot be written now; nothing is lost, call again.
            InputError: The journal is damaged.
        """
        self._read()
        if self._is_refused or not self._journal.journal_id:
            return 0
        try:
            return self._bring()
        except Exception as error:
            self._study = None  # it may be partly written, so the next call compares it with the journal
            raise TrackingError(f"{self._where}: cannot be written ({reason_of(error)})") from error

    def finish(self) -> int:
        """Like `sync`, after the driver has exited; also finds and repairs changes that others made in a database."""
        if isinstance(self._place, str):
            self._study = None
        return self.sync()

    @property
    def _where(self) -> str:
        return str(self._place / FILE_NAME) if isinstance(self._place, Path) else "search.database"

    def _read(self) -> None:
        journal = self._journal
        journal.read()
        for number in journal.changed_draws:
            if key := journal.draws[number].twin:
                self._twins.setdefault(key, {})[number] = None
            self._news[number] = None
        for key in journal.changed:
            record = journal.records[key]
            if record.kind == "trial":
                self._trials[key] = self._by_number[record.number] = record
                self._news[record.number] = None
                self._news.update(self._twins.get(key, {}))
        journal.changed.clear()
        journal.changed_draws.clear()

    def _bring(self) -> int:
        if (self._study is None or self._was_changed()) and not self._open():
            return 0
        num_written = 0
        for number in sorted(self._news):
            trial = self._maker.make(number, self._by_number.get(number), self._journal.draws.get(number), self._trials)
            if trial is not None and number > len(self._is_over):
                continue  # a version 1 journal: the numbers before it are about to be recorded
            if trial is not None:
                num_written += self._write(trial)
            del self._news[number]
        self._flush()
        return num_written

    def _write(self, trial: optuna.trial.FrozenTrial) -> bool:
        assert self._study is not None
        storage, study_id = self._study._storage, self._study._study_id  # noqa: SLF001
        is_over = trial.state.is_finished()
        if trial.number == len(self._is_over):
            storage.create_new_trial(study_id, trial)
            self._is_over.append(is_over)
            return True
        if self._is_over[trial.number] or not is_over:
            return False
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        for epoch, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, epoch, value)
        for name, text in trial.user_attrs.items():
            if name == "reason":
                storage.set_trial_user_attr(trial_id, name, text)
        storage.set_trial_state_values(trial_id, trial.state, trial.values)
        self._is_over[trial.number] = True
        return True

    def _open(self) -> bool:
        """Compare the copy with the journal and rewrite it if needed; return False if it is not this study's."""
        study = self._open_file(self._place) if isinstance(self._place, Path) else self._open_database(self._place)
        if self._is_refused:
            return False
        wanted = self._maker.known(self._trials, self._journal.draws)
        held = known_trials(study) if study is not None else []
        differences = optuna_differences(to_records(wanted.values()), held, self._trials.values())
        self._news = {item.number: None for item in differences if item.number is not None}
        is_wrong = any(item.repair is Repair.REWRITE for item in differences)
        if study is None or is_wrong or (isinstance(self._place, Path) and len(differences) > MANY):
            study, num = self._write_again(wanted)
            self._is_over = [wanted[number].state.is_finished() for number in range(num)]
            self._news = {number: None for number in wanted if number >= num}
        else:
            self._is_over = [item.state not in {"RUNNING", "WAITING"} for item in held]
            if study.user_attrs.get("owner") != self._owner:
                study.set_user_attr("owner", self._owner)
        self._study = study
        return True

    @property
    def _owner(self) -> dict[str, str]:
        """Owner of the Optuna study: the journal's id, which does not change when the folder moves, and its place."""
        journal_id = self._journal.journal_id
        return {"journal": journal_id, "folder": str(self._folder.absolute()), "node": socket.gethostname()}

    def _open_file(self, folder: Path) -> optuna.Study | None:
        import optuna

        path = folder / FILE_NAME
        for left in (*folder.glob(f".{FILE_NAME}.*"), folder / f"{FILE_NAME}.lock"):
            left.unlink(missing_ok=True)  # left behind by a killed process
        if not path.is_file():
            return None
        self._stamp = _stamp(path)
        try:
            storage, self._lines = open_log(path)
            study = optuna.load_study(study_name=self._name, storage=storage)
        except Exception:  # noqa: BLE001  a damaged log raises various exceptions
            study = None
        if study is not None and study.user_attrs.get("owner", {}).get("journal") == self._journal.journal_id:
            return study if path.read_bytes().endswith(b"\n") else None
        if path.stat().st_size:
            path.replace(path.with_name(DAMAGED))
            why = "damaged" if study is None else "belongs to another study"
            self._print_line(f"{path}: {why}; renamed to {DAMAGED}, and written again")
        return None

    def _open_database(self, url: str) -> optuna.Study | None:
        import optuna

        study = optuna.create_study(
            study_name=self._name, storage=open_storage(url), direction="maximize", load_if_exists=True
        )
        fault = describe_foreign(study, self._journal.journal_id)
        if fault is None and "owner" not in study.user_attrs:
            # Two sweeps may create it at once; the one that is the owner after a while keeps it.
            study.set_user_attr("owner", self._owner)
            time.sleep(CLAIM_SECS)
            fault = describe_foreign(study, self._journal.journal_id)
        if fault is not None:
            self._print_line(f"{fault} (not copied; the sweep continues)")
            self._is_refused = True
            self._news.clear()
            return None
        return study

    def _write_again(self, wanted: dict[int, optuna.trial.FrozenTrial]) -> tuple[optuna.Study, int]:
        """Write the whole study again: a log file atomically; in a database the old study is deleted first.

        Returns:
            The study, and its number of trials: those before the first number that the journal does not contain.
        """
        import optuna

        if isinstance(self._place, Path):
            self._lines = Lines()
            storage: optuna.storages.BaseStorage = optuna.storages.JournalStorage(self._lines)  # type: ignore[arg-type]
        else:
            storage = open_storage(self._place)
            optuna.delete_study(study_name=self._name, storage=storage)
        study = optuna.create_study(study_name=self._name, storage=storage, direction="maximize")
        study.set_user_attr("owner", self._owner)
        number = 0
        while number in wanted:
            storage.create_new_trial(study._study_id, wanted[number])  # noqa: SLF001
            number += 1
        if isinstance(self._place, Path):
            path = self._place / FILE_NAME
            write_bytes(path, b"".join(self._lines.take()))
            self._stamp = _stamp(path)
        return study, number

    def _was_changed(self) -> bool:
        return isinstance(self._place, Path) and _stamp(self._place / FILE_NAME) != self._stamp

    def _flush(self) -> None:
        if not isinstance(self._place, Path):
            return
        if text := b"".join(self._lines.take()):
            path = self._place / FILE_NAME
            with path.open("ab", buffering=0) as stream:
                if stream.write(text) != len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._stamp = _stamp(path)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
