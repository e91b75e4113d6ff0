"""What a sweep takes from earlier studies: trials that its sampler learns from, and points that are trained first.

The sweep writes all of it to its journal before its first proposal. The earlier studies are then not read again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search.records import Outcome, outcome_from_dict, outcome_to_dict
from search.text.counted import counted


@dataclass(frozen=True, kw_only=True)
class EarlierTrial:
    """A trial of an earlier study, in the parameters of this one. It is no trial of this study."""

    study: str
    """The earlier study, for display."""
    number: int
    """Its number there."""
    point: Mapping[str, Any]
    """The free parameters of this study's space -> value."""
    outcome: Outcome
    """Completed or stopped; infeasible by the limits of this study."""
    values: tuple[float, ...]
    """The objectives of this study, in their own units."""
    curve: Mapping[int, float]
    """Epoch -> validation accuracy."""


@dataclass(frozen=True, kw_only=True)
class LearnedStudy:
    """An earlier study, and how many of its trials are used."""

    study: str
    journal: str
    """Id of its journal."""
    num_trials: int
    num_used: int
    left_out: Mapping[str, int]
    """Reason -> number of trials that are left out for it."""
    other: str = ""
    """In which respects its scores are not comparable, if the user allowed them all the same."""

    @property
    def words(self) -> str:
        """One line: `12 of 20 trials of runs/a (8 left out: 8 x unfinished)`."""
        other = f", although it has other {self.other}" if self.other else ""
        return (
            f"{self.num_used} of {counted(self.num_trials, 'trial')} of {self.study}{_left_out(self.left_out)}{other}"
        )


@dataclass(frozen=True, kw_only=True)
class EarlierPoint:
    """A point of an earlier study, in the parameters of this one."""

    study: str
    number: int
    """Number of its trial there."""
    point: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """The points that an entry `top-5 of STUDY` of `search.enqueue` stands for."""

    top: str
    """The entry."""
    points: tuple[EarlierPoint, ...]
    """Best first."""
    left_out: Mapping[str, int]

    @property
    def words(self) -> str:
        """One line: `top-5 of runs/a: 4 points (1 left out: 1 x lr: ...)`."""
        return f"{self.top}: {counted(len(self.points), 'point')}{_left_out(self.left_out)}"


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """All that a sweep takes from earlier studies."""

    asked: str = ""
    """What the study file asks for, in a unique form."""
    studies: tuple[LearnedStudy, ...] = ()
    trials: tuple[EarlierTrial, ...] = ()
    enqueued: tuple[Enqueued, ...] = ()

    @property
    def lines(self) -> list[str]:
        """What is taken, one line for each study and each entry of `search.enqueue`."""
        return [*(f"learns from {item.words}" for item in self.studies), *(item.words for item in self.enqueued)]

    def points_of(self, top: str) -> tuple[EarlierPoint, ...]:
        """Return the points that an entry of `search.enqueue` stands for."""
        return next((item.points for item in self.enqueued if item.top == top), ())

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of its event in the journal."""
        trials = [
            {
                **dataclasses.asdict(trial),
                "outcome": outcome_to_dict(trial.outcome),
                "curve": {str(epoch): value for epoch, value in trial.curve.items()},
                "values": list(trial.values),
            }
            for trial in self.trials
        ]
        return {
            "asked": self.asked,
            "studies": [dataclasses.asdict(item) for item in self.studies],
            "trials": trials,
            "enqueued": [dataclasses.asdict(item) for item in self.enqueued],
        }

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Earlier:
        """Read it from its event in the journal."""
        return cls(
            asked=event["asked"],
            studies=tuple(LearnedStudy(**_known(LearnedStudy, item)) for item in event["studies"]),
            trials=tuple(
                EarlierTrial(
                    **{
                        **_known(EarlierTrial, item),
                        "outcome": outcome_from_dict(item["outcome"]),
                        "curve": {int(epoch): value for epoch, value in item["curve"].items()},
                        "values": tuple(item["values"]),
                    }
                )
                for item in event["trials"]
            ),
            enqueued=tuple(
                Enqueued(
                    top=item["top"],
                    points=tuple(EarlierPoint(**_known(EarlierPoint, point)) for point in item["points"]),
                    left_out=item["left_out"],
                )
                for item in event["enqueued"]
            ),
        )


def earlier_in(marks: Iterable[Mapping[str, Any]]) -> Earlier | None:
    """Return what the sweep of a journal takes from earlier studies; None if the journal has no such event.

    Args:
        marks: Events of the journal; the newest one counts.
    """
    events = [event for event in marks if event["event"] == "earlier"]
    return Earlier.from_event(events[-1]) if events else None


def _known(made: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in dataclasses.fields(made)}
    return {name: value for name, value in plain.items() if name in names}


def _left_out(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    reasons = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return f" ({sum(left_out.values())} left out: {'; '.join(f'{count} x {why}' for why, count in reasons)})"
