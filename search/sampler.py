"""Who proposes points: spaces -> Optuna, by ask and tell. The Optuna study on disk is the sweep's memory."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import StudyError
from search.records import Completed, EpochMetrics, Failed, Outcome, Stopped, TrialRecord
from search.seeds import derive
from spaces.domains import Choice, Domain, Fixed, Float, Int
from spaces.space import Point, Space

if TYPE_CHECKING:
    import optuna

    from search.narrowed import NarrowedSampler

MAX_REJECTIONS = 200
"""Proposals in a row that may be no model or already known before the space counts as used up."""
PATIENCE = 20
"""Rejections after which random proposals take over."""


class Sampler:
    """Proposes points that were not proposed before and remembers what became of them.

    Args:
        space: What may vary.
        seed: The study's seed; with the trial's number it determines each proposal.
        method: `tpe`, `random` or `grid`.
        startup_trials: Random points before tpe learns.
        study_name: Name of the Optuna study.
        storage: Folder of the journal file, or an Optuna storage URL.
        first: Points to be proposed before any other.
        why_not: Why a point of the space is no model after all; None if it is one. Such points are never proposed.

    Attributes:
        rejected: How many points of this study were no models, by reason.
    """

    def __init__(
        self,
        *,
        space: Space,
        seed: int,
        method: str,
        startup_trials: int,
        study_name: str,
        storage: Path | str,
        first: Iterable[Point] = (),
        why_not: Callable[[Point], str | None] = lambda _: None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("optuna").propagate = False
        self._space = space
        self._domains = {parameter.name: parameter.domain for parameter in space.parameters}
        self._seed = seed
        self._method = method
        self._startup_trials = startup_trials
        self._study = optuna.create_study(
            study_name=study_name,
            storage=open_storage(storage),
            direction="maximize",
            load_if_exists=True,
        )
        self._check_space()
        self._why_not = why_not
        # Optuna's own duplicates, failures and half-proposed leftovers have no digest and are not ours.
        attrs = [trial.user_attrs for trial in self._study.get_trials(deepcopy=False)]
        self._known = {item[name] for item in attrs for name in ("digest", "impossible") if name in item}
        self.rejected = Counter(item["rejected"] for item in attrs if "impossible" in item)
        self._waiting = self._fixed_points(tuple(first))
        self._unbegun: list[tuple[int, Point]] = []

    def _check_space(self) -> None:
        attrs = self._study.user_attrs
        if attrs.get("space", self._space.digest) != self._space.digest:
            raise StudyError("search.database: an Optuna study of this name searches another space; rename the study")
        if "space" not in attrs:
            self._study.set_user_attr("space", self._space.digest)

    def _fixed_points(self, first: tuple[Point, ...]) -> Iterator[Point]:
        yield from (point for point in first if point.digest not in self._known)
        if self._method == "grid":
            yield from self._new_points()

    def _new_points(self) -> Iterator[Point]:
        """Points of a finite space that are models and were not proposed, in order."""
        for point in self._space.enumerate():
            if point.digest in self._known:
                continue
            if why := self._why_not(point):
                self._note_impossible(point, why)
            else:
                yield point

    def _note_impossible(self, point: Point, why: str) -> None:
        self._known.add(point.digest)
        self.rejected[why] += 1

    def ask(self) -> tuple[int, Point] | None:
        """Propose a point.

        Returns:
            The Optuna trial's number and the point, or None when the space has nothing new.
        """
        if self._unbegun:
            return self._unbegun.pop(0)
        for attempt in range(MAX_REJECTIONS):
            if self._space.size is not None and len(self._known) >= self._space.size:
                return None
            point = next(self._waiting, None)
            if point is None and attempt >= PATIENCE and self._space.size is not None:
                point = next(self._new_points(), None)
            if point is not None:
                if point.digest in self._known:
                    continue
                self._study.enqueue_trial({name: point[name] for name in self._space.free if name in point})
            elif self._method == "grid":
                return None
            if asked := self._draw(attempt):
                return asked
        return None

    def _draw(self, attempt: int) -> tuple[int, Point] | None:
        # Proposals that a crash cut in half do not count: the next ones are those of an undisturbed sweep.
        trials = self._study.get_trials(deepcopy=False)
        index = sum("digest" in trial.user_attrs or "rejected" in trial.user_attrs for trial in trials)
        self._study.sampler = sampler = self._make_sampler(index, attempt)
        trial = self._study.ask()

        def suggest(name: str, offered: Domain) -> Any:  # noqa: ANN401
            sampler.offered = offered
            return _suggest(trial, name, self._domains[name])

        point = self._space.assemble(suggest)
        if point.digest in self._known:
            self._reject(trial, "proposed before")
        elif why := self._why_not(point):
            self._note_impossible(point, why)
            self._reject(trial, why, impossible=point.digest)
        else:
            trial.set_user_attr("digest", point.digest)
            self._known.add(point.digest)
            return trial.number, point
        return None

    def _reject(self, trial: optuna.Trial, why: str, **attrs: str) -> None:
        import optuna

        for name, value in {"rejected": why, **attrs}.items():
            trial.set_user_attr(name, value)
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _make_sampler(self, index: int, attempt: int) -> NarrowedSampler:
        # A fresh sampler per proposal, seeded by its place: a study that was killed goes on with the same draws.
        import optuna

        from search.narrowed import NarrowedSampler

        seed, replacement = (
            derive(self._seed, purpose, index, attempt) % 2**32 for purpose in ("proposal", "replacement")
        )
        if self._method != "tpe" or attempt >= PATIENCE:
            return NarrowedSampler(optuna.samplers.RandomSampler(seed=seed), replacement)
        with warnings.catch_warnings():
            # `group` learns conditional parameters jointly; Optuna still calls it experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            inner = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=self._startup_trials
            )
        return NarrowedSampler(inner, replacement)

    def tell(self, number: int, curve: Iterable[EpochMetrics], outcome: Outcome) -> None:
        """Tell Optuna what became of a trial; telling it twice changes nothing.

        Completed trials count with their last validation accuracy, stopped ones as PRUNED with their curve (never
        as COMPLETE with a low-epoch value), failed ones as FAIL with the reason.
        """
        import optuna

        state = optuna.trial.TrialState
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state.is_finished():
            return
        metrics = tuple(curve)
        # A trial of an earlier process has only its number; reports need the object (optuna has no public way back).
        trial = optuna.Trial(self._study, frozen._trial_id)  # noqa: SLF001
        for epoch in metrics:
            if epoch.val_accuracy is not None and epoch.epoch not in frozen.intermediate_values:
                trial.report(epoch.val_accuracy, epoch.epoch)
        match outcome:
            case Completed():
                self._study.tell(trial, metrics[-1].val_accuracy)
            case Stopped():
                self._study.tell(trial, state=state.PRUNED)
            case Failed(reason=reason):
                trial.set_user_attr("reason", reason)
                self._study.tell(trial, state=state.FAIL)

    def reconcile(self, records: Mapping[str, TrialRecord]) -> int:
        """Mend Optuna's study from the journal's records (by key).

        Returns:
            How many trials differed: finished ones that Optuna thought running, and proposals cut in half. Whole
            proposals that never began are handed out first by the next `ask`.
        """
        import optuna

        state = optuna.trial.TrialState
        by_number = {record.number: record for record in records.values()}
        num_mended = 0
        while self._study.get_trials(deepcopy=False, states=(state.WAITING,)):
            self._study.tell(self._study.ask(), state=state.FAIL)  # enqueued, never proposed
        for trial in self._study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            record = by_number.get(trial.number)
            if record is not None and record.outcome is not None:
                self.tell(trial.number, record.curve, record.outcome)
                num_mended += 1
            elif record is None and "digest" in trial.user_attrs:
                self._unbegun.append((trial.number, self._space.point(trial.params)))
            elif record is None:
                self._study.tell(trial.number, state=state.FAIL)  # cut off in the middle of its proposal
                num_mended += 1
        return num_mended


def open_storage(storage: Path | str) -> optuna.storages.BaseStorage:
    """Open the journal file in a folder, or the database behind a URL.

    Raises:
        StudyError: The database cannot be reached.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if isinstance(storage, Path):
        path = str(storage / "optuna.log")
        return optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    try:
        return optuna.storages.RDBStorage(storage)
    except Exception as error:  # noqa: BLE001  any driver's own exception means the same here
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"search.database: cannot be opened ({reason}); check the URL and that the server runs"
        ) from None


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:  # noqa: ANN401
    match domain:
        case Float(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case Int(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case Choice(values=values):
            return trial.suggest_categorical(name, values)
        case Fixed(value=value):
            return value
