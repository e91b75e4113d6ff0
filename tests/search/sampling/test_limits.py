"""Samplers and the limits of measured costs: what Optuna knows about each ended trial, also after an interruption."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from search.records import Completed, Draw, EpochMetrics, Failed, Infeasible, Outcome, Stopped, TrialRecord
from search.sampling.rehearsal import check_sampler
from search.sampling.sampler import Sampler
from search.seeds import derive
from search.study.config import StudyConfig
from search.study.oddities import odd_in_sweep
from spaces.space import Space

MakeEpoch = Callable[..., EpochMetrics]
MakeRecord = Callable[..., TrialRecord]
MakeStudy = Callable[..., StudyConfig]

SPACE = Space.from_dict("two", {"lr": {"float": [1.0e-4, 1.0e-1], "log": True}, "dropout": {"float": [0.0, 0.5]}})
LIMITS = {"latency_ms": 2.0, "peak_memory_gib": 4.0, "num_parameters": 9.0}
OUTCOMES: tuple[Outcome, ...] = (
    Completed(),
    Infeasible(measure="latency_ms", value=3.0, limit=2.0),
    Stopped(epoch=2),
    Failed(reason="x"),
)
TrialState = optuna.trial.TrialState


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@pytest.fixture
def play(make_epoch: MakeEpoch, make_record: MakeRecord) -> Callable[..., tuple[list[dict[str, Any]], Sampler]]:
    """Propose 10 points; return them and the sampler, which is rebuilt before each proposal on request."""

    def play(method: str, *, rebuilt: bool, limits: dict[str, float] = LIMITS) -> tuple[list[dict[str, Any]], Sampler]:
        records: dict[str, TrialRecord] = {}
        draws: dict[int, Draw] = {}

        def open_sampler() -> Sampler:
            return Sampler(
                space=SPACE,
                seed=1,
                method=method,
                startup_trials=3,
                arguments={"popsize": 3} if method == "cmaes" else {"population_size": 3} if "nsga" in method else {},
                limits=limits,
                records=records,
                draws=draws,
                note=lambda draw: draws.update({draw.number: draw}),
            )

        sampler, points = open_sampler(), []
        for _ in range(10):
            asked = sampler.ask()
            assert asked is not None
            number, point = asked
            points.append(dict(point))
            outcome = OUTCOMES[len(records) % len(OUTCOMES)]
            latency = 3.0 if isinstance(outcome, Infeasible) else 1.0
            curve = [make_epoch(1, 0.5 + point["dropout"] / 2, latency_ms=latency, peak_memory_gib=1.0)]
            if not isinstance(outcome, Infeasible):
                curve.append(make_epoch(2, 0.5 + point["dropout"], peak_memory_gib=2.0))
            record = make_record(f"{number:016x}", number=number, point=dict(point))
            records[record.key] = dataclasses.replace(record, curve=tuple(curve), outcome=outcome, finished_at=1.0)
            sampler.tell(number, curve, outcome)
            if rebuilt:
                sampler = open_sampler()
        return points, sampler

    return play


@pytest.mark.parametrize("method", [pytest.param("gp", marks=pytest.mark.slow), "tpe", "nsga2", "cmaes"])
def test_every_ended_trial_has_the_same_constraints(method: str, play: Callable[..., Any]) -> None:
    """Optuna's Gaussian process raises otherwise, and a sweep resumed from its journal must propose the same."""
    if method == "cmaes":
        pytest.importorskip("cmaes")
    points, sampler = play(method, rebuilt=False)
    again, other = play(method, rebuilt=True)
    assert again == points
    for trials in (sampler._study.get_trials(), other._study.get_trials()):
        trials = [trial for trial in trials if trial.constraints]  # not rejected draws
        assert [list(trial.constraints) for trial in trials] == [["latency_ms", "peak_memory_gib"]] * 10
        assert [trial.constraints["latency_ms"] for trial in trials[:4]] == [-0.5, 0.5, -0.5, -0.5]
        assert [trial.constraints["peak_memory_gib"] for trial in trials[:4]] == [-0.5, -0.75, -0.5, -0.5]
        wanted = TrialState.COMPLETE if method in {"gp", "nsga2"} else TrialState.PRUNED
        assert trials[1].state is wanted, "cmaes ignores constraints, so it must not learn from the trial"


def test_without_limits_optuna_knows_no_constraints(play: Callable[..., Any]) -> None:
    _, sampler = play("tpe", rebuilt=True, limits={"num_parameters": 5.0})
    told = [trial.constraints for trial in sampler._study.get_trials()]
    assert [item for item in told if item] == [{"latency_ms": 0.5}] * 3, "of the infeasible ones, as told"


@pytest.mark.slow
def test_arguments_are_tried_with_infeasible_trials(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    told, tell = [], Sampler.tell

    def listen(self: Sampler, number: int, curve: Any, outcome: Outcome, counts: Any = None) -> None:
        told.append(outcome)
        tell(self, number, curve, outcome, counts)

    monkeypatch.setattr(Sampler, "tell", listen)
    arguments = ("search.sampler=gp", "search.sampler_args={deterministic_objective: true}")
    check_sampler(make_study("search.limits={latency_ms: 20}", *arguments))
    assert any(isinstance(outcome, Infeasible) for outcome in told)


@pytest.mark.parametrize("sampler", ["cmaes", "qmc", "random", "tpe", "gp"])
def test_a_method_that_does_not_learn_limits_is_named(make_study: MakeStudy, sampler: str) -> None:
    study = make_study(f"search.sampler={sampler}", "search.limits={latency_ms: 20}")
    lines = [
        line for line in odd_in_sweep(study) if "does not learn which points exceed search.limits.latency_ms" in line
    ]
    assert len(lines) == (sampler not in {"tpe", "gp"})
    counts = make_study(f"search.sampler={sampler}", "search.limits={macs: 1e9}")
    assert not any("does not learn" in line for line in odd_in_sweep(counts)), "counts are known before a trial starts"


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_rare_feasible_point_of_a_continuous_space_is_found(method: str, make_record: MakeRecord) -> None:
    """One in 300: more rejections in a row than those after which a finite space counts as exhausted."""

    def why_not(point: Any) -> str | None:
        return None if derive("rare", point.digest) % 300 == 0 else "macs is above search.limits.macs 5"

    records: dict[str, TrialRecord] = {}
    draws: dict[int, Draw] = {}

    def open_sampler() -> Sampler:
        return Sampler(
            space=SPACE,
            seed=1,
            method=method,
            startup_trials=3,
            why_not=why_not,
            records=records,
            draws=draws,
            note=lambda draw: draws.update({draw.number: draw}),
        )

    found = []
    for _ in range(2):
        others = open_sampler().ask(), open_sampler().ask()
        assert others[0] == others[1]
        assert others[0] is not None, "a rebuilt sampler goes on"
        number, point = others[0]
        found.append(point)
        assert why_not(point) is None
        records[f"{number:016x}"] = make_record(f"{number:016x}", number=number, point=dict(point))
    assert found[0] != found[1]


def test_a_space_without_feasible_points_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.sampling.sampler.MAX_DRAWS", 50)
    num = 0

    def why_not(_: Any) -> str:
        nonlocal num
        num += 1
        return "too large"

    sampler = Sampler(space=SPACE, seed=1, method="random", startup_trials=3, why_not=why_not)
    assert sampler.ask() is None
    assert num == 250
    assert sampler.ask() is None
    assert num == 250, "searched once"
