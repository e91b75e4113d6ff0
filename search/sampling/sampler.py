"""Propose points of a search space with an Optuna sampler in memory, whose state is rebuilt from the journal."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from search.journal.earlier import EarlierTrial
from search.journal.measures import Direction
from search.journal.reconcile import curve_in_optuna
from search.records import (
    CUT_OFF,
    PROPOSED_BEFORE,
    Completed,
    Draw,
    EpochMetrics,
    Infeasible,
    Outcome,
    Stopped,
    TrialRecord,
    scores_by_epoch,
)
from search.sampling.trials import (
    TrialMaker,
    be_quiet,
    constraints,
    constraints_so_far,
    joint_parameters,
    make_earlier,
    objective_values,
    suggest_value,
)
from search.seeds import derive
from search.study.draws import MAX_DRAWS
from search.study.samplers import method_of
from spaces.domains import Domain
from spaces.space import Point, Space

if TYPE_CHECKING:
    import optuna

    from search.sampling.constrained_sampler import ConstrainedSampler

MAX_REJECTIONS = 200
"""Rejected proposals in a row after which a finite space counts as exhausted, and a continuous one is searched."""
PATIENCE = 20
"""Rejections in a row after which random proposals replace the method's."""
_DIRECTIONS: dict[Direction, Literal["maximize", "minimize"]] = {"max": "maximize", "min": "minimize"}
_ENQUEUED = "fixed_params"
"""System attribute in which Optuna stores the enqueued point of a trial."""


class Sampler:
    """Proposes points that were not proposed before.

    Proposals are deterministic: they depend only on the arguments and on the calls of `ask` and `tell` since. A sampler
    rebuilt from the journal continues with the same points. Not thread-safe.

    Args:
        space: The search space.
        seed: The study's seed; with the number of draws so far it determines each proposal.
        method: Name of a sampler in `SAMPLERS`, or a class `package.module:Class`.
        startup_trials: Number of random points before tpe, gp or cmaes uses results.
        arguments: Keyword arguments of the method's class; of tpe also `fidelity`, `last` or `rung`.
        objectives: Measure -> direction; None for the validation accuracy alone.
        limits: Measure -> largest allowed value, which the method learns for measured costs.
        keep: Which epoch's scores count, see `search.records.kept_epoch`.
        rungs: Epochs at which `fidelity: rung` compares trials, ascending.
        has_pauses: Whether the scheduler pauses trials, so that unfinished trials count by their epochs so far.
        first: Points to propose before all others.
        earlier: Trials of earlier studies, from which the method learns; they are never proposed as such and have no
            number here.
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
        arguments: Mapping[str, Any] | None = None,
        objectives: Mapping[str, Direction] | None = None,
        limits: Mapping[str, float] | None = None,
        keep: str = "last",
        rungs: Sequence[int] = (),
        has_pauses: bool = False,
        first: Iterable[Point] = (),
        earlier: Sequence[EarlierTrial] = (),
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
        self._arguments = dict(arguments or {})
        self._objectives = objectives if objectives is not None and len(objectives) > 1 else None
        self._limits = limits or {}
        self._keep = keep
        is_by_rung = method == "tpe" and self._arguments.pop("fidelity", "last") == "rung"
        self._rungs = tuple(rungs) if is_by_rung else ()
        self._counts_unfinished = has_pauses or is_by_rung
        self._why_not = why_not
        self._note = note
        self._known: set[str] = set()
        self.rejected = Counter[str]()
        self._num_draws = self._num_rejected_in_row = 0
        self._vain_since = -1
        """Number of draws at which no valid point was found."""
        self._open: dict[int, Draw] = {}
        """Running draws of this process, with the attributes that Optuna stores with them and with the study."""
        self._completes_stopped = method_of(method).completes_stopped
        self._learns_limits = method_of(method).learns_limits
        self._joint = joint_parameters(method, space)
        self._earlier: list[optuna.trial.FrozenTrial] = []
        """Trials of earlier studies; in the Optuna study they come before those of this one."""
        self._study = self._rebuild(earlier, records or {}, draws or {})
        self._first = deque(first)
        self._listed = self._new_points() if method == "grid" else iter(())

    def _rebuild(
        self, earlier: Sequence[EarlierTrial], records: Mapping[str, TrialRecord], draws: Mapping[int, Draw]
    ) -> optuna.Study:
        """Rebuild the Optuna study in memory, and the counts that determine the next proposals."""
        import optuna

        from search.sampling.fidelity import make_storage
        from search.sampling.methods import first_generation, make_inner

        be_quiet()
        storage = make_storage(
            rungs=self._rungs,
            num_needed=self._startup_trials,
            counts_unfinished=self._counts_unfinished,
            completes_stopped=self._completes_stopped,
        )
        directions: list[Direction] = ["max"] if self._objectives is None else list(self._objectives.values())
        study = optuna.create_study(storage=storage, directions=[_DIRECTIONS[item] for item in directions])
        maker = TrialMaker(self._space, self._objectives, self._limits)
        attrs = first_generation(make_inner(self._method, seed=0, arguments=self._arguments)) if earlier else {}
        for item in earlier:
            trial = make_earlier(item, maker.distributions, self._limits, has_curves=self._objectives is None)
            trial.system_attrs |= attrs
            self._earlier.append(self._as_told(trial))
            storage.create_new_trial(study._study_id, trial)  # noqa: SLF001
        for number, trial in maker.known(records, draws).items():
            trial = self._as_told(trial)
            if self._counts_unfinished and trial.state is optuna.trial.TrialState.RUNNING:
                key = trial.user_attrs.get("twin") or trial.user_attrs["key"]
                trial.intermediate_values = curve_in_optuna(records[key])
                trial.system_attrs |= constraints_so_far(records[key].curve, self._limits)
            storage.create_new_trial(study._study_id, trial)  # noqa: SLF001  add_trial would validate each trial again
            draw = draws.get(number)
            if draw is not None and draw.rejected != CUT_OFF:
                for name, value in draw.study_attrs.items():
                    storage.set_study_system_attr(study._study_id, name, value)  # noqa: SLF001
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

    def _completes(self, *, is_infeasible: bool) -> bool:
        """Return whether a stopped or infeasible trial counts as COMPLETE."""
        return self._completes_stopped and (self._learns_limits or not is_infeasible)

    def _as_told(self, trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
        """Complete a stopped trial if the method ignores pruned ones."""
        completes = self._completes(is_infeasible=any(excess > 0 for excess in trial.constraints.values()))
        if completes and trial.state.name == "PRUNED" and trial.values:
            trial.state = type(trial.state).COMPLETE
        return trial

    def enqueue(self, point: Point) -> None:
        """Propose a point before all others except those enqueued earlier; ignored if it was proposed before."""
        self._first.append(point)

    def is_enqueued(self, point: Point) -> bool:
        """Return whether a point waits to be proposed before all others."""
        return point in self._first

    def _next_first(self) -> Point | None:
        while self._first:
            point = self._first.popleft()
            if point.digest not in self._known:
                return point
        return None

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
        while True:
            if self._space.size is not None and len(self._known) >= self._space.size:
                return None
            point = self._next_first()
            if point is None and self._num_rejected_in_row >= MAX_REJECTIONS:
                point = self._feasible_point()
                if point is None:
                    return None
            if point is None:
                point = next(self._listed, None)
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

    def _feasible_point(self) -> Point | None:
        """Return a random valid point of a continuous space, few of whose points are valid; None if none is found.

        The rejected points are not recorded: a sampler rebuilt from the journal draws the same ones.
        """
        if self._space.size is not None or self._vain_since == self._num_draws:
            return None
        generator = random.Random(derive(self._seed, "feasible", self._num_draws))  # noqa: S311
        for _ in range(MAX_DRAWS):
            point = self._space.assemble(lambda _name, domain: domain.draw(generator))
            if point.digest not in self._known and self._why_not(point) is None:
                return point
        self._vain_since = self._num_draws
        return None

    def _draw(self) -> tuple[int, Point] | None:
        self._study.sampler = sampler = self._make_sampler()
        storage, study_id = self._study._storage, self._study._study_id  # noqa: SLF001
        before = storage.get_study_system_attrs(study_id)
        trial = self._study.ask()

        def suggest(name: str, offered: Domain) -> Any:  # noqa: ANN401
            sampler.offered = offered
            return suggest_value(trial, name, self._domains[name])

        point = self._space.assemble(suggest)
        kept = storage.get_trial_system_attrs(trial._trial_id)  # noqa: SLF001
        after = storage.get_study_system_attrs(study_id)
        draw = Draw(
            number=trial.number - len(self._earlier),
            attrs={name: value for name, value in kept.items() if name != _ENQUEUED},
            study_attrs={name: value for name, value in after.items() if name not in before or before[name] != value},
        )
        if point.digest in self._known:
            self._reject(draw, point, PROPOSED_BEFORE)
        elif why := self._why_not(point):
            self._note_impossible(point, why)
            self._reject(draw, point, why)
        else:
            self._known.add(point.digest)
            self._num_draws += 1
            self._num_rejected_in_row = 0
            self._open[draw.number] = draw
            if draw.attrs or draw.study_attrs:
                self._note(draw)
            return draw.number, point
        return None

    def _reject(self, draw: Draw, point: Point, why: str) -> None:
        import optuna

        self._num_draws += 1
        self._num_rejected_in_row += 1
        self._study.tell(draw.number + len(self._earlier), state=optuna.trial.TrialState.FAIL)
        # Of a rejected draw, tpe reads nothing.
        attrs = {} if self._method == "tpe" else draw.attrs
        self._note(dataclasses.replace(draw, point=self._free(point), rejected=why, attrs=attrs))

    def _free(self, point: Point) -> dict[str, Any]:
        return {name: point[name] for name in self._space.free if name in point}

    def record_duplicate(self, number: int, point: Point, key: str) -> None:
        """Record that a proposed point leads to the same training as the trial `key` and gets no trial of its own."""
        draw = self._open.get(number, Draw(number=number))
        self._note(dataclasses.replace(draw, point=self._free(point), twin=key))

    def _make_sampler(self) -> ConstrainedSampler:
        # A new sampler per proposal, seeded by its position, so that a resumed study makes the same draws.
        from search.sampling.constrained_sampler import ConstrainedSampler
        from search.sampling.methods import make_inner

        seed, replacement = (
            derive(self._seed, purpose, self._num_draws, self._num_rejected_in_row) % 2**32
            for purpose in ("proposal", "replacement")
        )
        if self._num_rejected_in_row >= PATIENCE:
            return ConstrainedSampler(make_inner("random", seed=seed), replacement)
        inner = make_inner(
            self._method,
            seed=seed,
            study_seed=derive(self._seed, "proposals") % 2**32,
            startup_trials=self._startup_trials,
            arguments=self._arguments,
            earlier=self._earlier,
        )
        return ConstrainedSampler(inner, replacement, self._joint)

    def observe(self, number: int, curve: Iterable[EpochMetrics]) -> None:
        """Report the epochs of an unfinished trial. Only samplers that let unfinished trials count use them."""
        storage, study_id = self._study._storage, self._study._study_id  # noqa: SLF001
        if not self._counts_unfinished:
            return
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number + len(self._earlier))
        known, metrics = storage.get_trial(trial_id).intermediate_values, tuple(curve)
        for name, excess in constraints_so_far(metrics, self._limits).items():
            storage.set_trial_system_attr(trial_id, name, excess)
        for epoch, value in scores_by_epoch(metrics, self._keep).items():
            if epoch not in known:
                storage.set_trial_intermediate_value(trial_id, epoch, value)

    def tell(
        self, number: int, curve: Iterable[EpochMetrics], outcome: Outcome, counts: Mapping[str, int] | None = None
    ) -> None:
        """Report the outcome of a trial. A second report of the same trial is ignored.

        A completed trial counts as COMPLETE with the accuracy of the epoch that counts, a stopped one as PRUNED with
        its curve (not as COMPLETE with the value of an early epoch, unless the method ignores PRUNED trials), a failed
        one as FAIL, an infeasible one like a stopped one, but PRUNED if the method does not learn limits. With several
        objectives the values are those of the epoch that counts, and curves are not told, as Optuna reads them for a
        single objective only.

        Args:
            number: The draw's number.
            curve: Its epochs.
            outcome: How it ended.
            counts: Counts of its model, which may be objectives.
        """
        import optuna

        state = optuna.trial.TrialState
        storage, study_id = self._study._storage, self._study._study_id  # noqa: SLF001
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number + len(self._earlier))
        if storage.get_trial(trial_id).state.is_finished():
            return
        self._open.pop(number, None)
        metrics = tuple(curve)
        for name, excess in constraints(outcome, metrics, self._limits).items():
            storage.set_trial_system_attr(trial_id, name, excess)
        scored = scores_by_epoch(metrics, self._keep)
        if self._objectives is None:
            values = [scored[max(scored)]] if scored else None
            for epoch, value in scored.items():
                storage.set_trial_intermediate_value(trial_id, epoch, value)
        else:
            values = objective_values(metrics, counts or {}, self._objectives, self._keep)
        match outcome:
            case Completed() if values is not None and metrics[-1].epoch in scored:
                told = state.COMPLETE
            case Stopped() | Infeasible():
                completes = self._completes(is_infeasible=isinstance(outcome, Infeasible))
                told = state.COMPLETE if completes and values is not None else state.PRUNED
            case _:
                told, values = state.FAIL, None
        storage.set_trial_state_values(trial_id, told, values)
