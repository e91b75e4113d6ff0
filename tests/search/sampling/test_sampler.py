from __future__ import annotations

import statistics
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest

from search.records import (
    CUT_OFF,
    NOT_KNOWN,
    PROPOSED_BEFORE,
    Completed,
    Draw,
    EpochMetrics,
    Failed,
    Outcome,
    Stopped,
    TrialRecord,
)
from search.sampling.constrained_sampler import ConstrainedSampler
from search.sampling.sampler import Sampler
from spaces.domains import Choice
from spaces.space import Point, Space

TrialState = optuna.trial.TrialState
METHODS = ("tpe", "random")
MakeEpoch = Callable[..., EpochMetrics]

FINITE = Space.from_dict(
    "finite",
    {
        "cell": ["none", "gru"],
        "nodes": {"choice": [8, 16], "when": {"cell": "gru"}},
        "depth": {"int": [1, 3], "when": {"cell": "gru"}},
        "on": [True, False],
        "forbidden": [{"when": {"cell": "gru", "depth": 3, "on": True}, "why": "too deep"}],
    },
)
SMALL = Space.from_dict("small", {"cell": ["none", "gru"], "nodes": {"int": [1, 3], "when": {"cell": "gru"}}})
MIXED = Space.from_dict(
    "mixed",
    {
        "cell": ["none", "gru"],
        "nodes": {"int": [4, 64], "log": True, "when": {"cell": "gru"}},
        "lr": {"float": [1.0e-4, 1.0e-1], "log": True},
        "fixed": "same",
    },
)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


class Memory:
    """What the journal of a sweep keeps, and samplers made from it."""

    def __init__(self, make_record: Callable[..., TrialRecord], options: dict[str, Any]) -> None:
        self.records: dict[str, TrialRecord] = {}
        self.draws: dict[int, Draw] = {}
        self._make_record, self._options = make_record, options

    def open(self) -> Sampler:
        def note(draw: Draw) -> None:
            self.draws[draw.number] = draw

        return Sampler(**self._options, records=dict(self.records), draws=dict(self.draws), note=note)

    def begin(self, asked: tuple[int, Point]) -> str:
        number, point = asked
        key = f"k{number}"
        self.records[key] = self._make_record(key, number=number, point=dict(point))
        return key

    def end(self, key: str, curve: tuple[EpochMetrics, ...], outcome: Outcome) -> None:
        self.records[key] = replace(self.records[key], curve=curve, outcome=outcome, finished_at=110.0)


@pytest.fixture
def make_memory(make_record: Callable[..., TrialRecord]) -> Callable[..., Memory]:
    def make(space: Space = MIXED, method: str = "tpe", **options: Any) -> Memory:
        return Memory(make_record, {"space": space, "method": method, "seed": 1, "startup_trials": 4, **options})

    return make


def trials_of(sampler: Sampler) -> list[optuna.trial.FrozenTrial]:
    return sampler._study.get_trials()


def score(point: Point) -> float:
    return (0.5 if point.get("cell") == "gru" else 0.0) + float(point.get("lr", 0.0))


def propose(memory: Memory, num: int, epoch: MakeEpoch, *, reopen: bool = False) -> list[Point]:
    """Ask and tell in turn: every fourth trial is stopped, every fifth fails."""
    sampler, points = memory.open(), []
    for index in range(num):
        asked = sampler.ask()
        assert asked is not None
        number, point = asked
        points.append(point)
        key = memory.begin(asked)
        if reopen:
            sampler = memory.open()
        curve = (epoch(1, score(point) / 2), epoch(2, score(point)))
        outcome = Failed(reason="x") if index % 5 == 4 else Stopped(epoch=2) if index % 4 == 3 else Completed()
        sampler.tell(number, curve, outcome)
        memory.end(key, curve, outcome)
        if reopen:
            sampler = memory.open()
    return points


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("space", [FINITE, MIXED], ids=["finite", "mixed"])
def test_same_seed_same_points_even_when_reopened_between_asks(
    make_memory: Callable[..., Memory], make_epoch: MakeEpoch, method: str, space: Space
) -> None:
    runs = [propose(make_memory(space, method), 8, make_epoch, reopen=i == 2) for i in range(3)]
    assert runs[0] == runs[1] == runs[2]
    other = propose(make_memory(space, method, seed=2), 8, make_epoch)
    assert other != runs[0]
    assert len({point.digest for point in runs[0]}) == 8


def test_tpe_learns_and_random_does_not(make_memory: Callable[..., Memory], make_epoch: MakeEpoch) -> None:
    late = {}
    for method in METHODS:
        late[method] = propose(make_memory(MIXED, method), 36, make_epoch)[18:]
    means = {method: statistics.fmean(score(point) for point in points) for method, points in late.items()}
    assert means["tpe"] > means["random"] + 0.02


@pytest.mark.parametrize("method", [*METHODS, "grid"])
def test_a_finite_space_is_used_up_without_repetition(
    make_memory: Callable[..., Memory], make_epoch: MakeEpoch, method: str
) -> None:
    memory = make_memory(SMALL, method)
    sampler, found = memory.open(), []
    while (asked := sampler.ask()) is not None:
        found.append(asked[1])
        key, curve = memory.begin(asked), (make_epoch(1, score(asked[1])),)
        sampler.tell(asked[0], curve, Completed())
        memory.end(key, curve, Completed())
        assert len(found) <= 4
    assert sorted(point.digest for point in found) == sorted(point.digest for point in SMALL.enumerate())
    assert memory.open().ask() is None


def test_grid_goes_in_order_and_on_after_reopening(make_memory: Callable[..., Memory]) -> None:
    memory, found = make_memory(FINITE, "grid"), []
    for _ in range(12):
        asked = memory.open().ask()
        assert asked is not None
        memory.begin(asked)
        found.append(asked[1])
    assert found == list(FINITE.enumerate())


@pytest.mark.parametrize("method", [*METHODS, "grid"])
def test_presets_come_first_and_once(make_memory: Callable[..., Memory], method: str) -> None:
    first = [
        FINITE.point({"cell": "gru", "nodes": 16, "depth": 2, "on": False}),
        FINITE.point({"cell": "none", "on": False}),
    ]
    memory = make_memory(FINITE, method, first=[*first, first[0]])
    found = []
    for _ in range(2):
        asked = memory.open().ask()
        assert asked is not None
        memory.begin(asked)
        found.append(asked[1])
    assert found == first
    third = memory.open().ask()
    assert third is not None
    assert third[1] not in first


CROSSED = Space.from_dict(
    "crossed",
    {
        "a": ["x", "y", "z"],
        "b": {"int": [1, 8], "when": {"a": {"not": "z"}}},
        "c": {"float": [0.0, 1.0], "when": {"b": {"not": [1, 2]}}},
        "d": ["u", "v"],
        "forbidden": [
            {"when": [{"a": "x", "b": [1, 2, 3]}, {"a": "y", "d": "v"}], "why": "no"},
            {"when": {"a": "x", "b": {"not": 8}, "d": ["u", "v"]}, "why": "a dead end before d"},
        ],
    },
)
"""Of x only b = 8 leads to a point, of y only d = u."""


@pytest.mark.parametrize("method", METHODS)
def test_forbidden_points_are_never_drawn_and_optuna_records_what_was_proposed(
    make_memory: Callable[..., Memory], make_epoch: MakeEpoch, method: str
) -> None:
    memory = make_memory(CROSSED, method)
    points = propose(memory, 16, make_epoch)
    assert {point["b"] for point in points if point["a"] == "x"} == {8}
    assert {point["d"] for point in points if point["a"] == "y"} == {"u"}
    trials = trials_of(memory.open())
    drawn = [trial for trial in trials if "digest" in trial.user_attrs]
    assert [trial.params for trial in drawn] == [dict(point) for point in points]
    assert {draw.rejected for draw in memory.draws.values() if draw.rejected} <= {PROPOSED_BEFORE}
    assert {trial.distributions["a"].choices for trial in trials} == {("x", "y", "z")}


def test_replaced_values_are_drawn_alike() -> None:
    study = optuna.create_study()
    sampler = study.sampler = ConstrainedSampler(optuna.samplers.RandomSampler(seed=3), seed=5)
    counts = Counter[int]()
    for _ in range(300):
        sampler.offered = Choice((2, 4, 5))
        counts[study.ask().suggest_int("n", 1, 8)] += 1
    assert set(counts) == {2, 4, 5}
    assert min(counts.values()) > 70  # 100 +- 8
    draws = []
    for seed in (1, 2):
        sampler = ConstrainedSampler(optuna.samplers.RandomSampler(seed=3), seed)
        sampler.offered = Choice((2, 4, 5))
        study = optuna.create_study(sampler=sampler)
        draws.append([study.ask().suggest_int("n", 1, 8) for _ in range(20)])
    assert draws[0] != draws[1]


@pytest.mark.parametrize("method", [*METHODS, "grid"])
def test_points_that_are_no_models_become_no_trials_and_are_counted(
    make_memory: Callable[..., Memory], make_epoch: MakeEpoch, method: str
) -> None:
    def why_not(point: Point) -> str | None:
        return "too deep" if point.get("depth") == 2 else None

    memory = make_memory(FINITE, method, why_not=why_not)
    sampler, found = memory.open(), []
    while (asked := sampler.ask()) is not None:
        found.append(asked[1])
        memory.end(memory.begin(asked), (make_epoch(1, 0.5),), Completed())
        sampler = memory.open()
    assert {point.digest for point in found} == {point.digest for point in FINITE.enumerate() if not why_not(point)}
    assert len(found) == 8
    assert sampler.rejected == {"too deep": 4}


@pytest.mark.parametrize("reopened", [False, True])
def test_outcomes_become_optuna_states(
    make_memory: Callable[..., Memory], make_epoch: MakeEpoch, reopened: bool
) -> None:
    memory = make_memory()
    sampler = memory.open()
    asked = [item for item in (sampler.ask() for _ in range(4)) if item]
    keys = [memory.begin(item) for item in asked]
    curve = (make_epoch(1, 0.9), make_epoch(2, 0.7))
    for item, key, outcome in zip(asked, keys, (Completed(), Stopped(epoch=2), Failed(reason="broke")), strict=False):
        sampler.tell(item[0], curve, outcome)
        memory.end(key, curve, outcome)
    trials = trials_of(memory.open() if reopened else sampler)
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert [trial.state for trial in trials] == states
    assert [trial.value for trial in trials] == [0.7, 0.7, None, None]
    assert trials[1].intermediate_values == {1: 0.9, 2: 0.7}
    assert [trial.params for trial in trials] == [
        {name: value for name, value in point.items() if name != "fixed"} for _, point in asked
    ]


def test_telling_twice_changes_nothing(make_memory: Callable[..., Memory], make_epoch: MakeEpoch) -> None:
    sampler = make_memory().open()
    asked = sampler.ask()
    assert asked is not None
    sampler.tell(asked[0], (make_epoch(1, 0.4),), Stopped(epoch=1))
    before = trials_of(sampler)
    sampler.tell(asked[0], (make_epoch(1, 0.4), make_epoch(2, 0.9)), Completed())
    assert trials_of(sampler) == before


@pytest.mark.parametrize("method", METHODS)
def test_a_kill_at_any_draw_changes_no_proposal(
    make_memory: Callable[..., Memory], make_epoch: MakeEpoch, method: str
) -> None:
    """Between two rejected draws, and between a proposal and the begin of its trial."""

    class KilledError(Exception):
        pass

    def why_not(point: Point) -> str | None:
        return "too even" if int(point.get("nodes", 1)) % 2 == 0 else None

    calm = make_memory(MIXED, method, why_not=why_not)
    expected = propose(calm, 10, make_epoch)
    assert sum(bool(draw.rejected) for draw in calm.draws.values()) > 2
    memory, points = make_memory(MIXED, method, why_not=why_not), []
    for index in range(10):
        while True:
            sampler = memory.open()
            note = sampler._note

            def note_and_die(draw: Draw, note: Callable[[Draw], None] = note) -> None:
                note(draw)
                raise KilledError

            sampler._note = note_and_die
            try:
                sampler.ask()
            except KilledError:
                if memory.draws and list(memory.draws.values())[-1].rejected:
                    continue
            break
        asked = memory.open().ask()
        assert asked is not None
        points.append(asked[1])
        curve = (make_epoch(1, score(asked[1]) / 2), make_epoch(2, score(asked[1])))
        outcome = Failed(reason="x") if index % 5 == 4 else Stopped(epoch=2) if index % 4 == 3 else Completed()
        memory.end(memory.begin(asked), curve, outcome)
    assert points == expected
    assert [record.number for record in memory.records.values()] == [item.number for item in calm.records.values()]


def test_what_is_not_known_of_a_draw_keeps_its_place(make_memory: Callable[..., Memory], make_epoch: MakeEpoch) -> None:
    def why_not(point: Point) -> str | None:
        return "too even" if int(point.get("nodes", 1)) % 2 == 0 else None

    memory, calm = make_memory(why_not=why_not), make_memory(why_not=why_not)
    propose(memory, 8, make_epoch)
    propose(calm, 8, make_epoch)
    memory.draws = {
        number: Draw(number=number, rejected=NOT_KNOWN) if draw.rejected else draw
        for number, draw in memory.draws.items()
    }
    assert memory.draws != calm.draws
    assert propose(memory, 4, make_epoch) == propose(calm, 4, make_epoch)
    cut = make_memory()
    cut.draws[0] = Draw(number=0, rejected=CUT_OFF)
    asked, undisturbed = cut.open().ask(), make_memory().open().ask()
    assert asked is not None
    assert undisturbed is not None
    assert (asked[0], asked[1]) == (1, undisturbed[1])


def test_what_tpe_keeps_with_a_running_trial_is_kept(make_memory: Callable[..., Memory], make_epoch: MakeEpoch) -> None:
    """Its joint proposal: other proposals stay away from it while the trial runs."""
    memory = make_memory()
    propose(memory, 6, make_epoch)
    sampler = memory.open()
    asked = sampler.ask()
    assert asked is not None
    memory.begin(asked)
    assert memory.draws[asked[0]].attrs
    assert trials_of(memory.open())[asked[0]].system_attrs == trials_of(sampler)[asked[0]].system_attrs
    first, second = sampler.ask(), memory.open().ask()
    assert first == second
