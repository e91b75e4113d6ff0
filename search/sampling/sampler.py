"""Propose points of a search space with an Optuna sampler in memory, whose state is rebuilt from the journal."""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from search.records import CUT_OFF, PROPOSED_BEFORE, Completed, Draw, EpochMetrics, Outcome, Stopped, TrialRecord
from search.sampling.trials import TrialMaker, be_quiet, suggest_value
from search.seeds import derive
from spaces.domains import Domain
from spaces.space import Point, Space

if TYPE_CHECKING:
    import optuna

    from search.sampling.constrained_sampler import ConstrainedSampler

MAX_REJECTIONS = 200
"""Rejected proposals in a row after which the space counts as exhausted."""
PATIENCE = 20
"""Rejections in a row after which random proposals replace the method's."""
_ENQUEUED = "fixed_params"
"""System attribute in which Optuna stores the enqueued point of a trial."""


class Sampler:
    """Proposes points that were not proposed before.

    Proposals are deterministic: they depend only on the arguments and on the calls of `ask` and `tell` since. A sampler
    rebuilt from the journal continues with the same points. Not thread-safe.

    Args:
        space: The search space.
        seed: The study's seed; with the number of draws so far it determines each proposal.
        method: `tpe`, `random` or `grid`.
        startup_trials: Number of random points before tpe uses results.
        first: Points to propose before all others.
        why_not: Returns why a point is not a valid model, or None if it is valid. Invalid points are never proposed.
        records: The sweep's trials so far, by key.
        draws: Draws without a trial, by number. Together with the trials they have all numbers from 0 without a gap.
        note: Receives each draw that must be recorded in the journal; called before `ask` returns.

    Attributes:
        rejected: Number of points of this study that are not valid models, by reason.
    """

    def __init__(
        self,
        *,
        space: Space,
        seed: int,
        method: str,
        startup_trials: int,
        first: Iterable[Point] = (),
        why_not: Callable[[Point], str | None] = lambda _: None,
        records: Mapping[str, TrialRecord] | None = None,
        draws: Mapping[int, Draw] | None = None,
        note: Callable[[Draw], None] = lambda _: None,
    ) -> None:
        self._space = space
        self._domains = {parameter.name: parameter.domain for parameter in space.parameters}
        self._seed = seed
        self._method = method
        self._startup_trials = startup_trials
        self._why_not = why_not
        self._note = note
        self._known: set[str] = set()
        self.rejected = Counter[str]()
        self._num_draws = self._num_rejected_in_row = 0
        self._open: dict[int, Mapping[str, Any]] = {}
        """Number of a running draw of this process -> system attributes that Optuna stores with it."""
        self._study = self._rebuild(records or {}, draws or {})
        self._first = deque(first)
        self._listed = self._new_points() if method == "grid" else iter(())

    def _rebuild(self, records: Mapping[str, TrialRecord], draws: Mapping[int, Draw]) -> optuna.Study:
        """Rebuild the Optuna study in memory, and the counts that determine the next proposals."""
        import optuna

        be_quiet()
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=storage, direction="maximize")
        for number, trial in TrialMaker(self._space).known(records, draws).items():
            storage.create_new_trial(study._study_id, trial)  # noqa: SLF001  add_trial would validate each trial again
            draw = draws.get(number)
            if draw is None or not draw.rejected:
                self._known.add(trial.user_attrs["digest"])
                self._num_draws, self._num_rejected_in_row = self._num_draws + 1, 0
                continue
            if draw.point is not None:
                self._known.add(self._space.point(draw.point).digest)
            if draw.is_impossible:
                self.rejected[draw.rejected] += 1
            if draw.rejected != CUT_OFF:
                self._num_draws, self._num_rejected_in_row = self._num_draws + 1, self._num_rejected_in_row + 1
        return study

    def enqueue(self, point: Point) -> None:
        """Propose a point before all others except those enqueued earlier; ignored if it was proposed before."""
        self._first.append(point)

    def is_enqueued(self, point: Point) -> bool:
        """Return whether a point waits to be proposed before all others."""
        return point in self._first

    def _next_fixed(self) -> Point | None:
        while self._first:
            point = self._first.popleft()
            if point.digest not in self._known:
                return point
        return next(self._listed, None)

    def _new_points(self) -> Iterator[Point]:
        """Yield the valid points of a finite space that were not proposed yet, in order."""
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
            The draw's number and the point; None if the space has no new point. Report its outcome with `tell`.
        """
        while self._num_rejected_in_row < MAX_REJECTIONS:
            if self._space.size is not None and len(self._known) >= self._space.size:
                return None
            point = self._next_fixed()
            if point is None and self._num_rejected_in_row >= PATIENCE and self._space.size is not None:
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

        def suggest(name: str, offered: Domain) -> Any:  # noqa: ANN401
            sampler.offered = offered
            return suggest_value(trial, name, self._domains[name])

        point = self._space.assemble(suggest)
        if point.digest in self._known:
            self._reject(trial.number, point, PROPOSED_BEFORE)
        elif why := self._why_not(point):
            self._note_impossible(point, why)
            self._reject(trial.number, point, why)
        else:
            self._known.add(point.digest)
            self._num_draws += 1
            self._num_rejected_in_row = 0
            kept = self._study._storage.get_trial_system_attrs(trial._trial_id)  # noqa: SLF001
            self._open[trial.number] = {name: value for name, value in kept.items() if name != _ENQUEUED}
            if self._open[trial.number]:
                self._note(Draw(number=trial.number, attrs=self._open[trial.number]))
            return trial.number, point
        return None

    def _reject(self, number: int, point: Point, why: str) -> None:
        import optuna

        self._num_draws += 1
        self._num_rejected_in_row += 1
        self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        self._note(Draw(number=number, point=self._free(point), rejected=why))

    def _free(self, point: Point) -> dict[str, Any]:
        return {name: point[name] for name in self._space.free if name in point}

    def record_duplicate(self, number: int, point: Point, key: str) -> None:
        """Record that a proposed point leads to the same training as the trial `key` and gets no trial of its own."""
        self._note(Draw(number=number, point=self._free(point), twin=key, attrs=self._open.get(number, {})))

    def _make_sampler(self) -> ConstrainedSampler:
        # A new sampler per proposal, seeded by its position, so that a resumed study makes the same draws.
        import optuna

        from search.sampling.constrained_sampler import ConstrainedSampler

        seed, replacement = (
            derive(self._seed, purpose, self._num_draws, self._num_rejected_in_row) % 2**32
            for purpose in ("proposal", "replacement")
        )
        match "random" if self._num_rejected_in_row >= PATIENCE else self._method:
            case "tpe":
                with warnings.catch_warnings():
                    # `group` learns conditional parameters jointly; Optuna still calls it experimental.
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    inner = optuna.samplers.TPESampler(
                        seed=seed,
                        multivariate=True,
                        group=True,
                        constant_liar=True,
                        n_startup_trials=self._startup_trials,
                    )
                return ConstrainedSampler(inner, replacement)
            case "random" | "grid":
                return ConstrainedSampler(optuna.samplers.RandomSampler(seed=seed), replacement)
            case unknown:
                msg = f"search.sampler must have a case in Sampler._make_sampler, got {unknown}"
                raise ValueError(msg)

    def tell(self, number: int, curve: Iterable[EpochMetrics], outcome: Outcome) -> None:
        """Report the outcome of a trial. A second report of the same trial is ignored.

        A completed trial counts as COMPLETE with its last validation accuracy, a stopped one as PRUNED with its curve
        (not as COMPLETE with the value of an early epoch), a failed one as FAIL.

        Args:
            number: The draw's number.
            curve: Its epochs.
            outcome: How it ended.
        """
        import optuna

        state = optuna.trial.TrialState
        storage, study_id = self._study._storage, self._study._study_id  # noqa: SLF001
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
        if storage.get_trial(trial_id).state.is_finished():
            return
        self._open.pop(number, None)
        metrics = tuple(curve)
        for epoch in metrics:
            if epoch.val_accuracy is not None:
                storage.set_trial_intermediate_value(trial_id, epoch.epoch, epoch.val_accuracy)
        match outcome:
            case Completed() if metrics and metrics[-1].val_accuracy is not None:
                self._study.tell(number, metrics[-1].val_accuracy)
            case Stopped():
                self._study.tell(number, state=state.PRUNED)
            case _:
                self._study.tell(number, state=state.FAIL)
