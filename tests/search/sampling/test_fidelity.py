from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from search.journal.earlier import EarlierTrial
from search.records import Completed, EpochMetrics, Failed, Infeasible, Stopped, TrialRecord
from search.sampling.fidelity import Memory, at_rung, by_last_value
from search.sampling.sampler import Sampler
from spaces.space import Point, Space

State = optuna.trial.TrialState
MakeEpoch = Callable[..., EpochMetrics]
SPACE = Space.from_dict("space", {"a": {"float": [0.0, 1.0]}, "b": ["x", "y"]})
DISTRIBUTION = optuna.distributions.FloatDistribution(0.0, 1.0)


def made(state: str, *curve: float, excess: float = 0.0, number: int = 0) -> optuna.trial.FrozenTrial:
    """Make a trial with its validation accuracies, epoch by epoch."""
    trial = optuna.trial.create_trial(
        state=State[state],
        value=curve[-1] if state == "COMPLETE" else None,
        params={"a": 0.5},
        distributions={"a": DISTRIBUTION},
        intermediate_values=dict(enumerate(curve, start=1)),
        system_attrs={"constraints:latency_ms": excess} if excess else {},
    )
    trial.number = number
    return trial


def shown(trials: list[optuna.trial.FrozenTrial]) -> list[tuple[str, float | None]]:
    return [(trial.state.name, trial.values[0] if trial.values else None) for trial in trials]


def test_unfinished_trials_count_by_their_last_values() -> None:
    trials = [made("COMPLETE", 0.1, 0.2), made("RUNNING", 0.3, 0.4), made("RUNNING"), made("PRUNED", 0.5), made("FAIL")]
    expected = [("COMPLETE", 0.2), ("PRUNED", 0.4), ("RUNNING", None), ("PRUNED", None), ("FAIL", None)]
    assert shown(by_last_value(trials)) == expected
    assert shown(by_last_value(trials, state=State.COMPLETE))[1] == ("COMPLETE", 0.4)
    assert trials[1].state is State.RUNNING, "the stored trial is as it was"


def test_trials_are_compared_at_the_highest_rung_that_enough_have_reached() -> None:
    trials = [
        made("COMPLETE", 0.1, 0.2, 0.3, 0.4),
        made("PRUNED", 0.5, 0.6),
        made("RUNNING", 0.7, 0.8, 0.9),
        made("PRUNED", 0.2),
        made("RUNNING"),
        made("FAIL", 0.1, 0.2),
        made("PRUNED", 0.9, 0.9, excess=0.5),
    ]
    left = [("FAIL", None), ("PRUNED", None)]
    liar = ("RUNNING", None)

    def at(num_needed: int) -> list[tuple[str, float | None]]:
        return shown(at_rung(trials, rungs=(1, 2, 4), num_needed=num_needed))

    at_2 = [("COMPLETE", 0.2), ("COMPLETE", 0.6), ("COMPLETE", 0.8), liar, liar, *left]
    assert at(1) == [("COMPLETE", 0.4), liar, liar, liar, liar, *left]
    assert at(2) == at(3) == at_2
    at_1 = [("COMPLETE", 0.1), ("COMPLETE", 0.5), ("COMPLETE", 0.7), ("COMPLETE", 0.2), liar, *left]
    assert at(4) == at_1
    assert at(5) == at_1, "no rung has enough: the first one"
    assert shown(trials)[0] == ("COMPLETE", 0.4)


def test_the_value_at_a_rung_is_that_of_the_next_validated_epoch() -> None:
    trial = made("RUNNING")
    trial.intermediate_values = {2: 0.2, 4: 0.4}
    for rung, value in ((1, 0.2), (2, 0.2), (3, 0.4), (4, 0.4)):
        assert shown(at_rung([trial], rungs=(rung,), num_needed=1)) == [("COMPLETE", value)]
    assert shown(at_rung([trial], rungs=(5,), num_needed=1)) == [("RUNNING", None)]


def test_the_memory_filters_by_what_is_seen() -> None:
    memory = Memory(by_last_value)
    study = optuna.create_study(storage=memory, direction="maximize")
    for trial in (made("COMPLETE", 0.1), made("RUNNING", 0.3)):
        memory.create_new_trial(study._study_id, trial)
    assert [trial.number for trial in study.get_trials(states=[State.PRUNED])] == [1]
    assert [trial.number for trial in study.get_trials()] == [0, 1]
    study.enqueue_trial({"a": 0.25})
    assert study.ask().suggest_float("a", 0.0, 1.0) == 0.25
    seen = study.get_trials()[1]
    seen.user_attrs["x"] = 1
    assert study.get_trials()[1].user_attrs == {}, "a copy"


class Sweep:
    """Trials that wait at epoch 1 or 2 or end, in a sampler, and in the records of its journal."""

    def __init__(self, make_record: Callable[..., TrialRecord], epoch: MakeEpoch, **options: Any) -> None:
        self.records: dict[str, TrialRecord] = {}
        self._make_record, self._epoch, self._options = make_record, epoch, options
        self.sampler = self.open()

    def open(self) -> Sampler:
        return Sampler(space=SPACE, seed=1, method="tpe", startup_trials=4, records=dict(self.records), **self._options)

    def propose(self, num: int, *, reopen: bool = False) -> list[Point]:
        points = []
        for index in range(num):
            if reopen:
                self.sampler = self.open()
            asked = self.sampler.ask()
            assert asked is not None
            number, point = asked
            points.append(point)
            score = float(point["a"])
            curve = tuple(self._epoch(epoch, score * epoch / 4) for epoch in range(1, 2 + index % 3))
            record = self._make_record(f"k{number}", number=number, point=dict(point), curve=curve, is_waiting=True)
            if index % 3 == 2:
                outcome = (Completed(), Stopped(epoch=3), Failed(reason="x"))[index // 3 % 3]
                record = dataclasses.replace(record, outcome=outcome, finished_at=1.0, is_waiting=False)
            for length in range(1, len(curve) + 1):
                self.sampler.observe(number, curve[:length])
            if record.outcome is not None:
                self.sampler.tell(number, curve, record.outcome)
            self.records[record.key] = record
        return points


@pytest.mark.parametrize("fidelity", ["last", "rung"])
def test_the_same_points_whenever_it_is_rebuilt(
    make_record: Callable[..., TrialRecord], make_epoch: MakeEpoch, fidelity: str
) -> None:
    options = {"arguments": {"fidelity": fidelity}, "rungs": (1, 2, 3), "has_pauses": True}
    runs = [Sweep(make_record, make_epoch, **options).propose(20, reopen=index == 1) for index in range(2)]
    assert runs[0] == runs[1]


def test_waiting_trials_are_learned_from(make_record: Callable[..., TrialRecord], make_epoch: MakeEpoch) -> None:
    def mean(**options: Any) -> float:
        sampler, values = Sweep(make_record, make_epoch, rungs=(1, 2), **options).sampler, []
        for _ in range(30):
            asked = sampler.ask()
            assert asked is not None
            number, point = asked
            values.append(float(point["a"]))
            sampler.observe(number, (make_epoch(1, float(point["a"])),))
        return sum(values[15:]) / 15

    assert mean(has_pauses=True) > 0.7
    assert mean(arguments={"fidelity": "rung"}) > 0.7
    assert mean() < 0.7, "none has ended, so all points are random"


def test_the_default_is_exactly_optunas(make_record: Callable[..., TrialRecord], make_epoch: MakeEpoch) -> None:
    plain = Sweep(make_record, make_epoch)
    assert type(plain.sampler._study._storage) is optuna.storages.InMemoryStorage
    last = Sweep(make_record, make_epoch, arguments={"fidelity": "last"}, rungs=(1, 2, 3))
    assert plain.propose(12) == last.propose(12)
    seen = [trial.state for trial in plain.sampler._study.get_trials(deepcopy=False)]
    assert seen.count(State.RUNNING) == 8, "unfinished ones are the constant liar's"


def test_an_infeasible_trial_stays_so(make_record: Callable[..., TrialRecord], make_epoch: MakeEpoch) -> None:
    sampler = Sweep(make_record, make_epoch, arguments={"fidelity": "rung"}, rungs=(1, 3)).sampler
    asked = sampler.ask()
    assert asked is not None
    curve = (make_epoch(1, 0.9),)
    sampler.observe(asked[0], curve)
    sampler.tell(asked[0], curve, Infeasible(measure="latency_ms", value=2.0, limit=1.0))
    (trial,) = sampler._study.get_trials()
    assert trial.state is State.PRUNED
    assert trial.constraints == {"latency_ms": 1.0}


def test_unfinished_trials_are_observed_behind_earlier_ones(make_epoch: MakeEpoch) -> None:
    """Earlier trials come first in Optuna's study; what is observed belongs to a trial of this one."""
    earlier = [
        EarlierTrial(
            study="runs/a",
            number=0,
            point={"a": 0.3, "b": "x"},
            outcome=Stopped(epoch=1),
            values=(0.4,),
            curve={1: 0.4},
        )
    ]
    sampler = Sampler(space=SPACE, seed=1, method="tpe", startup_trials=2, has_pauses=True, earlier=earlier)
    asked = sampler.ask()
    assert asked is not None
    sampler.observe(asked[0], (make_epoch(1, 0.6),))
    stored = sampler._study._storage._studies[0].trials  # type: ignore[attr-defined]
    assert [trial.intermediate_values for trial in stored] == [{1: 0.4}, {1: 0.6}]


@pytest.mark.parametrize("has_ended", [False, True])
def test_waiting_trials_have_the_constraints_of_ended_ones(
    make_record: Callable[..., TrialRecord], make_epoch: MakeEpoch, has_ended: bool
) -> None:
    """Optuna's Gaussian process requires the same constraints of all trials that count."""
    limits = {"latency_ms": 20.0}
    curve = (dataclasses.replace(make_epoch(1, 0.6), latency_ms=1.0),)
    point: dict[str, Any] = {"a": 0.5, "b": "x"}
    record = make_record("k", number=0, point=point, curve=curve, outcome=Stopped(epoch=1) if has_ended else None)
    options: dict[str, Any] = {"space": SPACE, "seed": 1, "method": "gp", "startup_trials": 2, "limits": limits}
    sampler = Sampler(**options, has_pauses=True, records={"k": record})
    (trial,) = sampler._study.get_trials()
    assert trial.system_attrs["constraints:latency_ms"] == pytest.approx(1 / 20 - 1)
    sampler = Sampler(**options, has_pauses=True)
    asked = sampler.ask()
    assert asked is not None
    sampler.observe(asked[0], curve)
    (trial,) = sampler._study.get_trials()
    assert trial.system_attrs["constraints:latency_ms"] == pytest.approx(1 / 20 - 1)
