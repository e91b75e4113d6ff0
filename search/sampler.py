"""Who proposes points: spaces -> Optuna, by ask and tell. The Optuna study on disk is the sweep's memory."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import StudyError
from search.mending import mend_study, tell_outcome
from search.proposals import Owner, open_study
from search.reconcile import Difference
from search.records import EpochMetrics, Outcome, TrialRecord
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
        storage: Folder of the log file, or an Optuna storage URL.
        first: Points to be proposed before any other.
        why_not: Why a point of the space is no model after all; None if it is one. Such points are never proposed.
        owner: Whose proposals these are; in a shared database another owner's study is refused.
        say: Told of a database that is away for a while, and of a log file that was set aside.
        check: Called while a database is waited for; what it raises ends that.

    Attributes:
        rejected: How many points of this study were no models, by reason.
        unbegun: Whole proposals that never began, by Optuna's number; `ask` hands them out first.

    Raises:
        StudyError: The database cannot be reached, or the study is somebody else's or of another space.
        ProposalsError: Optuna's study cannot be read or written; of every method, too.
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
        owner: Owner | None = None,
        say: Callable[[str], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._space = space
        self._domains = {parameter.name: parameter.domain for parameter in space.parameters}
        self._seed = seed
        self._method = method
        self._startup_trials = startup_trials
        self._storage, self._say, self._check = storage, say, check
        self._study = open_study(storage, study_name, owner, say=say, check=check)
        self._check_space()
        self._why_not = why_not
        self._first = tuple(first)
        self.unbegun: list[tuple[int, Point]] = []
        self._look_through()

    def _look_through(self) -> None:
        """Count what Optuna holds; from here on the counts follow what is asked and told."""
        # Optuna's own duplicates, failures and half-proposed leftovers have no digest and are not ours.
        attrs = [trial.user_attrs for trial in self._study.get_trials(deepcopy=False)]
        self._num_trials = len(attrs)
        self._known = {item[name] for item in attrs for name in ("digest", "impossible") if name in item}
        self.rejected = Counter(item["rejected"] for item in attrs if "impossible" in item)
        # Proposals that a crash cut in half do not count: the next ones are those of an undisturbed sweep.
        whole = [item for item in attrs if "digest" in item or "rejected" in item]
        self._index = len(whole)
        self._num_in_row = next((place for place, item in enumerate(reversed(whole)) if "digest" in item), len(whole))
        self._open: dict[int, optuna.Trial] = {}
        self._waiting = self._fixed_points(self._first)

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
        if self.unbegun:
            return self.unbegun.pop(0)
        while self._num_in_row < MAX_REJECTIONS:
            if self._space.size is not None and len(self._known) >= self._space.size:
                return None
            point = next(self._waiting, None)
            if point is None and self._num_in_row >= PATIENCE and self._space.size is not None:
                point = next(self._new_points(), None)
            if point is not None:
                if point.digest in self._known:
                    continue
                self._study.enqueue_trial({name: point[name] for name in self._space.free if name in point})
            elif self._method == "grid":
                return None
            if asked := self._draw():
                return asked
        return None

    def _draw(self) -> tuple[int, Point] | None:
        self._study.sampler = sampler = self._make_sampler()
        trial = self._study.ask()
        self._drop_between(trial.number)

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
            self._index += 1
            self._num_in_row = 0
            self._open[trial.number] = trial
            return trial.number, point
        return None

    def _drop_between(self, number: int) -> None:
        """Give up what a broken connection made in vain: trials between the last one and this one."""
        import optuna

        for between in range(self._num_trials, number):
            self._study.tell(between, state=optuna.trial.TrialState.FAIL)
        self._num_trials = max(self._num_trials, number + 1)

    def _reject(self, trial: optuna.Trial, why: str, **attrs: str) -> None:
        import optuna

        for name, value in {"rejected": why, **attrs}.items():
            trial.set_user_attr(name, value)
        self._index += 1
        self._num_in_row += 1
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _make_sampler(self) -> NarrowedSampler:
        # A fresh sampler per proposal, seeded by its place: a study that was killed goes on with the same draws.
        import optuna

        from search.narrowed import NarrowedSampler

        seed, replacement = (
            derive(self._seed, purpose, self._index, self._num_in_row) % 2**32
            for purpose in ("proposal", "replacement")
        )
        if self._method != "tpe" or self._num_in_row >= PATIENCE:
            return NarrowedSampler(optuna.samplers.RandomSampler(seed=seed), replacement)
        with warnings.catch_warnings():
            # `group` learns conditional parameters jointly; Optuna still calls it experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            inner = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=self._startup_trials
            )
        return NarrowedSampler(inner, replacement)

    def tell(self, number: int, curve: Iterable[EpochMetrics], outcome: Outcome, *, twin: str | None = None) -> None:
        """Tell Optuna what became of a trial; telling it twice changes nothing.

        Completed trials count with their last validation accuracy, stopped ones as PRUNED with their curve (never
        as COMPLETE with a low-epoch value), failed ones as FAIL with the reason.

        Args:
            number: The Optuna trial's number.
            curve: Its epochs.
            outcome: How it ended.
            twin: Key of the record that this is the training of, where another point began it.
        """
        tell_outcome(self._study, self._open.pop(number, number), curve, outcome, twin=twin)

    def reconcile(self, records: Mapping[str, TrialRecord]) -> list[Difference]:
        """Mend Optuna's study from the journal's records (by key).

        From here on `unbegun` holds the whole proposals that never began.

        Returns:
            What differed.

        Raises:
            ProposalsError: Optuna's study does not take what the journal says.
        """
        import optuna

        self._study, found = mend_study(
            self._study, self._storage, self._space, records, say=self._say, check=self._check
        )
        if found:
            self._look_through()
        begun = {record.number for record in records.values()}
        running = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        self.unbegun = [
            (trial.number, self._space.point(trial.params))
            for trial in running
            if trial.number not in begun and trial.user_attrs.get("twin") not in records
        ]
        return found


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:  # noqa: ANN401
    match domain:
        case Float(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case Int(low=low, last=last, step=step, log=log):  # Optuna warns of a bound that no step ends on
            return trial.suggest_int(name, low, last, step=step, log=log)
        case Choice(values=values):
            return trial.suggest_categorical(name, values)
        case Fixed(value=value):
            return value
