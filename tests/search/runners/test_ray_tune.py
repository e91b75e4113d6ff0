from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search.commands.control import write
from search.errors import InputError, InterruptedStudyError, ResourceError
from search.journal.commands import Command
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_events, read_records
from search.records import Completed, Failed, Stopped, TrialRecord
from search.runners.node_check import needs_of
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.sweep.sweep import Sweep

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]


def test_ray_and_inline_give_the_same_records(
    make_study: Callable[..., StudyConfig], driver: Any, facts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.runners import ray_tune

    options = ("search.sampler=random", "search.scheduler=none", "train.epochs=2")
    inline = driver.sweep(make_study(*options, "search.trials=2", name="inline"))
    study = make_study(*options, "search.trials=2", name="ray", resources={"cpus": 1, "concurrency": 2})
    with ray_tune.cluster(study.resources) as there:
        # What no node can ever meet is refused, with the numbers.
        for wish, words in {
            ("gpus", 1): r"resources\.gpus: a trial requests 1, but no node has more than 0 \(1 node\); lower",
            ("cpus", 500): r"resources\.cpus: a trial requests 500, but no node has more than [0-9.]+ \(1 node\)",
        }.items():
            greedy = make_study(name="greedy", resources=dict([wish]))
            with pytest.raises(ResourceError, match=words), ray_tune.cluster(greedy.resources):
                pass
        with Journal(claim_folder(study)) as journal:
            sweep = Sweep(study=study, facts=facts, journal=journal)
            ray_tune.run(sweep, there, needs_of(study, facts))
        results = read_records(study.folder)
        # Running it again trains nothing and waits for nothing.
        with Journal(claim_folder(study)) as journal:
            ray_tune.run(Sweep(study=study, facts=facts, journal=journal), there, needs_of(study, facts))
            assert journal.records == results

    def told(record: TrialRecord) -> tuple[Any, ...]:
        curve = [(item.train_loss, item.val_loss, item.val_accuracy) for item in record.curve]
        return record.key, record.number, dict(record.point), record.outcome, curve

    assert sorted(map(told, results.values()), key=str) == sorted(map(told, inline), key=str)
    assert all(record.outcome == Completed() for record in results.values())
    assert all("/" in record.node for record in results.values())
    assert {record.machine["threads"] for record in results.values()} == {1}
    weights = sorted(path.parent.name for path in study.folder.glob("trials/*/weights-0.safetensors"))
    assert weights == sorted(results)
    assert not list(study.folder.glob("trials/*/checkpoint.pt"))
    assert not (study.folder / "ray").exists()


@pytest.mark.slow
def test_paused_trials_are_resumed_by_any_worker_bit_for_bit(
    make_study: Callable[..., StudyConfig], driver: Any, facts: Any
) -> None:
    from search.runners import ray_tune

    options = ("search.sampler=random", "search.trials=6", "train.epochs=4")
    whole = driver.sweep(make_study(*options, "search.scheduler=none", name="whole"))
    study = make_study(*options, "search.scheduler=asha-promote", name="ray", resources={"cpus": 0.5, "concurrency": 3})
    with ray_tune.cluster(study.resources) as there, Journal(claim_folder(study)) as journal:
        sweep = Sweep(study=study, facts=facts, journal=journal)
        ray_tune.run(sweep, there, needs_of(study, facts))
        assert sweep.finished
    events = [event["event"] for event in read_events(study.folder / FILE_NAME)]
    assert events.count("pause") > events.count("resume") >= 3 + 1
    curves = {record.key: [item.val_loss for item in record.curve] for record in whole}
    records = read_records(study.folder)
    assert records.keys() == curves.keys()
    for key, record in records.items():
        assert [item.val_loss for item in record.curve] == curves[key][: len(record.curve)]
        assert record.outcome == (Completed() if len(record.curve) == 4 else Stopped(epoch=len(record.curve)))
    assert Completed() in [record.outcome for record in records.values()]
    assert not list(study.folder.glob("trials/*/checkpoint.pt"))


@pytest.mark.slow
def test_what_a_trial_ends_in_elsewhere_is_told_here(make_study: Callable[..., StudyConfig], facts: Any) -> None:
    from search.runners import ray_tune

    with ray_tune.cluster(make_study(resources={"cpus": 1}).resources) as there:
        # Divergence is the trial's outcome, in Ray as inline.
        recipe = {"epochs": 2, "batch": 16, "optimizer": "sgd", "precision": "float32"}
        space = {**make_study().space, "lr": {"fixed": 1e30}}  # type: ignore[dict-item]
        limits = ("search.max_failed_fraction=1", "search.trials=1")
        wild = make_study(*limits, name="wild", train=recipe, space=space, resources={"cpus": 1})
        with Journal(claim_folder(wild)) as journal:
            ray_tune.run(Sweep(study=wild, facts=facts, journal=journal), there, needs_of(wild, facts))
            (diverged,) = journal.records.values()
        # A wrong data set is the input's fault: the run ends in words, and no trial counts as failed.
        other = make_study("search.trials=1", name="other", resources={"cpus": 1, "max_failures": 3})
        with Journal(claim_folder(other)) as journal:
            sweep = Sweep(study=other, facts=dataclasses.replace(facts, key="other"), journal=journal)
            with pytest.raises(InputError, match="has different digits data"):
                ray_tune.run(sweep, there, needs_of(other, facts))
            (waiting,) = journal.records.values()
    assert waiting.outcome is None
    assert isinstance(diverged.outcome, Failed)
    assert (diverged.outcome.diverged, diverged.outcome.epoch) == (True, 1)


def _endless(assignment: Any, device: str) -> Iterator[None]:
    """A training in its first epoch for ever, which notes that it was closed."""
    folder = Path(assignment.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "begun").touch()
    try:
        while True:
            time.sleep(0.05)
            yield None
    except GeneratorExit:
        time.sleep(1.0)  # a checkpoint takes its time
        (folder / "saved").touch()
        raise


@pytest.mark.slow
@pytest.mark.parametrize("why", ["interrupt", "time budget"])
def test_what_is_cut_off_has_saved_itself_when_the_run_ends(
    make_study: Callable[..., StudyConfig], facts: Any, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    from ray import cloudpickle

    from search.runners import ray_tune

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_tune, "run_assignment", _endless)
    # A CPU each, and one more that finds no room.
    study = make_study("search.trials=5", name="cut", resources={"cpus": max(1, (os.cpu_count() or 2) // 2)})
    with ray_tune.cluster(study.resources) as there, Journal(claim_folder(study)) as journal:
        sweep = Sweep(study=study, facts=facts, journal=journal)
        monkeypatch.setattr(there, "limit", lambda: 3)

        def cut_off() -> None:
            while len(list(study.folder.glob("trials/*/begun"))) < 2:
                time.sleep(0.1)
            if why == "interrupt":
                sweep.interrupt("SIGTERM")
            else:
                sweep._deadline = 0.0
            began.append(time.monotonic())

        began: list[float] = []
        threading.Thread(target=cut_off).start()
        if why == "interrupt":
            with pytest.raises(InterruptedStudyError, match="interrupted by SIGTERM; everything is saved"):
                ray_tune.run(sweep, there, needs_of(study, facts))
        else:
            ray_tune.run(sweep, there, needs_of(study, facts))
        elapsed_secs = time.monotonic() - began[0]
        assert len(journal.records) == 3
        assert all(record.outcome is None for record in journal.records.values()), "they go on next time"
    begun, saved = (sorted(path.parent.name for path in study.folder.glob(f"trials/*/{n}")) for n in ("begun", "saved"))
    assert len(begun) == 2
    assert saved == begun
    assert elapsed_secs < 30


@pytest.mark.slow
def test_commands_reach_a_sweep_in_which_nothing_happens(
    make_study: Callable[..., StudyConfig], facts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread stops, adds and enqueues trials, while the running ones stay in their first epoch."""
    from ray import cloudpickle

    from search.runners import ray_tune

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_tune, "run_assignment", _endless)
    study = make_study("search.trials=2", name="told", resources={"cpus": max(1, (os.cpu_count() or 2) // 2)})
    point = {"rnn": "none", "dropout": 0.0, "lr": 0.007}

    def begun() -> int:
        return len(list(study.folder.glob("trials/*/begun")))

    def wait_for(holds: Callable[[], bool]) -> None:
        until = time.monotonic() + 90
        while not holds() and time.monotonic() < until:
            time.sleep(0.1)

    def keys() -> list[str]:
        return list(read_records(study.folder))

    def outcomes() -> list[Any]:
        return [record.outcome for record in read_records(study.folder).values()]

    def act() -> None:
        wait_for(lambda: begun() >= 2)
        for command in (
            Command(verb="extend", trials=1, at=1.0),
            Command(verb="enqueue", point=point, at=2.0),
            Command(verb="stop", trial=0, at=3.0),
        ):
            write(study.location, command)
        wait_for(
            lambda: len(outcomes()) == 3 and (study.folder / "trials" / list(read_records(study.folder))[2]).exists()
        )
        for number in (1, 2):
            write(study.location, Command(verb="stop", trial=number))

    with ray_tune.cluster(study.resources) as there, Journal(claim_folder(study)) as journal:
        sweep = Sweep(study=study, facts=facts, journal=journal)
        thread = threading.Thread(target=act)
        thread.start()
        ray_tune.run(sweep, there, needs_of(study, facts))
        thread.join()
        assert sweep.finished
    assert outcomes() == [Stopped(epoch=0, by_hand=True)] * 3
    assert dict(list(read_records(study.folder).values())[2].point)["lr"] == 0.007
    assert not list((study.folder / "commands").iterdir())


@pytest.mark.slow
def test_a_pause_reaches_a_sweep_in_which_nothing_happens(
    make_study: Callable[..., StudyConfig], facts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import cloudpickle

    from search.runners import ray_tune

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_tune, "run_assignment", _endless)
    study = make_study("search.trials=1", name="paused", resources={"cpus": 1})

    def act() -> None:
        while not list(study.folder.glob("trials/*/begun")):
            time.sleep(0.1)
        write(study.location, Command(verb="pause"))

    with ray_tune.cluster(study.resources) as there, Journal(claim_folder(study)) as journal:
        sweep = Sweep(study=study, facts=facts, journal=journal)
        thread = threading.Thread(target=act)
        thread.start()
        with pytest.raises(InterruptedStudyError, match="interrupted by `hybrid-search pause`; everything is saved"):
            ray_tune.run(sweep, there, needs_of(study, facts))
        thread.join()
    (record,) = read_records(study.folder).values()
    assert record.outcome is None
    assert list(study.folder.glob("trials/*/saved"))
