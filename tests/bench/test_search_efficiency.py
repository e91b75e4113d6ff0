"""The simulated clock, and the methods on a made-up table."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path

import pytest

import bench.search_efficiency.table as tables
from bench.search_efficiency import goals
from bench.search_efficiency.clock import NUM_TRAININGS, Decision, Job, simulate
from bench.search_efficiency.importance import main_effects
from bench.search_efficiency.judged import judge
from bench.search_efficiency.methods import METHODS
from bench.search_efficiency.ours import Ours
from bench.search_efficiency.table import Table

POINT = {"enc_on": False, "rnn": "none", "dropout": 0.0}


def made_up(curves: dict[tuple[int, int], list[float]], secs: dict[int, float]) -> Table:
    points = {point: {**POINT, "lr": float(point)} for point, _ in curves}
    return Table(points=points, curves=curves, secs=secs, num_epochs=2)


class Listed:
    """Trains given points in turn, and stops some after their first epoch."""

    def __init__(self, points: list[int], stopped: set[int]) -> None:
        self.points, self.stopped = list(points), stopped
        self.failed: list[Hashable] = []

    def next(self) -> Job | None:
        return Job(trial=self.points[0], point=self.points.pop(0)) if self.points else None

    def report(self, trial: Hashable, epoch: int, value: float) -> Decision:
        return "stop" if trial in self.stopped else "continue"

    def fail(self, trial: Hashable) -> None:
        self.failed.append(trial)


def test_time_passes_with_the_epochs_and_the_answer_is_judged_by_other_trainings() -> None:
    table = made_up(
        {(0, 0): [0.5, 0.6], (0, 1): [0.4, 0.5], (1, 0): [0.9, 0.8], (1, 1): [0.5, 0.9], (2, 0): [0.95], (2, 1): [0.1]},
        {0: 1.0, 1: 2.0, 2: 1.0},
    )
    method = Listed([0, 2, 1], set())
    run = simulate(table, 0, method, 1)
    end = NUM_TRAININGS * table.mean_secs
    assert method.failed == [2]
    judged = judge(table, 0, run.answers)
    # Two epochs of point 0, one of point 2 and the second in which it diverges, two of point 1.
    assert judged.reached == pytest.approx((2 + 2 + 4) / end, abs=1e-6)
    assert judged.final == 0.9
    assert (run.num_trials, [point for _, point in run.whole]) == (3, [0, 1])


def test_a_whole_training_is_a_better_answer_than_a_stopped_one() -> None:
    table = made_up({(0, 0): [0.5, 0.6], (0, 1): [0.4, 0.5], (1, 0): [0.9, 0.9], (1, 1): [0.5, 0.9]}, {0: 1.0, 1: 1.0})
    assert simulate(table, 0, Listed([0, 1], {1}), 2).answers[-1][1] == 0
    assert simulate(table, 0, Listed([0, 1], set()), 2).answers[-1][1] == 1


def test_regret_is_the_distance_from_the_best_mean_and_a_target_once_reached_counts() -> None:
    table = made_up({(0, 0): [0.1, 0.5], (0, 1): [0.1, 0.7], (1, 0): [0.1, 0.6], (1, 1): [0.1, 0.9]}, {0: 1.0, 1: 1.0})
    judged = judge(table, 0, [(0.25, 1), (0.5, 0)])
    assert judged.regret[0] == 0.9, "no answer yet"
    assert (judged.regret[24], judged.regret[99]) == (0.0, pytest.approx(0.2))
    assert (judged.reached, judged.time, judged.final) == (0.25, 0.25, 0.7)
    assert judge(table, 0, []).time == 1.0


def test_two_workers_need_half_the_time() -> None:
    curves = {(point, seed): [0.1, point / 10] for point in range(4) for seed in range(2)}
    table = made_up(curves, dict.fromkeys(range(4), 1.0))
    one, two = (simulate(table, 0, Listed([0, 1, 2, 3], set()), workers) for workers in (1, 2))
    # The whole time is half as long too, so that the part is the same.
    times = [judge(table, 0, run.answers).reached for run in (one, two)]
    assert times == [pytest.approx(8 / (NUM_TRAININGS * 2), abs=1e-6)] * 2


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table of the digits' space in which a higher rate is better, and nothing else matters."""
    from search.study.load import load_study

    space = load_study(tables.FOLDER / "digits.yaml", []).build_space()
    lines = []
    for index, point in enumerate(space.enumerate()):
        params = {name: value for name, value in point.items() if name in space.free}
        level = 0.9 + 10 * params["lr"]
        curve = [round(level * epoch / 12, 6) for epoch in range(1, 13)]
        row = {"point": index, "val_accuracy": curve, "secs": [1.0] * 12, "params": params}
        lines += [json.dumps({**row, "seed": seed}) for seed in range(2)]
    (tmp_path / "digits.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "digits.yaml").write_text((tables.FOLDER / "digits.yaml").read_text())
    for module in ("table", "ours"):
        monkeypatch.setattr(f"bench.search_efficiency.{module}.FOLDER", tmp_path)
    return Table.load("digits")


@pytest.mark.parametrize("name", ["default", "random + asha", "all one epoch, then the best"])
def test_methods_find_the_best_rate(learned: Table, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.search_efficiency.clock.NUM_TRAININGS", 6 if "one epoch" not in name else 60)
    run = simulate(learned, 1, METHODS[name][1](learned, "digits", 0), 4)
    judged = judge(learned, 1, run.answers)
    assert judged.final == pytest.approx(learned.best(1))
    assert judged.reached is not None
    assert len(run.whole) < run.num_trials, "nothing was stopped"


def test_promotion_trains_a_trial_to_the_end_when_no_new_one_can_begin(learned: Table) -> None:
    method = Ours(learned, "digits", {"scheduler": "asha-promote", "trials": 2}, 0)
    run = simulate(learned, 0, method, 2)
    assert (run.num_trials, len(run.whole)) == (2, 1)
    best = max(method.points.values(), key=lambda point: learned.last(point, 0))
    assert run.answers[-1][1] == best


@pytest.mark.parametrize("name", ["tpe + asha", goals.NSGA2])
def test_no_method_trains_a_point_above_the_limit(learned: Table, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.search_efficiency.clock.NUM_TRAININGS", 4)
    counts = {point: point % 10 for point in learned.points}
    run = simulate(learned, 0, goals.METHODS[name][1](learned, "digits", counts, 0), 4)
    assert run.whole
    assert all(counts[point] <= goals.limit_of(counts) for _, point in run.whole)


def test_the_hypervolume_is_that_of_the_seen_front_by_the_unseen_accuracies() -> None:
    # Point 2 looks better than 0 with the same parameters, but is not; 3 is above the limit of 2 parameters.
    lasts = {0: (0.5, 0.9), 1: (0.4, 0.5), 2: (0.6, 0.7), 3: (0.9, 0.9)}
    curves = {(point, seed): [0.1, values[seed]] for point, values in lasts.items() for seed in range(2)}
    table, counts = made_up(curves, dict.fromkeys(lasts, 1.0)), {0: 2, 1: 1, 2: 2, 3: 9}
    shares = goals.volumes(table, 0, [(0.1, 0), (0.2, 3), (0.5, 2), (0.6, 1)], counts)
    # The reference is the median accuracy 0.7 and 3 parameters: only point 0 adds a volume.
    assert (shares[8], shares[9], shares[48], shares[49], shares[99]) == (0, 1, 1, 0, 0)


def test_the_variance_between_the_values_of_a_parameter_is_exact(learned: Table) -> None:
    effects = main_effects(learned.points, learned.truth(0))
    assert next(iter(effects)) == "lr"
    assert effects == {"lr": pytest.approx(1), **{name: pytest.approx(0) for name in ("enc_on", "rnn", "dropout")}}


def test_a_table_of_one_seed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"point": 0, "seed": 0, "val_accuracy": [0.5], "secs": [1.0], "params": POINT}
    (tmp_path / "made.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    with pytest.raises(
        ValueError, match=r"made: no point has 2 trainings yet; record them: python -m bench\.search_table"
    ):
        Table.load("made")


def test_a_table_leaves_out_points_without_two_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"point": 0, "seed": 0, "val_accuracy": [0.5], "secs": [1.0], "params": POINT},
        {"point": 0, "seed": 1, "val_accuracy": [0.7], "secs": [3.0], "params": POINT},
        {"point": 1, "seed": 0, "val_accuracy": [0.9], "secs": [1.0], "params": {**POINT, "dropout": 0.5}},
    ]
    (tmp_path / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"point": 1, "se')
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    table = Table.load("made")
    assert (table.points, table.secs, table.best(0)) == ({0: POINT}, {0: 1.0}, 0.7)
    assert table.find({**POINT, "nodes": 16, "enc_code": None}) == 0
    assert not table.has({**POINT, "dropout": 0.5})
