"""An Optuna storage that outlives short absences of its database. Imports optuna: import it inside functions."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Container, Iterator
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from search.errors import ProposalsError

PATIENCE_SECS = 120.0
FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS = 0.5, 5.0
"""The longest is also the longest that giving up waits."""
_DISK_FULL = "53100"
T = TypeVar("T")


class PatientStorage(BaseStorage):
    """Passes every call on; when the database is away it is asked again for a while, and no trial is made twice.

    Only one driver at a time works on a study (the journal's lock), so a trial that is there after a lost answer is
    the one that was asked for.

    Args:
        inner: The storage.
        where: Named in each fault.
        say: Told once when the database goes away and once when it is back.
        check: Called while it is waited for; what it raises ends that.
        patience_secs: How long an absence is waited for; unset: `PATIENCE_SECS`.
    """

    def __init__(
        self,
        inner: BaseStorage,
        *,
        where: str,
        say: Callable[[str], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
        patience_secs: float | None = None,
    ) -> None:
        self._inner = inner
        self._where = where
        self._say = say
        self._check = check
        self._patience_secs = PATIENCE_SECS if patience_secs is None else patience_secs
        self._num_trials: dict[int, int] = {}
        self._may_wait = True
        """Whether a queued trial may be there: each proposal looks through all trials for one."""

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials; for queued ones nobody looks twice where none was made."""
        queued = states == (TrialState.WAITING,)
        if queued and not self._may_wait:
            return []
        trials = self._ask(lambda _: self._inner.get_all_trials(study_id, deepcopy, states))
        self._may_wait = bool(trials) if queued else self._may_wait
        return trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial; one that was made although the answer was lost is taken."""
        self._may_wait |= template_trial is not None
        if study_id not in self._num_trials:
            self._num_trials[study_id] = len(self.get_all_trials(study_id, deepcopy=False))

        def create(is_again: bool) -> int:
            if is_again:
                made = self._inner.get_all_trials(study_id, deepcopy=False)[self._num_trials[study_id] :]
                if made:
                    return int(made[0]._trial_id)  # noqa: SLF001
            return self._inner.create_new_trial(study_id, template_trial)

        trial_id = self._ask(create)
        # One that Optuna's own retries made twice is dropped by the sampler, which sees a number left out.
        self._num_trials[study_id] = self.get_trial_number_from_id(trial_id) + 1
        return trial_id

    def delete_study(self, study_id: int) -> None:
        """Delete a study; one that is gone at a second try was deleted by the first, and only the answer was lost."""

        def delete(is_again: bool) -> None:
            try:
                self._inner.delete_study(study_id)
            except KeyError:
                if not is_again:
                    raise

        self._ask(delete)
        self._num_trials.pop(study_id, None)  # the next study may have its number

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:  # noqa: ANN401
        """Set a state; a second refusal of what the first try did is none."""

        def tell(is_again: bool) -> bool:
            try:
                done = self._inner.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if is_again and self._inner.get_trial(trial_id).state == state:
                    return True
                raise
            return done or (is_again and self._inner.get_trial(trial_id).state == state)

        return self._ask(tell)

    def _ask(self, ask: Callable[[bool], T]) -> T:
        pauses: Iterator[float] | None = None
        while True:
            try:
                answer = ask(pauses is not None)
            except Exception as error:
                reason = _reason(error)
                if reason is None:
                    raise
                if not _is_away(error):
                    raise ProposalsError(
                        f"{self._where}: cannot be read or written ({reason}); nothing is lost: make room or mend it, "
                        "then run the same command again"
                    ) from error
                if pauses is None:
                    pauses = self._pauses()
                    self._say(f"{self._where}: no answer ({reason}); trying again for {self._patience_secs:.0f} s")
                pause = next(pauses, None)
                if pause is None:
                    raise ProposalsError(
                        f"{self._where}: no answer any more ({reason}); nothing is lost: start the database, then run "
                        "the same command again"
                    ) from error
                self._check()
                time.sleep(pause)
            else:
                if pauses is not None:
                    self._say(f"{self._where}: answers again")
                return answer

    def _pauses(self) -> Iterator[float]:
        until = time.monotonic() + self._patience_secs
        pause = FIRST_PAUSE_SECS
        while (left := until - time.monotonic()) > 0:
            yield min(pause, left)
            pause = min(1.5 * pause, LONGEST_PAUSE_SECS)


def _pass_on(name: str) -> Callable[..., Any]:
    def method(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return self._ask(lambda _: getattr(self._inner, name)(*args, **kwargs))

    return method


for _name, _member in vars(BaseStorage).items():
    if callable(_member) and not _name.startswith("_") and _name not in vars(PatientStorage):
        setattr(PatientStorage, _name, _pass_on(_name))
abc.update_abstractmethods(PatientStorage)  # type: ignore[type-abstract]


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _reason(error: Exception) -> str | None:
    """The fault of the machine behind an error, in one line; None if it is another kind of error."""
    if not isinstance(error, OSError | SQLAlchemyError | StorageInternalError):
        return None
    for cause in _causes(error):
        if isinstance(cause, OSError):
            return cause.strerror or str(cause)
        if isinstance(cause, SQLAlchemyError):
            return str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
    return str(error).splitlines()[0]


def _is_away(error: Exception) -> bool:
    """Whether asking again may help: the server is down, starting or busy, not full or of another mind."""
    for cause in _causes(error):
        if isinstance(cause, DBAPIError):
            if type(cause.orig).__module__.startswith("sqlite3"):
                return "locked" in str(cause.orig)
            if _DISK_FULL in {getattr(cause.orig, name, None) for name in ("pgcode", "sqlstate")}:
                return False
            return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)
    return False
