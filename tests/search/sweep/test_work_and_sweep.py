from __future__ import annotations

import dataclasses
import itertools
import pkgutil
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
import torch
from torch import nn

from search.commands.check import check
from search.errors import EXIT_FAILED_TRIALS, InputError, InterruptedStudyError, ResourceError, TooManyFailuresError
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_events, read_records
from search.records import Completed, EpochMetrics, Failed, Progress, Stopped, TrialRecord, TrialResult
from search.sampling.optuna_copy import OptunaCopy
from search.sampling.optuna_storage import read_study
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.sweep.sweep import Sweep
from search.training import learner

MakeStudy = Callable[..., StudyConfig]
TWO = "search.objectives={val_accuracy: max, num_parameters: min}"


def summary(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    """What must not depend on how often the sweep was cut off."""
    return [
        (record.number, dict(record.point), record.key, record.outcome, [epoch.val_accuracy for epoch in record.curve])
        for record in records
    ]


def all_optuna_trials(study: StudyConfig) -> list[optuna.trial.FrozenTrial]:
    OptunaCopy(study.folder, name=study.name, space=study.build_space()).finish()
    found = read_study(study.folder, study.name)
    assert found is not None
    return found.get_trials()


def optuna_trials(study: StudyConfig) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in all_optuna_trials(study) if "rejected" not in trial.user_attrs]


def check_whole(study: StudyConfig, records: list[TrialRecord]) -> None:
    """The journal, Optuna's study and the folders tell the same story."""
    assert list(read_records(study.folder).values()) == records
    states = {Completed: "COMPLETE", Stopped: "PRUNED", Failed: "FAIL"}
    by_number = {trial.number: trial for trial in optuna_trials(study)}
    for record in records:
        trial = by_number[record.number]
        assert trial.state.name == states[type(record.outcome)]
        if not isinstance(record.outcome, Failed):
            validated = {item.epoch: item.val_accuracy for item in record.curve if item.val_accuracy is not None}
            assert trial.intermediate_values == validated
    assert not list(study.folder.glob("trials/*/checkpoint.pt"))


def test_a_whole_sweep(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=8")
    records = driver.sweep(study)
    assert len(records) == 8
    outcomes = Counter(type(record.outcome) for record in records)
    assert outcomes[Failed] == 0
    assert outcomes[Completed] >= 1
    assert outcomes[Stopped] >= 1
    for record in records:
        assert len(record.curve) == (record.outcome.epoch if isinstance(record.outcome, Stopped) else 3)
        assert record.kind == "trial"
        assert record.blocks == ("sweep-0",)
        assert record.node
        assert record.test_accuracy is None
        assert record.label.startswith(f"trial {record.number}: ")
    assert len({record.key for record in records}) == 8
    check_whole(study, records)


@pytest.mark.slow
def test_a_sweep_that_validates_every_second_epoch(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=6", "train.epochs=5", "train.validate_every=2")
    records = driver.sweep(study)
    assert {record.outcome.epoch for record in records if isinstance(record.outcome, Stopped)} <= {2, 4}
    assert Counter(type(record.outcome) for record in records).keys() == {Completed, Stopped}
    check_whole(study, records)


def test_a_finished_sweep_is_left_alone_and_can_be_extended(
    make_study: MakeStudy, driver: Any, count_epochs: list[tuple[str, int]]
) -> None:
    first = summary(driver.sweep(make_study("search.trials=3")))
    num_trained = len(count_epochs)
    assert summary(driver.sweep(make_study("search.trials=3"))) == first
    assert len(count_epochs) == num_trained
    extended = summary(driver.sweep(make_study("search.trials=5")))
    assert extended[:3] == first
    assert len(extended) == 5
    assert len(set(count_epochs)) == len(count_epochs)


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("search.sampler=random", "search.scheduler=median"), marks=pytest.mark.slow),
        pytest.param(
            ("search.sampler=nsga2", "search.sampler_args.population_size=2", "search.scheduler=hyperband"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("search.sampler=qmc", "search.scheduler=plateau", "search.patience_epochs=1"), marks=pytest.mark.slow
        ),
        pytest.param(("search.scheduler=asha-promote", "search.trials=8"), marks=pytest.mark.slow),
        pytest.param(
            ("search.scheduler=asha-promote", "search.trials=8", "search.sampler_args.fidelity=rung"),
            marks=pytest.mark.slow,
        ),
        pytest.param(("search.sampler_args.fidelity=rung", "search.trials=8"), marks=pytest.mark.slow),
        pytest.param(("search.scheduler=asha-promote", "search.sampler=gp", "search.trials=8"), marks=pytest.mark.slow),
        pytest.param((TWO, "search.startup_trials=3"), marks=pytest.mark.slow),
        pytest.param((TWO, "search.sampler=nsga2", "search.sampler_args.population_size=2"), marks=pytest.mark.slow),
    ],
    ids=[
        "asha",
        "median",
        "hyperband",
        "plateau",
        "asha-promote",
        "asha-promote, by rung",
        "asha, by rung",
        "asha-promote, gp",
        "two objectives",
        "two objectives, nsga2",
    ],
)
def test_a_sweep_killed_again_and_again_ends_as_an_undisturbed_one(
    make_study: MakeStudy,
    driver: Any,
    killed: type[BaseException],
    count_epochs: list[tuple[str, int]],
    options: tuple[str, ...],
) -> None:
    undisturbed = summary(driver.sweep(make_study(*options, name="calm")))
    trained_calmly = list(count_epochs)
    count_epochs.clear()
    rng = random.Random(5)
    num_kills = 0
    while True:
        countdown = itertools.count(rng.randint(1, 5), -1)

        def kill(_: Sweep, countdown: itertools.count[int] = countdown) -> None:
            if next(countdown) == 1:
                raise killed

        try:
            records = driver.sweep(make_study(*options, name="calm2"), watch=kill)
            break
        except killed:
            num_kills += 1
    assert num_kills >= 3
    assert [item[1:] for item in summary(records)] == [item[1:] for item in undisturbed]
    assert count_epochs == trained_calmly
    check_whole(make_study(*options, name="calm2"), records)


WHERE = [
    ("search.journal.journal.Journal.begin", 3),
    ("search.journal.journal.Journal.epoch", 4),
    ("search.journal.journal.Journal.end", 2),
    ("search.sampling.sampler.Sampler.tell", 2),
    ("search.sampling.sampler.Sampler.ask", 3),
    ("search.training.loop.save_checkpoint", 4),
    ("search.training.loop.save_weights", 1),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("place", "times"), WHERE, ids=[place.rpartition(".")[2] for place, _ in WHERE])
def test_a_kill_between_two_writes_loses_nothing(
    make_study: MakeStudy,
    driver: Any,
    killed: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    count_epochs: list[tuple[str, int]],
    place: str,
    times: int,
    after: bool,
) -> None:
    study = make_study("search.trials=4")
    original = pkgutil.resolve_name(place)
    left = itertools.count(times, -1)

    def deadly(*args: Any, **options: Any) -> Any:
        last = next(left) == 1
        if last and not after:
            raise killed
        result = original(*args, **options)
        if last:
            raise killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(place, deadly)
        with pytest.raises(killed):
            driver.sweep(study)
    records = driver.sweep(study)
    assert len(records) == 4
    check_whole(study, records)
    num_again = sum(count - 1 for count in Counter(count_epochs).values())
    # Only the epoch whose checkpoint was not yet written is trained twice.
    assert num_again == (1 if place.endswith("save_checkpoint") and not after else 0)


@pytest.mark.slow
def test_a_killed_decision_is_made_again(make_study: MakeStudy, driver: Any, killed: type[BaseException]) -> None:
    calm = driver.sweep(make_study(name="calm"))
    loser = next(record for record in calm if isinstance(record.outcome, Stopped))
    study = make_study(name="calm3")

    def may_continue(self: Sweep, record: TrialRecord) -> bool:
        go_on = original(self, record)
        if not go_on:
            raise killed
        return go_on

    original = Sweep.may_continue
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sweep, "may_continue", may_continue)
        with pytest.raises(killed):
            driver.sweep(study)
    waiting = [record for record in read_records(study.folder).values() if record.outcome is None]
    assert [dict(record.point) for record in waiting] == [dict(loser.point)]
    resumed = driver.sweep(study)
    assert [record.outcome for record in resumed] == [record.outcome for record in calm]
    check_whole(study, resumed)


def test_the_time_budget_leaves_trials_to_be_resumed(
    make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study("search.time_budget_mins=1", "search.scheduler=none", "search.trials=3")
    real, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])

    def hurry(sweep: Sweep) -> None:
        if sum(len(record.curve) for record in sweep.records) == 4:
            ahead[0] += 61

    records = driver.sweep(study, watch=hurry)
    assert [(len(record.curve), record.outcome) for record in records] == [(3, Completed()), (1, None)]
    records = driver.sweep(study)
    assert [(len(record.curve), record.outcome) for record in records] == [(3, Completed())] * 3
    assert [record.resumed for record in records] == [0, 1, 0]


def refuse(images: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("layers do\nnot fit")


@pytest.fixture
def break_gru(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models with an RNN raise."""
    original = learner.build_model

    def build(config: Any, generator: torch.Generator) -> nn.Module:
        model = original(config, generator)
        if config.rnn == "none":
            return model
        model.forward = refuse  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(learner, "build_model", build)


@pytest.mark.usefixtures("break_gru")
def test_what_a_model_raises_is_a_failed_trial_with_its_reason(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=6", "search.max_failed_fraction=1")
    records = driver.sweep(study)
    assert len(records) == 6
    for record in records:
        if record.point["rnn"] == "none":
            assert not isinstance(record.outcome, Failed)
        else:
            assert record.outcome == Failed(reason="RuntimeError: layers do not fit")
    assert Counter(record.point["rnn"] for record in records).keys() == {"none", "gru"}
    check_whole(study, records)


@pytest.mark.usefixtures("break_gru")
def test_too_many_failures_end_the_study(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=8", "search.max_failed_fraction=0.25", "fix.rnn=gru")
    with pytest.raises(TooManyFailuresError, match=r"3 of 3 trials failed, more than search\.max_failed") as it:
        driver.sweep(study)
    assert it.value.exit_code == EXIT_FAILED_TRIALS == 3
    assert it.value.faults[1].strip() == "3 x RuntimeError: layers do not fit"
    assert len(read_records(study.folder)) == 3


@pytest.mark.usefixtures("break_gru")
def test_reasons_are_told_once_whatever_their_numbers(
    make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = itertools.count(1)

    def refuse_in_turn(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"layer {next(tried)} does not fit")

    monkeypatch.setitem(globals(), "refuse", refuse_in_turn)
    study = make_study("search.trials=8", "search.max_failed_fraction=0.25", "fix.rnn=gru")
    with pytest.raises(TooManyFailuresError) as it:
        driver.sweep(study)
    assert [line.strip() for line in it.value.faults[1:]] == ["3 x RuntimeError: layer 1 does not fit"]


def test_divergence_is_recorded_as_such(make_study: MakeStudy, driver: Any) -> None:
    train = {"epochs": 3, "batch": 16, "optimizer": "sgd", "precision": "float32"}
    space = {**make_study().space, "lr": {"fixed": 1e30}}  # type: ignore[dict-item]
    study = make_study("search.trials=2", "search.max_failed_fraction=1", train=train, space=space)
    for record in driver.sweep(study):
        assert isinstance(record.outcome, Failed)
        assert record.outcome.diverged
        assert "diverged in epoch 1" in record.outcome.reason


def test_divergence_in_the_last_step_of_an_epoch_is_divergence_too(make_study: MakeStudy, driver: Any) -> None:
    train = {"epochs": 3, "batch": 70, "optimizer": "sgd", "precision": "float32"}
    space = {**make_study().space, "lr": {"fixed": 1e30}}  # type: ignore[dict-item]
    (record,) = driver.sweep(make_study("search.trials=1", "search.max_failed_fraction=1", train=train, space=space))
    assert isinstance(record.outcome, Failed)
    assert record.outcome.diverged, record.outcome.reason


def test_losers_lose_their_weights_and_the_best_keep_them(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=6", "search.scheduler=none", "compare.finalists=4", "train.epochs=2")
    records = driver.sweep(study)
    ranked = sorted(records, key=lambda record: (-(record.val_accuracy or 0), record.number))
    kept = {path.parent.name for path in study.folder.glob("trials/*/weights-0.safetensors")}
    assert kept == {record.key for record in ranked[:4]}
    assert len(list(study.folder.glob("trials/*/confusion.npy"))) == 6


def test_each_loser_is_looked_for_once(make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    glob = Path.glob

    def count(path: Path, pattern: str) -> Any:
        if pattern.startswith("weights-"):
            searched.append(path.name)
        return glob(path, pattern)

    monkeypatch.setattr(Path, "glob", count)
    options = ("search.scheduler=none", "train.epochs=1")
    records = driver.sweep(make_study("search.trials=7", *options))
    ranked = [record.key for record in sorted(records, key=lambda item: (-(item.val_accuracy or 0), item.number))]
    assert sorted(searched) == sorted(ranked[3:])
    # A later run of the command looks once more, in case the first one was killed in between, and goes on alike.
    searched.clear()
    records = driver.sweep(make_study("search.trials=9", *options))
    ranked = [record.key for record in sorted(records, key=lambda item: (-(item.val_accuracy or 0), item.number))]
    assert sorted(searched) == sorted(ranked[3:])
    kept = {path.parent.name for path in glob(make_study().folder, "trials/*/weights-0.safetensors")}
    assert kept == set(ranked[:3])


def test_a_used_up_space_ends_the_sweep(make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.sampling.sampler.MAX_REJECTIONS", 40)
    study = make_study("search.trials=9", "search.sampler=grid", "train.epochs=1", fix={"lr": 0.01, "dropout": 0.0})
    with_watch: list[Sweep] = []
    records = driver.sweep(study, watch=with_watch.append)
    assert [(record.point["rnn"], record.point.get("nodes")) for record in records] == [
        ("none", None),
        ("gru", 4),
        ("gru", 8),
    ]
    assert with_watch[0].space_exhausted
    assert with_watch[0].finished


def test_enqueued_points_come_first(make_study: MakeStudy, driver: Any, gru: dict[str, Any]) -> None:
    point = {**gru, "nodes": 4, "dropout": 0.2}
    search = {"trials": 2, "enqueue": [point]}
    records = driver.sweep(make_study("train.epochs=1", search=search))
    assert records[0].point == {**point, "lr": 0.001}


def test_an_enqueued_point_outside_the_space_is_refused(
    make_study: MakeStudy, driver: Any, gru: dict[str, Any]
) -> None:
    search = {"trials": 2, "enqueue": [{**gru, "nodes": 5}]}
    with pytest.raises(InputError, match=r"search\.enqueue\.0 .*nodes: expected one of 4, 8, found 5"):
        driver.sweep(make_study(search=search))


def test_changed_data_are_refused_on_resuming(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], facts: Any
) -> None:
    def kill(sweep: Sweep) -> None:
        if sweep.records[0].curve:
            raise killed

    with pytest.raises(killed):
        driver.sweep(make_study(), watch=kill)
    with pytest.raises(InputError, match=r"trial 0 was started as .* the data or the program has changed"):
        driver.sweep(make_study(), facts=dataclasses.replace(facts, key="other"))


def test_a_node_with_other_data_is_refused(make_study: MakeStudy, driver: Any, facts: Any) -> None:
    with pytest.raises(InputError, match=r"data\.root: node .* has different digits data"):
        driver.sweep(make_study(), facts=dataclasses.replace(facts, key="other"))


def test_ctrl_c_says_that_everything_is_saved(make_study: MakeStudy, driver: Any) -> None:
    def interrupt(sweep: Sweep) -> None:
        if sum(len(record.curve) for record in sweep.records) == 2:
            raise KeyboardInterrupt

    study = make_study("search.scheduler=none", "search.trials=2")
    with pytest.raises(
        InterruptedStudyError, match=("everything is saved, run the same command again to continue")
    ) as caught:
        driver.sweep(study, watch=interrupt)
    assert caught.value.exit_code == 130
    assert [record.outcome for record in driver.sweep(study)] == [Completed(), Completed()]


def test_a_fault_of_the_driver_is_not_the_trials(make_study: MakeStudy, driver: Any) -> None:
    def full_disk(sweep: Sweep) -> None:
        if sweep.records[0].curve:
            raise OSError("no space left")

    study = make_study()
    with pytest.raises(OSError, match="no space left"):
        driver.sweep(study, watch=full_disk)
    assert next(iter(read_records(study.folder).values())).outcome is None


def test_the_journal_is_written_first(make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.sampling.sampler import Sampler

    study = make_study("search.trials=2", "train.epochs=1")
    original = Sampler.tell
    seen = []

    def tell(self: Sampler, number: int, *args: Any) -> None:
        events = [event for event in read_events(study.folder / FILE_NAME) if event["event"] == "end"]
        seen.append(len(events))
        original(self, number, *args)

    monkeypatch.setattr(Sampler, "tell", tell)
    driver.sweep(study)
    assert seen == [1, 2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_anything_begins(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("resources.gpus=0.5")
    with pytest.raises(ResourceError, match=r"resources\.gpus: 0\.5 requested, but this machine has none; set it to 0"):
        driver.sweep(study)
    assert read_records(study.folder) == {}


def test_two_sweeps_never_write_at_once(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("search.trials=1")

    def second(_: Sweep) -> None:
        with pytest.raises(InputError, match="is working on this study"):
            Journal(study.folder)

    assert len(driver.sweep(study, watch=second)) == 1


def test_the_runner_gives_the_threads_back(make_study: MakeStudy, driver: Any) -> None:
    torch.set_num_threads(2)
    seen: list[int] = []
    driver.sweep(make_study("search.trials=1"), watch=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


def test_points_that_are_no_models_are_never_trials(make_study: MakeStudy, driver: Any) -> None:
    # Behind the wavelet filter 8x8 images have room for two poolings: for up to five convolutions out of eight.
    fix = {"family": "hybrid", "wavelet": "haar_ll", "backbone": "plain", "rnn": "none", "batch": 16}
    study = make_study("search.trials=6", "train.epochs=1", "search.scheduler=none", space="union", fix=fix)
    seen: list[dict[str, int]] = []
    records = driver.sweep(study, watch=lambda sweep: seen.append(dict(sweep.rejected)))
    assert [type(record.outcome) for record in records] == [Completed] * 6
    check_whole(study, records)
    assert sum(seen[-1].values()) > 1
    assert all(why.startswith("backbone: expected images of at least ") for why in seen[-1])
    rejected = [
        trial for trial in all_optuna_trials(study) if trial.user_attrs.get("rejected", "").startswith("backbone")
    ]
    assert Counter(trial.user_attrs["rejected"] for trial in rejected) == seen[-1]
    assert {trial.state.name for trial in rejected} == {"FAIL"}


@pytest.mark.parametrize("ended", [False, True], ids=["while it runs", "before Optuna heard of its end"])
def test_the_twin_of_a_trial_hears_of_its_end_after_a_kill(
    make_study: MakeStudy,
    driver: Any,
    facts: Any,
    cnn: dict[str, Any],
    make_epoch: Callable[..., EpochMetrics],
    killed: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    ended: bool,
) -> None:
    """Two points that are one training: the second one has no trial of its own that would be begun again."""
    monkeypatch.setattr("search.training.config.cpu_has_bfloat16", lambda: False)
    space = {**cnn, "dropout": [0.0, 0.2], "precision": ["float32", "auto"], "lr": {"fixed": 0.01}}
    study = make_study("train.epochs=1", space=space, search={"trials": 2, "sampler": "grid", "scheduler": "none"})
    with Journal(claim_folder(study)) as journal, monkeypatch.context() as patch:
        sweep = Sweep(study=study, facts=facts, journal=journal)
        original, other = sweep.next(), sweep.next()
        assert original is not None
        assert other is not None
        assert (original.spec.number, other.spec.number) == (0, 2)
        if ended:
            patch.setattr("search.sampling.sampler.Sampler.tell", mock.Mock(side_effect=killed))
            end = Progress(metrics=make_epoch(1, 0.5), result=TrialResult(test_accuracy=None))
            with pytest.raises(killed):
                sweep.report(original.spec.key, end, "node")
    assert [trial.state.name for trial in all_optuna_trials(study)] == (
        ["COMPLETE"] * 2 if ended else ["RUNNING"] * 2
    ) + ["RUNNING"]
    records = driver.sweep(study)
    assert [record.outcome for record in records] == [Completed()] * 2
    first, twin, _ = all_optuna_trials(study)
    assert (twin.state.name, twin.value) == ("COMPLETE", first.value)
    assert twin.user_attrs["twin"] == records[0].key
    assert check(study).differences == ()
