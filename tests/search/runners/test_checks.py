"""What plan, sweep and compare check before anything is made."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.commands import plan
from search.compare import run as decide
from search.console import messages as lines
from search.errors import InputError, NothingToDoError, StudyError, TrackingError
from search.runners import checks
from search.runners.checks import IGNORED, check_study
from search.study.config import StudyConfig
from search.sweep import run as drive

MakeStudy = Callable[..., StudyConfig]
QUIET = ("compare.baselines=[ecrnn/cnn]", "compare.repeats=5")
"""With these the small study has nothing odd about it."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell that runs the tests, and no warning printed before."""
    for name in IGNORED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(lines, "_warned", set())


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_study_with_nothing_odd_has_no_warning(
    make_study: MakeStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert check_study(make_study(*QUIET), "plan").warnings == ()
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "runs").exists()


ODD: dict[str, tuple[tuple[str, ...], str]] = {
    "grid smaller than trials": (
        ("space.lr=0.001", "search={trials: 9, sampler: grid}"),
        "search.trials: 9, but the grid has 6 points; the sweep ends after the last one",
    ),
    "space smaller than trials": (("space.lr=0.001", "search.trials=9"), "but the space has 6 points"),
    "more finalists than trials": (("compare.finalists=7",), "search.trials 6 can nominate 6"),
    "more finalists than points": (
        ("space.lr=0.001", "space.nodes=8", "space.rnn=gru", "space.dropout=0.1", "compare.finalists=2"),
        "compare.finalists: 2 are declared, but the space has only 1 point",
    ),
    "nothing to compare with": (
        ("compare.baselines=[]",),
        ("compare: one finalist and no other configuration to compare it with"),
    ),
    "repeats that decide nothing": (("compare.repeats=2",), "compare.repeats: 2 cannot lead to a verdict"),
    "a bound that no step ends on": (
        ("space.nodes={int: [4, 8], step: 3, when: {rnn: gru}}",),
        "space.nodes: {int: [4, 8], step: 3} has the values 4, 7; 8 is never drawn",
    ),
    "train beside space": (
        ("train.lr=0.01", "compare.baselines=[]", "compare.finalists=2"),
        "train.lr: has no effect, because space.lr",
    ),
    "train beside fix": (
        ("train.lr=0.001", "fix.lr=0.002", "compare.baselines=[]", "compare.finalists=2"),
        "because fix.lr sets the value of every trial",
    ),
    "model beside space": (
        ("model.dropout=0.5",),
        "model.dropout: has no effect, because space.dropout sets the value of every trial",
    ),
    "no rung below the last epoch": (
        ("search.grace_epochs=3",),
        "asha stops no trial, because search.grace_epochs 3 is not below train.epochs 3",
    ),
    "tpe that never learns": (("search.sampler=tpe", "search.startup_trials=6"), "every point is random"),
    "reduction without asha": (("search.scheduler=none",), "search.reduction: has no effect with search.scheduler"),
    "momentum without sgd": (("train.momentum=0.5",), "train.momentum: has no effect with train.optimizer adam"),
    "address without ray": (("resources.address=auto",), "resources.address: has no effect with resources.runner"),
    "uri without tracking": (("tracking.uri=http://x",), "tracking.uri: has no effect with tracking.enabled false"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_a_warning(make_study: MakeStudy, capsys: pytest.CaptureFixture[str], case: str) -> None:
    overrides, words = ODD[case]
    found = check_study(make_study(*QUIET, *overrides), "plan").warnings
    assert any(words in line for line in found), found
    printed = capsys.readouterr().err.splitlines()
    assert printed == [f"warning: {line}" for line in dict.fromkeys(found)]


def test_enqueued_points_that_are_not_trained_are_named(make_study: MakeStudy, gru: dict[str, Any]) -> None:
    points = [{**gru, "dropout": 0.0, "lr": lr} for lr in (0.001, 0.001, 0.002, 0.003)]
    study = make_study(*QUIET, search={"trials": 2, "enqueue": points})
    found = check_study(study, "sweep").warnings
    assert "search.enqueue.1: the same point as search.enqueue.0; it is trained once" in found
    assert "search.enqueue: 3 different points, but search.trials is 2; the last 1 will not be trained" in found


WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "more cpus than there are": (
        ("resources={runner: ray, cpus: 4096}",),
        ("resources.cpus: a trial requests 4096, but this machine has",),
    ),
    "a dead cluster": (
        ("resources={runner: ray, address: '127.0.0.1:PORT'}",),
        ("resources.address: no Ray cluster at 127.0.0.1:",),
    ),
    "a dead server": (("tracking={enabled: true, uri: 'http://127.0.0.1:PORT'}",), ("connection refused",)),
    "a dead database": (
        ("search.database=postgresql://u@127.0.0.1:PORT/x",),
        ("search.database: cannot be opened (", "Connection refused"),
    ),
    "no folder for a database": (
        (("search.database=sqlite:////no/where/x.db"),),
        ("/no/where is not a writable folder",),
    ),
    "the same baseline twice": (
        ("compare.baselines=[ecrnn/cnn, ecrnn/cnn]",),
        ("compare.baselines.1: the same point as compare.baselines.0; remove one of them",),
    ),
    "more images than there are": (("train.batch=5000",), ("train.batch: expected at most the 70 images",)),
    "no point is a model": (
        ("space.rnn=none", "space.pool_head=flatten", "space.patch=3", "compare.baselines=[]", "compare.finalists=2"),
        ("space: no valid model among",),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_by_plan_and_sweep_before_anything_is_made(
    make_study: MakeStudy, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.draws.SEARCH_SECS", 0.0)
    overrides, words = WRONG[case]
    port = str(closed_port())
    study = make_study(*QUIET, *(item.replace("PORT", port) for item in overrides))
    for make in (plan.make_plan, drive.run_sweep):
        with pytest.raises(InputError) as caught:
            make(study)
        assert caught.value.exit_code == 2
        for word in words:
            assert any(word in fault for fault in caught.value.faults), caught.value.faults
    assert not (tmp_path / "runs").exists()


def test_all_faults_come_at_once_and_warnings_only_without_faults(
    make_study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    port = closed_port()
    study = make_study(
        "resources={runner: ray, cpus: 4096}",
        f"tracking={{enabled: true, uri: 'http://127.0.0.1:{port}'}}",
        "search.database=sqlite:////no/where/x.db",
        "train.batch=5000",
        "compare.repeats=2",
    )
    with pytest.raises(InputError) as caught:
        check_study(study, "plan")
    begun = ("resources.cpus: ", f"http://127.0.0.1:{port}: ", "search.database: ", "train.batch: ")
    assert len(caught.value.faults) == len(begun)
    assert all(fault.startswith(start) for fault, start in zip(caught.value.faults, begun, strict=True))
    assert capsys.readouterr().err == ""


def test_a_single_fault_keeps_its_kind(make_study: MakeStudy) -> None:
    study = make_study(*QUIET, f"tracking={{enabled: true, uri: 'http://127.0.0.1:{closed_port()}'}}")
    with pytest.raises(TrackingError):
        check_study(study, "sweep")


def test_a_garbled_database_is_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StudyError, match=r"search.database: cannot be opened .*file is not a database"):
        check_study(make_study(f"search.database=sqlite:///{tmp_path}/x.db"), "plan")
    check_study(make_study(f"search.database=sqlite:///{tmp_path}/new.db"), "plan")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "head", "head:", "head:port"])
def test_an_address_that_ray_cannot_read_is_named_so(make_study: MakeStudy, address: str) -> None:
    with pytest.raises(InputError) as caught:
        check_study(make_study(*QUIET, f"resources={{runner: ray, address: '{address}'}}"), "plan")
    words = f"resources.address: expected host:port, such as 10.0.0.1:6379, or auto, found {address!r}"
    assert caught.value.faults == (words,)


def test_a_database_that_is_no_url_is_named_so(make_study: MakeStudy) -> None:
    with pytest.raises(StudyError) as caught:
        check_study(make_study(*QUIET, "search.database=optuna.db"), "plan")
    assert caught.value.faults == ("search.database: expected a URL, such as sqlite:////home/me/optuna.db",)


def test_a_comparison_without_a_second_configuration_is_refused_first(make_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="one finalist and no other configuration to compare it with"):
        decide.run_compare(make_study())
    assert not (tmp_path / "runs").exists()


def test_variables_that_are_ignored_are_named_in_one_line(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    for _ in range(2):
        check_study(make_study(*QUIET), "sweep")
    words = "warning: MLFLOW_TRACKING_URI and RAY_ADDRESS are set in the environment and ignored; use"
    assert capsys.readouterr().err.splitlines() == [f"{words} tracking.uri and resources.address"]
    monkeypatch.delenv("RAY_ADDRESS")
    study = make_study(*QUIET, "tracking.uri=${MLFLOW_TRACKING_URI}")
    assert not any("ignored" in line for line in check_study(study, "sweep").warnings)


def test_little_room_is_a_warning(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 2**20))
    (line,) = check_study(make_study(*QUIET), "sweep").warnings
    assert "only 1 MiB are free in" in line


def test_threads_beyond_the_cpus_of_the_inline_runner_are_a_warning(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (line,) = check_study(make_study(*QUIET, "resources.cpus=3"), "sweep").warnings
    assert line == "resources.cpus: 3 threads per trial, but this machine has 2 CPUs"


def test_gpus_that_are_hidden_are_named_so(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match=r"this machine has none visible, as CUDA_VISIBLE_DEVICES is ''"):
        check_study(make_study("resources.gpus=1"), "plan")


def test_an_interrupt_ends_the_checks(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "CHECKS", (interrupt,))
    with pytest.raises(KeyboardInterrupt):
        check_study(make_study(), "plan")
