"""SIGTERM, Ctrl-C and the time budget: what runs is saved where it is, and the same command goes on from there."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from search.cli.app import main
from search.compare.run import run_compare
from search.errors import (
    EXIT_INTERRUPTED,
    HybridSearchError,
    InterruptedStudyError,
    JournalError,
    TooManyFailuresError,
)
from search.journal.reading import read_events, read_records
from search.records import Completed
from search.runners.dispatcher import Dispatcher
from search.runners.interruption import interruptible
from search.runners.session import open_session
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.sweep.run import run_sweep
from search.training import ticks
from search.training.files import MIDDLE_NAME
from search.training.learner import Learner

pytestmark = pytest.mark.usefixtures("copied_here", "undrawn")

MakeStudy = Callable[..., StudyConfig]
OPTIONS = ("search.trials=2", "search.scheduler=none", "train.epochs=2")


class SomeWork:
    """Notes who interrupts it."""

    def __init__(self) -> None:
        self.why: list[str] = []

    def interrupt(self, why: str) -> None:
        self.why.append(why)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs between two instructions


@pytest.mark.parametrize(("number", "word"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_the_first_signal_asks_and_the_second_one_ends(
    number: int, word: str, make_study: MakeStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    work: Any = SomeWork()
    reached: list[str] = []

    def run(given: Any, resources: object) -> None:
        send(number)
        reached.append("after the first")
        send(signal.SIGTERM)
        reached.append("after the second")

    before = [signal.getsignal(item) for item in (signal.SIGINT, signal.SIGTERM)]
    with interruptible() as interruption:
        signal.signal(number, signal.SIG_IGN)  # as Ray does while it starts
        with pytest.raises(KeyboardInterrupt):
            interruption.carry_out(work, run, make_study().resources)
    assert work.why == [word]
    assert reached == ["after the first"]
    assert [signal.getsignal(item) for item in (signal.SIGINT, signal.SIGTERM)] == before
    assert capfd.readouterr().err.strip() == f"{word}: saving the running trials; interrupt again to end at once"


def test_with_no_work_in_hand_the_first_signal_ends() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        send(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_has_nothing_in_hand_yet_ends_with_one_line(
    number: int, study_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study_data, sort_keys=False))
    monkeypatch.setattr(sys, "argv", ["hybrid-search", "sweep", str(file)])
    monkeypatch.setattr("search.runners.checks.open_data", lambda *_, **__: send(number))
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr().err == (
        "error: interrupted; finished work is saved, run the same command again to continue\n"
    )


def test_a_thread_leaves_the_signals_alone() -> None:
    done: list[bool] = []

    def enter() -> None:
        with interruptible():
            done.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert done


def signal_at(patch: pytest.MonkeyPatch, num_ticks: int) -> None:
    """SIGTERM after so many ticks."""
    original = Dispatcher.tick
    count = itertools.count(1)

    def tick(self: Dispatcher, key: str) -> bool:
        if next(count) == num_ticks:
            send(signal.SIGTERM)
        return original(self, key)

    patch.setattr(ticks, "TICK_SECS", 0.0)
    patch.setattr(Dispatcher, "tick", tick)


def steps_of(patch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(epoch, step) of every step that is taken from here on."""
    steps: list[tuple[int, int]] = []
    original = Learner._descend

    def counted(self: Learner, images: Any, labels: Any, part: Any) -> None:
        steps.append((part.epoch, part.step))
        original(self, images, labels, part)

    patch.setattr(Learner, "_descend", counted)
    return steps


def told(study: StudyConfig) -> list[tuple[Any, ...]]:
    return [
        (record.key, record.outcome, [(item.train_loss, item.val_loss, item.val_accuracy) for item in record.curve])
        for record in read_records(study.folder).values()
    ]


def weights(study: StudyConfig) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in study.folder.glob("trials/*/weights-0.safetensors")}


def test_an_interrupted_sweep_goes_on_at_the_next_step(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    calm, study = make_study(*OPTIONS, name="calm"), make_study(*OPTIONS, name="interrupted")
    steps = steps_of(monkeypatch)
    run_sweep(calm)
    calm_steps = list(steps)
    steps.clear()
    for num_ticks in (3, 4):
        with monkeypatch.context() as patch:
            signal_at(patch, num_ticks)
            with pytest.raises(InterruptedStudyError, match="interrupted by SIGTERM; everything is saved") as caught:
                run_sweep(study)
        assert caught.value.exit_code == EXIT_INTERRUPTED == 130
        (record,) = read_records(study.folder).values()
        assert record.outcome is None
        assert [path.parent.name for path in study.folder.glob(f"trials/*/{MIDDLE_NAME}")] == [record.key]
    run_sweep(study)
    assert steps == calm_steps
    # The seed and the name of a study are all that its trials depend on, and the name only through Optuna.
    assert told(study) == told(calm)
    assert weights(study) == weights(calm)
    assert not list(study.folder.glob("trials/*/checkpoint*"))


def test_an_interrupted_comparison_goes_on_too(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    compare = {"finalists": 1, "baselines": ["ecrnn/cnn"], "repeats": 2}
    study = make_study("search.trials=1", "train.epochs=1", compare=compare)
    run_sweep(study)
    with monkeypatch.context() as patch:
        signal_at(patch, 2)
        with pytest.raises(InterruptedStudyError):
            run_compare(study)
    document = run_compare(study)
    repeats = [record for record in read_records(study.folder).values() if record.kind == "repeat"]
    assert [record.outcome for record in repeats] == [Completed()] * 4
    assert sum(record.resumed for record in repeats) == 1
    assert len(document.comparisons) == 1


def closed_trackers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each tracker was given at its end, from now on; none of them sends everything."""
    patiences: list[float] = []

    class Tracker:
        backlog = "MLflow has a backlog"

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def close(self, patience: float) -> bool:
            patiences.append(patience)
            return False

    monkeypatch.setattr("search.runners.session.FollowerProcess", Tracker)
    return patiences


def test_interrupted_mlflow_is_waited_for_shortly(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    patiences = closed_trackers(monkeypatch)
    study = make_study(*OPTIONS, tracking={"enabled": True})
    with monkeypatch.context() as patch:
        signal_at(patch, 1)
        with pytest.raises(InterruptedStudyError):
            run_sweep(study, patience=120.0)
    run_sweep(study, patience=120.0)
    assert patiences == [2.0, 120.0]
    assert [event["event"] for event in read_events(study.folder / "journal.jsonl")].count("stop") == 2


@pytest.mark.parametrize("ends", [InterruptedStudyError("told to end"), TooManyFailuresError("3 of 3"), None])
def test_a_journal_that_takes_no_last_line_hides_no_other_end(
    ends: HybridSearchError | None, make_study: MakeStudy, facts: DataFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: whoever asks is told how the study ended, and MLflow gets what there is."""
    closed = closed_trackers(monkeypatch)
    full = JournalError("journal.jsonl: cannot be written (No space left on device)")
    study = make_study(tracking={"enabled": True})

    def run() -> None:
        with open_session(study, facts, "sweep", 120.0) as journal:
            monkeypatch.setattr(journal, "note", mock.Mock(side_effect=full))
            if ends is not None:
                raise ends

    with pytest.raises(type(ends or full)) as caught:
        run()
    assert caught.value is (ends or full)
    assert closed == [2.0 if isinstance(ends, InterruptedStudyError) else 120.0]


def test_the_time_budget_ends_a_trial_in_the_middle_of_an_epoch(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, study = make_study(*OPTIONS, name="calm"), make_study(*OPTIONS, "search.time_budget_mins=1", name="budget")
    steps = steps_of(monkeypatch)
    run_sweep(calm)
    calm_steps = list(steps)
    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(ticks, "TICK_SECS", 0.0)
        patch.setattr(Dispatcher, "out_of_time", property(lambda _: len(steps) >= 3))
        run_sweep(study)
    assert "the time budget is used up; run the same command again to continue" in capsys.readouterr().err
    assert len(steps) == 3
    run_sweep(study)
    assert steps == calm_steps
    assert told(study) == told(calm)


def num_starts(folder: Path) -> int:
    return sum(event["event"] in {"begin", "resume"} for event in read_events(folder / "journal.jsonl"))


@pytest.mark.slow
def test_the_command_ends_politely(tmp_path: Path) -> None:
    """Real signals, real seconds: epochs that are longer than anybody waits."""
    content = {
        "name": "long",
        "storage": str(tmp_path / "runs"),
        "data": {"name": "digits"},
        "space": "ecrnn",
        "fix": {"layout": "flat_scalar", "rnn": "lstm", "depth": 1},
        "train": {"epochs": 20, "batch": 2},
        "search": {"trials": 1, "scheduler": "none"},
        "resources": {"runner": "inline"},
        "tracking": {"enabled": False},
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content))
    folder = tmp_path / "runs" / "long"
    for number in (signal.SIGTERM, signal.SIGINT):
        before = num_starts(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "search.cli", "sweep", str(file)], stderr=subprocess.PIPE, text=True
        )
        try:
            until = time.monotonic() + 120
            while num_starts(folder) == before:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
            time.sleep(3)
            process.send_signal(number)
            signalled_at = time.time()
            _, said = process.communicate(timeout=60)
            took = time.time() - signalled_at
        finally:
            process.kill()
        assert process.returncode == 130
        assert said.count("error: ") == 1
        assert "everything is saved, run the same command again to continue" in said
        assert "Traceback" not in said
        (saved,) = folder.glob(f"trials/*/{MIDDLE_NAME}")
        assert saved.stat().st_mtime > signalled_at - 1
        assert took < 10
    ended = subprocess.run(
        [sys.executable, "-m", "search.cli", "sweep", str(file), "--time-budget", "0.05"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "the time budget is used up; run the same command again to continue" in ended.stderr
    (record,) = read_records(folder).values()
    assert (record.outcome, record.resumed) == (None, 2)
