"""Convert records of the journal to Optuna trials, for the sampler's study in memory and for the copy.

Imports optuna inside functions only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from search.journal.earlier import EarlierTrial
from search.journal.measures import MEASURES, Direction, limited, measured
from search.journal.reconcile import curve_in_optuna, state_in_optuna
from search.records import (
    CUT_OFF,
    Completed,
    Draw,
    EpochMetrics,
    Failed,
    Infeasible,
    Outcome,
    Stopped,
    TrialRecord,
)
from search.study.samplers import is_class, method_of, modelled
from spaces.domains import Choice, Domain, Fixed, Float, Int
from spaces.space import Space

if TYPE_CHECKING:
    import optuna


def be_quiet() -> None:
    """Silence Optuna's log, except errors: this program reports what matters in its own lines."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").propagate = False


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution | None:
    """Return the Optuna distribution of a domain; None for a fixed value, which is not suggested."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match domain:
        case Float(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case Int(low=low, last=last, step=step, log=log):
            return IntDistribution(low, last, log=log, step=step)
        case Choice(values=values):
            return CategoricalDistribution(values)
        case Fixed():
            return None


def suggest_value(trial: optuna.Trial, name: str, domain: Domain) -> Any:  # noqa: ANN401
    """Return the value that Optuna suggests for a parameter, from the distribution of its domain."""
    match domain:
        case Float(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case Int(low=low, last=last, step=step, log=log):  # Optuna warns if the upper bound is not a whole step away
            return trial.suggest_int(name, low, last, step=step, log=log)
        case Choice(values=values):
            return trial.suggest_categorical(name, values)
        case Fixed(value=value):
            return value


def missing_numbers(records: Iterable[TrialRecord], draws: Mapping[int, Draw]) -> list[int]:
    """Return the numbers below the last one that are not in the journal; version 1 lacks the rejected draws.

    Args:
        records: The sweep's trials.
        draws: Draws by number.
    """
    known = {record.number for record in records}
    known |= {number for number, draw in draws.items() if draw.rejected or draw.twin}
    return [number for number in range(max(known, default=-1)) if number not in known]


def objective_values(
    curve: Sequence[EpochMetrics], counts: Mapping[str, int], objectives: Iterable[str], keep: str = "last"
) -> list[float] | None:
    """Return the objectives of a trial in their own units; None if one is not known."""
    values = [measured(name, curve, counts, keep) for name in objectives]
    known = [float(value) for value in values if value is not None]
    return known if len(known) == len(values) else None


def constraints(
    outcome: Outcome | None, curve: Sequence[EpochMetrics], limits: Mapping[str, float]
) -> dict[str, float]:
    """Return the system attributes by which Optuna knows how far a trial exceeded the limits of measured costs.

    All ended trials of a study have the same attributes, as Optuna's Gaussian process requires.

    Args:
        outcome: How the trial ended; None while it runs.
        curve: Its epochs.
        limits: Measure -> largest allowed value.

    Returns:
        Attribute -> relative excess; at most 0 where the limit is kept or the cost is not known. Empty while the trial
        runs.
    """
    if outcome is None:
        return {}
    costs = {name: limited(name, curve) for name in limits if MEASURES[name].kind == "cost"}
    excess = {name: 0.0 if value is None else min(0.0, value / limits[name] - 1) for name, value in costs.items()}
    if isinstance(outcome, Infeasible):
        excess[outcome.measure] = outcome.value / outcome.limit - 1
    return {f"constraints:{name}": value for name, value in excess.items()}


def constraints_so_far(curve: Sequence[EpochMetrics], limits: Mapping[str, float]) -> dict[str, float]:
    """Return the constraints of an unfinished trial that counts as a stopped one; empty before its first epoch."""
    return constraints(Stopped(epoch=len(curve)), curve, limits) if curve else {}


def joint_parameters(method: str, space: Space) -> dict[str, optuna.distributions.BaseDistribution] | None:
    """Return the distributions of the parameters that a method proposes jointly; None lets its class choose.

    Optuna takes the parameters that all trials so far have, which change when the first trial without one ends.
    """
    if method in {"tpe", "random", "grid"} or is_class(method):
        return None
    domains = {parameter.name: parameter.domain for parameter in space.parameters}
    names = modelled(space, method_of(method).models)
    return {name: item for name in names if (item := distribution(domains[name])) is not None}


def make_earlier(
    trial: EarlierTrial,
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    limits: Mapping[str, float],
    *,
    has_curves: bool,
) -> optuna.trial.FrozenTrial:
    """Return a trial of an earlier study, marked as such by its user attribute `earlier`.

    Args:
        trial: The trial.
        distributions: Distributions of the parameters of this study.
        limits: Limits of this study.
        has_curves: Whether Optuna reads the curve, that is, whether the study has one objective.
    """
    import optuna

    is_completed = isinstance(trial.outcome, Completed)
    is_over = isinstance(trial.outcome, Infeasible) and trial.outcome.measure in limits
    return optuna.trial.FrozenTrial(
        number=0,
        trial_id=0,
        state=optuna.trial.TrialState.COMPLETE if is_completed else optuna.trial.TrialState.PRUNED,
        value=None,
        values=list(trial.values),
        datetime_start=_local(0.0),
        datetime_complete=_local(0.0),
        params=dict(trial.point),
        distributions={name: distributions[name] for name in trial.point},
        user_attrs={"earlier": f"trial {trial.number} of {trial.study}"},
        system_attrs=constraints(trial.outcome if is_over else Completed(), (), limits),
        intermediate_values=dict(trial.curve) if has_curves else {},
    )


class TrialMaker:
    """Makes Optuna trials of one search space.

    Args:
        space: The search space.
        objectives: Measure -> direction, if the study has several objectives; else the value is the validation
            accuracy.
        limits: Measure -> largest allowed value.
    """

    def __init__(
        self,
        space: Space,
        objectives: Mapping[str, Direction] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self._space = space
        self._objectives = objectives
        self._limits = limits or {}
        made = {parameter.name: distribution(parameter.domain) for parameter in space.parameters}
        self.distributions = {name: item for name, item in made.items() if item is not None}
        """Optuna distribution of each parameter that is not fixed."""

    def known(
        self, records: Mapping[str, TrialRecord], draws: Mapping[int, Draw]
    ) -> dict[int, optuna.trial.FrozenTrial]:
        """Return all trials that the journal contains, in the order of their numbers.

        Args:
            records: The sweep's trials by key.
            draws: Draws without a trial, by number.
        """
        by_number = {record.number: record for record in records.values()}
        made = {
            number: self.make(number, by_number.get(number), draws.get(number), records)
            for number in sorted({*by_number, *draws})
        }
        return {number: trial for number, trial in made.items() if trial is not None}

    def make(
        self, number: int, record: TrialRecord | None, draw: Draw | None, records: Mapping[str, TrialRecord]
    ) -> optuna.trial.FrozenTrial | None:
        """Return one trial; None if the journal contains none with this number.

        Args:
            number: Number of the trial.
            record: Record with this number; None if there is none.
            draw: Draw with this number; None if there is none.
            records: All trials by key; a twin has the outcome of its original.
        """
        if record is not None:
            point = self._space.point(record.point)
            attrs = {"digest": point.digest, "key": record.key}
            return self._frozen(number, record, point, attrs, draw.attrs if draw is not None else {})
        if draw is None:
            return None
        if draw.twin:
            point = self._space.point(draw.point or {})
            attrs = {"digest": point.digest, "twin": draw.twin}
            return self._frozen(number, records[draw.twin], point, attrs, draw.attrs)
        if draw.rejected:
            attrs = {} if draw.rejected == CUT_OFF else {"rejected": draw.rejected}
            return self._frozen(number, None, draw.point or {}, attrs, draw.attrs, draw.at)
        return None

    def _frozen(
        self,
        number: int,
        record: TrialRecord | None,
        point: Mapping[str, Any],
        attrs: Mapping[str, Any],
        kept: Mapping[str, Any],
        at: float = 0.0,
    ) -> optuna.trial.FrozenTrial:
        import optuna

        state, value = ("FAIL", None) if record is None else state_in_optuna(record)
        values = None if value is None else [value]
        if self._objectives is not None and record is not None:
            values = objective_values(record.curve, record.counts, self._objectives, record.keep)
            state = "FAIL" if state == "COMPLETE" and values is None else state
            values = values if state in {"COMPLETE", "PRUNED"} else None
        outcome = record.outcome if record is not None else None
        reason = {"reason": outcome.reason} if isinstance(outcome, Failed) else {}
        started_at = record.started_at if record is not None else at
        return optuna.trial.FrozenTrial(
            number=number,
            trial_id=number,
            state=optuna.trial.TrialState[state],
            value=None,
            values=values,
            datetime_start=_local(started_at),
            datetime_complete=None if state == "RUNNING" else _local((record and record.finished_at) or started_at),
            params={name: point[name] for name in self.distributions if name in point},
            distributions={name: item for name, item in self.distributions.items() if name in point},
            user_attrs={**attrs, **reason},
            system_attrs={**kept, **constraints(outcome, record.curve if record is not None else (), self._limits)},
            intermediate_values=(
                curve_in_optuna(record)
                if record is not None and outcome is not None and self._objectives is None
                else {}
            ),
        )


def _local(at: float) -> datetime:
    # Optuna uses local times without a time zone.
    return datetime.fromtimestamp(at, tz=UTC).astimezone().replace(tzinfo=None)
