"""Budgets of a trial and of the whole sweep: decided from the journal, and kept at a resume."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from search.commands import plan, studies
from search.commands.control import write
from search.commands.trials import state_of
from search.compare.contenders import unfinished_sweep
from search.errors import StudyError
from search.journal.budgets import num_without_gain
from search.journal.commands import Command
from search.journal.reading import read_events, read_history, read_records
from search.records import Completed, Failed, Infeasible, Progress, Stopped, TrialRecord
from search.report import overview
from search.report.status_lines import to_lines
from search.runners import dispatcher, inline
from search.study.config import StudyConfig
from search.study.folder import changed_claims, check_folder
from search.sweep.sweep import Sweep

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture(autouse=True)
def minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes one minute, two of every second trial; scores are made up as well, so that sweeps are alike."""
    original = dispatcher.Dispatcher.report

    def report(self: Any, key: str, progress: Progress, node: str) -> bool:
        number = self._journal.records[key].number
        metrics = dataclasses.replace(progress.metrics, elapsed_secs=60.0 * (1 + number % 2))
        return original(self, key, dataclasses.replace(progress, metrics=metrics), node)

    monkeypatch.setattr(dispatcher.Dispatcher, "report", report)
    monkeypatch.setattr(dispatcher, "LOOK_SECS", 0.0)


def summary(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    return [(dict(item.point), item.outcome, [epoch.val_accuracy for epoch in item.curve]) for item in records]


def killed_again_and_again(
    study: StudyConfig, driver: Any, killed: type[BaseException], fewest: int = 3
) -> list[TrialRecord]:
    rng, num_kills = random.Random(4), 0
    while True:
        countdown = itertools.count(rng.randint(1, 4), -1)

        def kill(_: Sweep, countdown: itertools.count[int] = countdown) -> None:
            if next(countdown) == 1:
                raise killed

        try:
            records: list[TrialRecord] = driver.sweep(study, watch=kill)
        except killed:
            num_kills += 1
        else:
            assert num_kills >= fewest
            return records


def ends(study: StudyConfig) -> list[tuple[str, float, str]]:
    events = read_events(study.folder / "journal.jsonl")
    return [(event["field"], event["limit"], event["words"]) for event in events if event["event"] == "sweep_end"]


@pytest.mark.slow
def test_a_trial_ends_before_the_epoch_that_would_exceed_its_budget(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("search.trial_budget_mins=3", "search.scheduler=none", "search.trials=4")
    calm = driver.sweep(make_study(*options, name="calm"))
    over = Stopped(epoch=1, reason="search.trial_budget_mins 3 would be exceeded by another epoch")
    assert [record.outcome for record in calm] == [Completed(), over, Completed(), over]
    assert [state_of(record) for record in calm[:2]] == ["completed", "stopped by budget"]
    study = make_study(*options, name="again")
    assert summary(killed_again_and_again(study, driver, killed)) == summary(calm)
    assert summary(list(read_records(study.folder).values())) == summary(calm)
    # A kill between the epoch and the decision.
    study = make_study(*options, name="between")
    original = Sweep.over_budget

    def over_budget(self: Sweep, record: TrialRecord) -> str:
        if words := original(self, record):
            raise killed
        return words

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "over_budget", over_budget)
        with pytest.raises(killed):
            driver.sweep(study)
    assert summary(driver.sweep(study)) == summary(calm)


@pytest.mark.slow
def test_a_sweep_without_gain_begins_no_new_trial(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("search.stop_when.trials_without_gain=2", "search.trials=20", "train.epochs=2")
    calm = driver.sweep(make_study(*options, name="calm"))
    assert 3 <= len(calm) < 20
    best = max(
        range(len(calm)), key=lambda place: (isinstance(calm[place].outcome, Completed), calm[place].val_accuracy)
    )
    assert len(calm) == best + 3
    why = "no gain in the last 2 trials (search.stop_when.trials_without_gain)"
    assert ends(make_study(*options, name="calm")) == [("search.stop_when.trials_without_gain", 2, why)]
    study = make_study(*options, name="again")
    assert summary(killed_again_and_again(study, driver, killed)) == summary(calm)
    assert len(ends(study)) == 1
    assert summary(driver.sweep(study)) == summary(calm), "a resume keeps the decision"
    assert len(ends(study)) == 1
    assert overview.make_overview(study).ended == why
    assert f"ended       no new trial begins: {why}" in to_lines(overview.make_overview(study))
    row = next(row for row in studies.list_studies(str(study.storage)) if row.name == "again")
    assert row.state == "finished"
    history = read_history(study.folder)
    assert list(unfinished_sweep(study, list(history.records.values()), history.marks)) == []


def test_a_decision_holds_until_its_budget_is_raised(make_study: MakeStudy, driver: Any) -> None:
    def make(num: int) -> StudyConfig:
        return make_study(f"search.stop_when.trials_without_gain={num}", "search.trials=6", "train.epochs=1")

    first = driver.sweep(make(1))
    assert len(first) < 6
    write(make(1).location, Command(verb="extend", trials=3))
    write(make(1).location, Command(verb="enqueue", point={"rnn": "none", "lr": 0.001, "dropout": 0.0}, at=1.0))
    assert len(driver.sweep(make(1))) == len(first)
    answers = [event["answer"] for event in read_history(make(1).folder).marks if event["event"] == "command"]
    assert answers[1].startswith("no new trial begins: no gain in the last 1 trials")
    assert answers[0].startswith("enqueued, but no new trial begins: ")
    check_folder(make(6))
    assert changed_claims(make(6)) == []
    more = driver.sweep(make(6))
    assert len(more) == 6
    assert summary(more[: len(first)]) == summary(first)
    assert overview.make_overview(make(6)).ended is None


def test_gpu_hours(make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "pick_device", lambda _: "cpu")
    study = make_study("search.gpu_hours=0.05", "resources.gpus=0.5", "search.scheduler=none", "search.trials=9")
    records = driver.sweep(study)
    # 3 + 6 minutes on half a GPU are 0.075 hours, 3 alone are 0.025.
    assert [record.outcome for record in records] == [Completed(), Completed()]
    why = "0.07 GPU hours of training are used, of 0.05 (search.gpu_hours)"
    assert ends(study) == [("search.gpu_hours", 0.05, why)]
    assert len(driver.sweep(study)) == 2
    with pytest.raises(StudyError, match=r"search\.gpu_hours: expected resources\.gpus above 0, found 0"):
        make_study("search.gpu_hours=1")


def test_the_number_of_trials_without_gain(make_record: Callable[..., TrialRecord], make_epoch: Any) -> None:
    def trial(accuracy: float, outcome: Any = None, parameters: int = 9) -> TrialRecord:
        curve = (make_epoch(1, accuracy),)
        return make_record("a", curve=curve, outcome=outcome or Completed(), counts={"num_parameters": parameters})

    one: Any = {"val_accuracy": "max"}
    two: Any = {"val_accuracy": "max", "num_parameters": "min"}
    stopped, failed = trial(0.9, Stopped(epoch=1)), trial(0.9, Failed(reason="x"))
    infeasible = trial(0.9, Infeasible(measure="latency_ms", value=2.0, limit=1.0))
    assert num_without_gain([], one) == 0
    assert num_without_gain([trial(0.5), trial(0.5), trial(0.4)], one) == 2
    assert num_without_gain([trial(0.5), trial(0.4), trial(0.6)], one) == 0
    assert num_without_gain([trial(0.5), stopped, failed, infeasible], one) == 2
    assert num_without_gain([stopped, stopped], one) == 2
    ended_at_5 = dataclasses.replace(trial(0.5), finished_at=5.0)
    waiting = [
        dataclasses.replace(trial(0.4), outcome=None, is_waiting=True, started_at=started) for started in (4.0, 6.0)
    ]
    assert num_without_gain([ended_at_5], one, [ended_at_5, *waiting]) == 1, "one began before the gain"
    assert num_without_gain([trial(0.5), trial(0.4, parameters=8)], two) == 0, "it enters the front"
    assert num_without_gain([trial(0.5), trial(0.4, parameters=8), trial(0.4, parameters=8)], two) == 1


def test_plan_says_what_ends_a_sweep_early(make_study: MakeStudy) -> None:
    study = make_study("search.trial_budget_mins=3", "search.stop_when.trials_without_gain=30")
    found = plan.make_plan(study)
    assert found.budgets == (
        "a trial is stopped before an epoch that would take it beyond 3 minutes",
        "no new trial begins after 30 trials without gain",
    )
    assert f"budget      {found.budgets[0]}" in plan.to_lines(found)
    assert "search.stop_when.trials_without_gain: 30 has no effect, because search.trials is 6" in found.warnings


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("search.trial_budget_mins=0", "search.trial_budget_mins: must be greater than 0"),
        (
            "search.stop_when.trials_without_gain=0",
            "search.stop_when.trials_without_gain: must be greater than or equal",
        ),
        (
            "search.stop_when={trials_without_gains: 3}",
            "trials_without_gains: unknown key; did you mean trials_without",
        ),
        ("search.stop_when=3", "search.stop_when: expected a mapping, got 3"),
        ("search.gpu_hours=many", "search.gpu_hours: expected a number"),
    ],
)
def test_bad_input(make_study: MakeStudy, option: str, words: str) -> None:
    with pytest.raises(StudyError) as caught:
        make_study(option)
    assert any(words in fault for fault in caught.value.faults)


def test_a_trial_that_pauses_has_its_budget(make_study: MakeStudy, driver: Any) -> None:
    options = ("search.trial_budget_mins=1", "search.scheduler=asha-promote", "search.trials=3", "train.epochs=3")
    records = driver.sweep(make_study(*options))
    assert [len(record.curve) for record in records] == [1, 1, 1]
    assert {state_of(record) for record in records} == {"stopped by budget"}
