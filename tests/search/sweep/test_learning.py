"""A sweep that learns from an earlier study, is killed, and does not need that study any more."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from search.commands import plan
from search.journal.earlier import earlier_in
from search.journal.reading import read_history
from search.journal.summary import nominee
from search.records import TrialRecord
from search.report import overview
from search.report.status_lines import to_lines
from search.study.config import StudyConfig
from search.study.load import read_recorded
from search.sweep.sweep import Sweep

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def past(write_past: Callable[..., StudyConfig], cnn: dict[str, Any], gru: dict[str, Any]) -> StudyConfig:
    """Six trials with made-up accuracies above 0.5; the best one has the learning rate 0.012."""
    return write_past(*({**(cnn if place % 2 else gru), "lr": 0.002 * (1 + place)} for place in range(6)))


def summary(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    return [
        (record.number, dict(record.point), record.key, record.outcome, [epoch.val_accuracy for epoch in record.curve])
        for record in records
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(
            ("search.sampler=nsga2", "search.sampler_args.population_size=3", "search.scheduler=hyperband"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["tpe", "nsga2"],
)
def test_a_killed_sweep_needs_the_earlier_study_no_more(
    make_study: MakeStudy,
    past: StudyConfig,
    driver: Any,
    killed: type[BaseException],
    write_past: Callable[..., StudyConfig],
    cnn: dict[str, Any],
    options: tuple[str, ...],
) -> None:
    options = ("train.epochs=2", *options)
    learning = (*options, f"search.learn_from=[{past.folder}]", f"search.enqueue=top-1 of {past.folder}")
    alone = driver.sweep(make_study(*options, name="alone"))
    calm = driver.sweep(make_study(*learning, name="calm"))
    assert calm[0].point["lr"] == 0.012, "the best point of the earlier study"
    assert [dict(record.point) for record in calm[1:]] != [dict(record.point) for record in alone[:-1]]
    rng, num_kills = random.Random(5), 0
    while True:
        countdown = itertools.count(rng.randint(2, 5), -1)

        def kill(_: Sweep, countdown: itertools.count[int] = countdown) -> None:
            if next(countdown) == 1:
                raise killed

        try:
            records = driver.sweep(make_study(*learning, name="again"), watch=kill)
            break
        except killed:
            num_kills += 1
        if num_kills == 1:  # it grows, then it is gone
            write_past({**cnn, "lr": 0.0007})
        elif past.folder.exists():
            shutil.rmtree(past.folder)
    assert num_kills >= 3
    assert not past.folder.exists()
    assert [item[1:] for item in summary(records)] == [item[1:] for item in summary(calm)]


def test_earlier_trials_are_no_trials_of_this_study(
    make_study: MakeStudy, past: StudyConfig, driver: Any, optuna_copy: Callable[[StudyConfig], Any]
) -> None:
    study = make_study("train.epochs=2", f"search.learn_from=[{past.folder}]", "search.trials=3", name="new")
    records = driver.sweep(study)
    assert [record.number for record in records] == [0, 1, 2]
    assert len(optuna_copy(study).trials) == 3
    best = nominee(records)
    assert best is not None
    assert best in records
    recorded = read_recorded(study.folder)
    assert recorded is not None
    assert recorded.search.learn_from == study.search.learn_from
    earlier = earlier_in(read_history(study.folder).marks)
    assert earlier is not None
    assert len(earlier.trials) == 6


def test_no_scheduler_counts_earlier_trials(make_study: MakeStudy, past: StudyConfig, driver: Any) -> None:
    """Of two trials ASHA continues the first, although six earlier ones were better."""
    study = make_study("train.epochs=2", f"search.learn_from=[{past.folder}]", "search.trials=1", name="new")
    assert [len(record.curve) for record in driver.sweep(study)] == [2]


def test_plan_and_status_say_what_is_taken(
    make_study: MakeStudy, past: StudyConfig, driver: Any, write_past: Callable[..., StudyConfig]
) -> None:
    study = make_study(
        "train.epochs=2", f"search.learn_from=[{past.folder}]", f"search.enqueue=top-2 of {past.folder}", name="new"
    )
    lines = [f"learns from 6 of 6 trials of {past.folder}", f"top-2 of {past.folder}: 2 points"]
    shown = plan.to_lines(plan.make_plan(study))
    assert shown[shown.index(f"earlier     {lines[0]}") + 1] == f"            {lines[1]}"
    driver.sweep(study)
    shutil.rmtree(past.folder)
    found = overview.make_overview(study)
    assert overview.to_dict(found)["earlier"] == lines
    assert f"earlier     {lines[0]}" in to_lines(found, is_verbose=True)
