"""Every sampler, on a real journal that is cut off at many places: the proposals of an undisturbed sweep."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from search.journal.earlier import EarlierTrial
from search.journal.journal import Journal
from search.records import Completed, EpochMetrics, Failed, Infeasible, Outcome, Stopped, TrialRecord
from search.sampling.sampler import Sampler
from search.seeds import derive
from search.study.samplers import method_of
from spaces.space import Space

SPACE = Space.from_dict(
    "mixed",
    {
        "cell": ["none", "gru", "lstm"],
        "nodes": {"int": [4, 64], "log": True, "when": {"cell": {"not": "none"}}},
        "lr": {"float": [1.0e-4, 1.0e-1], "log": True},
        "dropout": {"float": [0.0, 0.5]},
        "depth": {"int": [1, 4]},
        "fixed": "same",
    },
)
NUM_TRIALS = {"gp": 12}
"""26 of the other methods; gp takes a tenth of a second for each proposal."""
NUM_RUNNING = 3
METHODS: dict[str, dict[str, Any]] = {
    "tpe": {},
    "gp": {},
    "cmaes": {"popsize": 4},
    "qmc": {},
    "nsga2": {"population_size": 6},
    "nsga3": {"population_size": 6},
    "random": {},
    "optuna.samplers:TPESampler": {"n_startup_trials": 5},
}


class PlainCma:
    """What Optuna uses of cmaes.CMA, with a plain evolution strategy: for machines without the package."""

    def __init__(self, mean: Any, sigma: float, bounds: Any, population_size: int | None = None, **_: Any) -> None:
        self.mean, self.sigma, self.bounds = np.array(mean, float), sigma, bounds
        self.dim, self.population_size, self.generation = len(mean), population_size or 4, 0
        self._rng = np.random.RandomState()

    def ask(self) -> Any:
        return np.clip(self._rng.normal(self.mean, self.sigma), self.bounds[:, 0], self.bounds[:, 1])

    def tell(self, solutions: list[tuple[Any, float]]) -> None:
        assert len(solutions) == self.population_size
        best = sorted(solutions, key=lambda item: item[1])[: self.population_size // 2]
        self.mean = 0.5 * self.mean + 0.5 * np.mean([place for place, _ in best], axis=0)
        self.sigma *= 0.9
        self.generation += 1


def warm_start(solutions: list[tuple[Any, float]]) -> tuple[Any, float, Any]:
    """Stands for cmaes.get_warm_start_mgd, which starts from the best tenth as well."""
    best = [place for place, _ in sorted(solutions, key=lambda item: item[1])[: len(solutions) // 10]]
    assert best
    return np.mean(best, axis=0), 0.1, None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal here needs to survive a power failure."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@pytest.fixture
def cmaes(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("cmaes") is None:
        module = types.ModuleType("cmaes")
        for name in ("CMA", "SepCMA", "CMAwM"):
            setattr(module, name, type(name, (PlainCma,) if name == "CMA" else (), {}))
        module.get_warm_start_mgd = warm_start  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "cmaes", module)


@pytest.fixture
def play(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics], cmaes: None
) -> Callable[..., list[dict[str, Any]]]:
    """Continue the sweep of a journal to its last trial; return its points in the order of their numbers."""

    def end(record: TrialRecord) -> tuple[tuple[EpochMetrics, ...], Outcome]:
        score = (0.3 if record.point["cell"] == "gru" else 0.0) + float(record.point["dropout"])
        curve = tuple(make_epoch(epoch, score * epoch / 2) for epoch in (1, 2))
        if record.number % 7 == 5:
            return curve, Failed(reason="x")
        return curve, Stopped(epoch=2) if record.number % 4 == 3 else Completed()

    def play(
        folder: Path,
        method: str,
        *,
        arguments: dict[str, Any] | None = None,
        rebuilt: bool = False,
        num: int | None = None,
        why_not: Callable[[Any], str | None] = lambda _: None,
        earlier: Sequence[EarlierTrial] = (),
    ) -> list[dict[str, Any]]:
        num = num or NUM_TRIALS.get(method, 26)

        def open_sampler() -> Sampler:
            return Sampler(
                space=SPACE,
                seed=1,
                method=method,
                startup_trials=5,
                arguments=METHODS.get(method, {}) if arguments is None else arguments,
                why_not=why_not,
                earlier=earlier,
                records={record.key: record for record in journal.of_kind("trial")},
                draws=journal.draws,
                note=journal.draw,
            )

        with Journal(folder) as journal:
            sampler = open_sampler()
            while True:
                # Which event comes next depends only on the journal, and trials do not end in their order.
                if rebuilt:
                    sampler = open_sampler()
                running = [record for record in journal.of_kind("trial") if record.outcome is None]
                if len(running) < NUM_RUNNING and journal.num_of_kind("trial") < num:
                    asked = sampler.ask()
                    assert asked is not None
                    number, point = asked
                    journal.begin(make_record(f"{number:016x}", number=number, point=dict(point), curve=()))
                elif running:
                    record = min(running, key=lambda item: derive(item.number))
                    curve, outcome = end(record)
                    for metrics in curve[len(record.curve) :]:
                        journal.epoch(record.key, metrics, "node")
                    journal.end(record.key, outcome)
                    sampler.tell(record.number, curve, outcome)
                else:
                    break
            return [dict(record.point) for record in sorted(journal.records.values(), key=lambda item: item.number)]

    return play


@pytest.mark.parametrize("method", METHODS)
def test_a_sweep_cut_off_anywhere_makes_the_proposals_of_an_undisturbed_one(
    tmp_path: Path, play: Callable[..., list[dict[str, Any]]], method: str
) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    expected = play(calm, method)
    assert len(expected) == NUM_TRIALS.get(method, 26)
    lines = (calm / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert not any(b"optimizer" in line for line in lines)
    for cut in sorted({*range(3, len(lines), len(lines) // (2 if method == "gp" else 6)), len(lines) - 1}):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
        assert play(folder, method) == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_sampler_rebuilt_before_each_call_makes_the_same_proposals(
    tmp_path: Path, play: Callable[..., list[dict[str, Any]]], method: str
) -> None:
    calm, restless = tmp_path / "calm", tmp_path / "restless"
    calm.mkdir()
    restless.mkdir()
    assert play(restless, method, rebuilt=True) == play(calm, method)


@pytest.mark.parametrize("method", ["cmaes", "qmc", "nsga2"])
def test_state_of_rejected_draws_is_kept(
    tmp_path: Path, play: Callable[..., list[dict[str, Any]]], method: str
) -> None:
    def why_not(point: Any) -> str | None:
        return "too deep" if point["depth"] == 3 else None

    calm, restless = tmp_path / "calm", tmp_path / "restless"
    calm.mkdir()
    restless.mkdir()
    expected = play(calm, method, why_not=why_not)
    with Journal(calm) as journal:
        assert sum(bool(draw.rejected) for draw in journal.draws.values()) > 3
    assert play(restless, method, why_not=why_not, rebuilt=True) == expected


EARLIER = tuple(
    EarlierTrial(
        study="runs/a",
        number=number,
        point={"cell": "none", "lr": 1.0e-3 * 1.1**number, "dropout": 0.4 + number / 250, "depth": 1 + number % 4},
        outcome=Stopped(epoch=2) if number % 5 == 4 else Completed(),
        values=(0.4 + number / 250,),
        curve={1: 0.2, 2: 0.4 + number / 250},
    )
    for number in range(20)
)
"""The score rises with `dropout`, as in `play`."""
LEARNING = [
    pytest.param(method, marks=pytest.mark.slow) if method == "gp" else method
    for method in METHODS
    if method_of(method).learns
]


@pytest.mark.parametrize("method", LEARNING)
def test_a_sweep_that_learns_from_earlier_trials_can_be_cut_off_anywhere(
    tmp_path: Path, play: Callable[..., list[dict[str, Any]]], method: str
) -> None:
    calm, alone = tmp_path / "calm", tmp_path / "alone"
    calm.mkdir()
    alone.mkdir()
    num = NUM_TRIALS.get(method, 18)
    expected = play(calm, method, num=num, earlier=EARLIER)
    without = play(alone, method, num=num)
    assert expected[:5] != without[:5]
    early = {
        name: np.mean([point["dropout"] for point in points[:8]])
        for name, points in (("learned", expected), ("alone", without))
    }
    assert early["learned"] > early["alone"]
    with Journal(calm) as journal:
        assert [record.number for record in journal.of_kind("trial")] == list(range(num))
        numbers = {*journal.draws, *range(num)}
        assert numbers == set(range(max(numbers) + 1)), "earlier trials have no numbers here"
    lines = (calm / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for cut in sorted({1, *range(3, len(lines), len(lines) // (2 if method == "gp" else 5)), len(lines) - 1}):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
        assert play(folder, method, num=num, earlier=EARLIER) == expected
    restless = tmp_path / "restless"
    restless.mkdir()
    assert play(restless, method, num=num, earlier=EARLIER, rebuilt=True) == expected


@pytest.mark.parametrize("method", ["nsga2", "gp"])
def test_an_earlier_trial_is_what_its_own_study_would_have_told(method: str) -> None:
    """Optuna receives both objectives, and an infeasible trial counts as infeasible."""
    trial = dataclasses.replace(
        EARLIER[0], values=(0.4, 900.0), outcome=Infeasible(measure="latency_ms", value=3.0, limit=2.0)
    )
    objectives: Any = {"val_accuracy": "max", "num_parameters": "min"}
    sampler = Sampler(
        space=SPACE,
        seed=1,
        method=method,
        startup_trials=5,
        objectives=objectives,
        earlier=[trial],
        limits={"latency_ms": 2.0},
    )
    (told,) = sampler._study.get_trials()
    assert told.values == [0.4, 900.0]
    assert told.state.name == "COMPLETE"
    assert told.params == trial.point
    assert told.system_attrs["constraints:latency_ms"] == 0.5
    assert told.user_attrs == {"earlier": "trial 0 of runs/a"}
    assert told.intermediate_values == {}


def test_cmaes_itself(tmp_path: Path, play: Callable[..., list[dict[str, Any]]]) -> None:
    """Not the stand-in above."""
    pytest.importorskip("cmaes")
    folder = tmp_path / "calm"
    folder.mkdir()
    points = play(folder, "cmaes", num=60)
    assert np.mean([point["dropout"] for point in points[40:]]) > np.mean([point["dropout"] for point in points[:10]])


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_what_each_method_keeps(tmp_path: Path, play: Callable[..., list[dict[str, Any]]]) -> None:
    kept: dict[str, set[str]] = {}
    for method in ("cmaes", "qmc", "nsga2", "random"):
        folder = tmp_path / method
        folder.mkdir()
        play(folder, method)
        draws = [event for event in lines_of(folder) if event["event"] == "draw"]
        kept[method] = {key[:8] for draw in draws for name in ("attrs", "study_attrs") for key in draw.get(name, {})}
    assert kept["cmaes"] == {"cma:gene", "told:0", "told:1", "told:2"}
    assert kept["nsga2"] == {"NSGAIISa"}
    assert {key[:4] for key in kept["qmc"]} == {"qmc:"}
    assert kept["random"] == set()


@pytest.mark.parametrize("method", ["gp", "cmaes", "nsga2"])
def test_methods_learn(tmp_path: Path, play: Callable[..., list[dict[str, Any]]], method: str) -> None:
    """The score rises with `dropout`."""
    folder = tmp_path / "calm"
    folder.mkdir()
    num = {"gp": 16, "cmaes": 80}.get(method, 40)
    points = play(folder, method, num=num)
    late = np.mean([point["dropout"] for point in points[num * 3 // 4 :]])
    assert late > np.mean([point["dropout"] for point in points[: num // 4]]) + 0.03


def test_qmc_covers_the_space_more_evenly_than_random_draws(
    tmp_path: Path, play: Callable[..., list[dict[str, Any]]]
) -> None:
    gaps = {}
    for method in ("qmc", "random"):
        folder = tmp_path / method
        folder.mkdir()
        values = np.sort([float(point["dropout"]) for point in play(folder, method, num=16)])
        gaps[method] = np.diff(values).max()
        if method == "qmc":  # one value in each sixteenth of the range
            assert np.floor(values / 0.5 * 16).tolist() == list(range(16))
    assert gaps["qmc"] < gaps["random"]


def test_stopped_trials_count_for_methods_that_ignore_pruned_ones(
    tmp_path: Path, play: Callable[..., list[dict[str, Any]]]
) -> None:
    states, values = {}, {}
    for method in ("tpe", "nsga2"):
        folder = tmp_path / method
        folder.mkdir()
        play(folder, method, num=8)
        with Journal(folder) as journal:
            sampler = Sampler(
                space=SPACE,
                seed=1,
                method=method,
                startup_trials=5,
                records=journal.records,
                draws=journal.draws,
            )
        trials = sampler._study.get_trials()
        assert [trial._trial_id for trial in trials] == [trial.number for trial in trials]
        states[method] = trials[3].state.name
        values[method] = trials[3].value, journal.records[f"{3:016x}"].val_accuracy
    assert states == {"tpe": "PRUNED", "nsga2": "COMPLETE"}
    assert values["nsga2"][0] == values["nsga2"][1]
