"""Optuna's trials as the journal has them: for the study in memory that proposes, and for the copy that people look at.

Imports optuna inside functions only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from search.journal.reconcile import curve_in_optuna, state_in_optuna
from search.records import CUT_OFF, Draw, Failed, TrialRecord
from spaces.domains import Choice, Domain, Fixed, Float, Int
from spaces.space import Space

if TYPE_CHECKING:
    import optuna


def be_quiet() -> None:
    """Keep Optuna's own log away from the terminal: what matters is said in one line elsewhere."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").propagate = False


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution | None:
    """What asking for a value of a domain makes Optuna record; None where nothing is asked."""
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


def missing_numbers(records: Iterable[TrialRecord], draws: Mapping[int, Draw]) -> list[int]:
    """Numbers below the last one of which the journal says nothing: one of old has no rejected draws."""
    known = {record.number for record in records}
    known |= {number for number, draw in draws.items() if draw.rejected or draw.twin}
    return [number for number in range(max(known, default=-1)) if number not in known]


class TrialMaker:
    """Makes Optuna's trials of one space.

    Args:
        space: What may vary.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        made = {parameter.name: distribution(parameter.domain) for parameter in space.parameters}
        self._distributions = {name: item for name, item in made.items() if item is not None}

    def known(
        self, records: Mapping[str, TrialRecord], draws: Mapping[int, Draw]
    ) -> dict[int, optuna.trial.FrozenTrial]:
        """Every trial that the journal knows, in the order of the numbers.

        Args:
            records: Trials, by key.
            draws: What was drawn beside them, by number.
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
        """One trial; None if the journal knows of none under this number.

        Args:
            number: Its number.
            record: The record that has this number.
            draw: The draw that has it.
            records: All trials, by key: a twin is over when its original is.
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
            return self._frozen(number, None, draw.point or {}, attrs, {}, draw.at)
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
        outcome = record.outcome if record is not None else None
        reason = {"reason": outcome.reason} if isinstance(outcome, Failed) else {}
        started_at = record.started_at if record is not None else at
        return optuna.trial.FrozenTrial(
            number=number,
            trial_id=number,
            state=optuna.trial.TrialState[state],
            value=value,
            datetime_start=_local(started_at),
            datetime_complete=None if state == "RUNNING" else _local((record and record.finished_at) or started_at),
            params={name: point[name] for name in self._distributions if name in point},
            distributions={name: item for name, item in self._distributions.items() if name in point},
            user_attrs={**attrs, **reason},
            system_attrs=dict(kept) if state == "RUNNING" else {},
            intermediate_values=curve_in_optuna(record) if record is not None and outcome is not None else {},
        )


def _local(at: float) -> datetime:
    # Optuna wants local times without a zone.
    return datetime.fromtimestamp(at, tz=UTC).astimezone().replace(tzinfo=None)
