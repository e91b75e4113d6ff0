from __future__ import annotations

import statistics
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.errors import StudyError
from search.narrowed import NarrowedSampler
from search.proposals import open_storage
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord
from search.sampler import Sampler
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


@pytest.fixture
def open_sampler(tmp_path: Path) -> Callable[..., Sampler]:
    def make(space: Space = MIXED, method: str = "tpe", folder: str = "s", **options: Any) -> Sampler:
        (tmp_path / folder).mkdir(exist_ok=True)
        values: dict[str, Any] = {"seed": 1, "startup_trials": 4, "study_name": "s", **options}
        return Sampler(space=space, method=method, storage=tmp_path / folder, **values)

    return make


def load(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=open_storage(folder))


def score(point: Point) -> float:
    return (0.5 if point.get("cell") == "gru" else 0.0) + float(point.get("lr", 0.0))


def propose(make: Callable[[], Sampler], num: int, epoch: MakeEpoch, *, reopen: bool = False) -> list[Point]:
    """Ask and tell in turn: every fourth trial is stopped, every fifth fails."""
    sampler, points = make(), []
    for index in range(num):
        asked = sampler.ask()
        assert asked is not None
        number, point = asked
        points.append(point)
        if reopen:
            sampler = make()
        curve = (epoch(1, score(point) / 2), epoch(2, score(point)))
        outcome = Failed(reason="x") if index % 5 == 4 else Stopped(epoch=2) if index % 4 == 3 else Completed()
        sampler.tell(number, curve, outcome)
        if reopen:
            sampler = make()
    return points


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("space", [FINITE, MIXED], ids=["finite", "mixed"])
def test_same_seed_same_points_even_when_reopened_between_asks(
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, method: str, space: Space
) -> None:
    runs = [propose(lambda i=i: open_sampler(space, method, f"run{i}"), 8, make_epoch, reopen=i == 2) for i in range(3)]
    assert runs[0] == runs[1] == runs[2]
    other = propose(lambda: open_sampler(space, method, "other", seed=2), 8, make_epoch)
    assert other != runs[0]
    assert len({point.digest for point in runs[0]}) == 8


def test_tpe_learns_and_random_does_not(open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch) -> None:
    late = {}
    for method in METHODS:
        late[method] = propose(lambda method=method: open_sampler(MIXED, method, method), 36, make_epoch)[18:]
    means = {method: statistics.fmean(score(point) for point in points) for method, points in late.items()}
    assert means["tpe"] > means["random"] + 0.02


@pytest.mark.parametrize("method", [*METHODS, "grid"])
def test_a_finite_space_is_used_up_without_repetition(
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, method: str
) -> None:
    sampler = open_sampler(SMALL, method)
    found = []
    while (asked := sampler.ask()) is not None:
        found.append(asked[1])
        sampler.tell(asked[0], (make_epoch(1, score(asked[1])),), Completed())
        assert len(found) <= 4
    assert sorted(point.digest for point in found) == sorted(point.digest for point in SMALL.enumerate())
    assert open_sampler(SMALL, method).ask() is None


def test_grid_goes_in_order_and_on_after_reopening(open_sampler: Callable[..., Sampler]) -> None:
    found = []
    for _ in range(12):
        asked = open_sampler(FINITE, "grid").ask()
        assert asked is not None
        found.append(asked[1])
    assert found == list(FINITE.enumerate())


@pytest.mark.parametrize("method", [*METHODS, "grid"])
def test_presets_come_first_and_once(open_sampler: Callable[..., Sampler], method: str) -> None:
    first = [
        FINITE.point({"cell": "gru", "nodes": 16, "depth": 2, "on": False}),
        FINITE.point({"cell": "none", "on": False}),
    ]
    asked = [open_sampler(FINITE, method, first=[*first, first[0]]).ask() for _ in range(2)]
    assert [item[1] for item in asked if item] == first
    third = open_sampler(FINITE, method, first=first).ask()
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
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, tmp_path: Path, method: str
) -> None:
    points = propose(lambda: open_sampler(CROSSED, method), 16, make_epoch)
    assert {point["b"] for point in points if point["a"] == "x"} == {8}
    assert {point["d"] for point in points if point["a"] == "y"} == {"u"}
    trials = load(tmp_path / "s").get_trials()
    drawn = [trial for trial in trials if "digest" in trial.user_attrs]
    assert [trial.params for trial in drawn] == [dict(point) for point in points]
    assert all(trial.user_attrs.get("rejected") == "proposed before" for trial in trials if trial not in drawn)
    assert {trial.distributions["a"].choices for trial in trials} == {("x", "y", "z")}


def test_replaced_values_are_drawn_alike() -> None:
    study = optuna.create_study()
    sampler = study.sampler = NarrowedSampler(optuna.samplers.RandomSampler(seed=3), seed=5)
    counts = Counter[int]()
    for _ in range(300):
        sampler.offered = Choice((2, 4, 5))
        counts[study.ask().suggest_int("n", 1, 8)] += 1
    assert set(counts) == {2, 4, 5}
    assert min(counts.values()) > 70  # 100 +- 8
    draws = []
    for seed in (1, 2):
        sampler = NarrowedSampler(optuna.samplers.RandomSampler(seed=3), seed)
        sampler.offered = Choice((2, 4, 5))
        study = optuna.create_study(sampler=sampler)
        draws.append([study.ask().suggest_int("n", 1, 8) for _ in range(20)])
    assert draws[0] != draws[1]


@pytest.mark.parametrize("method", [*METHODS, "grid"])
def test_points_that_are_no_models_become_no_trials_and_are_counted(
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, method: str
) -> None:
    def why_not(point: Point) -> str | None:
        return "too deep" if point.get("depth") == 2 else None

    def make() -> Sampler:
        return open_sampler(FINITE, method, why_not=why_not)

    sampler, found = make(), []
    while (asked := sampler.ask()) is not None:
        found.append(asked[1])
        sampler.tell(asked[0], (make_epoch(1, 0.5),), Completed())
        sampler = make()
    assert {point.digest for point in found} == {point.digest for point in FINITE.enumerate() if not why_not(point)}
    assert len(found) == 8
    assert sampler.rejected == {"too deep": 4}


def test_outcomes_become_optuna_states(
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, tmp_path: Path
) -> None:
    sampler = open_sampler()
    numbers = [asked[0] for asked in (sampler.ask() for _ in range(4)) if asked]
    curve = (make_epoch(1, 0.9), make_epoch(2, 0.7))
    for number, outcome in zip(numbers, (Completed(), Stopped(epoch=2), Failed(reason="broke")), strict=False):
        sampler.tell(number, curve, outcome)
    trials = load(tmp_path / "s").get_trials()
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert [trial.state for trial in trials] == states
    assert trials[0].value == 0.7
    assert trials[1].intermediate_values == {1: 0.9, 2: 0.7}
    assert trials[2].user_attrs["reason"] == "broke"
    assert load(tmp_path / "s").best_value == 0.7


def test_telling_twice_changes_nothing(
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, tmp_path: Path
) -> None:
    asked = open_sampler().ask()
    assert asked is not None
    open_sampler().tell(asked[0], (make_epoch(1, 0.4),), Stopped(epoch=1))
    before = load(tmp_path / "s").get_trials()
    open_sampler().tell(asked[0], (make_epoch(1, 0.4), make_epoch(2, 0.9)), Completed())
    assert load(tmp_path / "s").get_trials() == before


def test_reconcile_mends_what_a_kill_left(
    open_sampler: Callable[..., Sampler],
    make_record: Callable[..., TrialRecord],
    make_epoch: MakeEpoch,
    tmp_path: Path,
) -> None:
    sampler = open_sampler()
    asked = [item for item in (sampler.ask() for _ in range(4)) if item]
    curve = (make_epoch(1, 0.6),)
    records = {
        "done": make_record("done", number=0, point=asked[0][1], curve=curve, outcome=Completed()),
        "stopped": make_record("stopped", number=1, point=asked[1][1], curve=curve, outcome=Stopped(epoch=1)),
        "waits": make_record("waits", number=2, point=asked[2][1], curve=curve),
    }
    reopened = open_sampler()
    assert [item.number for item in reopened.reconcile(records)] == [0, 1]
    assert reopened.ask() == asked[3]  # it never began: it is handed out again
    trials = load(tmp_path / "s").get_trials()
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.RUNNING]
    assert [trial.state for trial in trials[:4]] == states
    assert reopened.reconcile(records) == []
    reopened.tell(2, curve, Completed())
    assert load(tmp_path / "s").get_trials()[asked[2][0]].state == TrialState.COMPLETE


@pytest.mark.parametrize("num_reopened", [1, 2])
def test_a_preset_that_never_began_is_proposed_again(open_sampler: Callable[..., Sampler], num_reopened: int) -> None:
    first = [FINITE.point({"cell": "none", "on": False})]
    open_sampler(FINITE, first=first).ask()
    for _ in range(num_reopened):
        sampler = open_sampler(FINITE, first=first)
        sampler.reconcile({})
    asked = sampler.ask()
    assert asked is not None
    assert asked[1] == first[0]


def test_a_kill_before_a_trial_began_changes_no_proposal(
    open_sampler: Callable[..., Sampler], make_epoch: MakeEpoch, make_record: Callable[..., TrialRecord]
) -> None:
    undisturbed = propose(lambda: open_sampler(MIXED, "random", "a"), 4, make_epoch)
    points, records = [], {}
    for index in range(4):
        open_sampler(MIXED, "random", "b").ask()  # killed between the proposal and the journal
        sampler = open_sampler(MIXED, "random", "b")
        sampler.reconcile(records)
        asked = sampler.ask()
        assert asked is not None
        points.append(asked[1])
        curve = (make_epoch(1, 0.5),)
        records[str(index)] = make_record(str(index), number=asked[0], point=asked[1], curve=curve, outcome=Completed())
        sampler.tell(asked[0], curve, Completed())
    assert points == undisturbed


def test_optuna_itself_opens_the_journal_file(open_sampler: Callable[..., Sampler], tmp_path: Path) -> None:
    open_sampler().ask()
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "s" / "optuna.log"))
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert set(study.get_trials()[0].params) <= {"cell", "nodes", "lr"}


def test_another_space_under_the_same_name_is_refused(open_sampler: Callable[..., Sampler]) -> None:
    open_sampler(MIXED)
    with pytest.raises(StudyError, match="an Optuna study of this name searches another space; rename the study"):
        open_sampler(FINITE)


def test_a_database_url_works_as_well(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    options: dict[str, Any] = {"seed": 1, "method": "random", "startup_trials": 1, "study_name": "s", "storage": url}
    first = Sampler(space=MIXED, **options).ask()
    second = Sampler(space=MIXED, **options).ask()
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (0, 1)
    assert first[1] != second[1]


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/optuna.db", "postgres-typo://host/db", "no url"])
def test_an_unreachable_database_is_one_line(url: str) -> None:
    with pytest.raises(StudyError, match=r"^search\.database: cannot be opened \(.*\); check the URL") as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
