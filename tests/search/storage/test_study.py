"""Whole studies whose storage is a URI: a folder's, for speed; S3 itself is in test_lost_machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from search.commands.check import check
from search.compare import run as decide
from search.compare.repeats import load_correct
from search.errors import NothingToDoError, StorageFaultError, StoreAwayError, StoreError, StudyError
from search.export.pick import pick_winner
from search.journal.comparison_file import load_comparison
from search.journal.earlier import earlier_in
from search.journal.journal import Journal
from search.journal.reading import read_history, read_records
from search.records import TrialRecord
from search.report import overview, write
from search.storage.lease import Lease
from search.storage.remote_copy import copy_of
from search.storage.store import Store
from search.storage.working_copy import fetch, refresh
from search.study.bind import load_facts
from search.study.config import StudyConfig, to_dict
from search.study.folder import check_folder, make_folder
from search.study.learning import take_earlier
from search.study.load import find_study, load_study
from search.sweep import run as drive

MakeStudy = Callable[..., StudyConfig]
pytestmark = pytest.mark.usefixtures("hasty", "copied_here", "undrawn")

OPTIONS = ("search.trials=5", "search.sampler=random", "search.scheduler=none", "train.epochs=2", "data.limit=60")


@pytest.fixture
def study(make_study: MakeStudy, folder_uri: str, monkeypatch: pytest.MonkeyPatch) -> StudyConfig:
    monkeypatch.setattr(drive, "TRACKER_PATIENCE_SECS", 1.0)
    return make_study(*OPTIONS, storage=folder_uri)


def summary(records: dict[str, TrialRecord]) -> list[tuple[Any, ...]]:
    return [
        (key, record.number, record.outcome, [epoch.val_accuracy for epoch in record.curve], dict(record.artifacts))
        for key, record in records.items()
    ]


def on_store(study: StudyConfig) -> set[str]:
    assert study.location.uri is not None
    return set(Store(study.location.uri).list())


def test_a_sweep_on_a_store_is_that_in_a_folder(study: StudyConfig, make_study: MakeStudy) -> None:
    local = make_study(*OPTIONS)
    drive.run_sweep(local)
    drive.run_sweep(study)
    assert summary(read_records(study.folder)) == summary(read_records(local.folder))
    trials = {name for name in on_store(study) if name.startswith("trials/")}
    kept = {path.relative_to(local.folder).as_posix() for path in local.folder.glob("trials/*/*")}
    assert trials == kept, "the best weights, small arrays, no checkpoint"
    assert not list(study.folder.glob("trials/*/weights*")), "brought when somebody asks for them"
    assert "study.yaml" in on_store(study)
    assert "driver.json" not in on_store(study)


def test_a_new_machine_finds_the_study_by_its_uri_its_file_and_its_copy(
    study: StudyConfig, state: Path, tmp_path: Path
) -> None:
    with pytest.raises(NothingToDoError, match=r"file://.*/store/tiny: no study here yet"):
        find_study(str(study.location.uri))
    drive.run_sweep(study)
    before = overview.make_overview(study)
    assert before.folder == f"{study.storage}/tiny"
    shutil.rmtree(state)
    found = find_study(str(study.location.uri))
    assert found.location == study.location
    assert overview.make_overview(found) == before
    again = find_study(study.folder)
    assert again.location == study.location, "a working copy is still the study on the store"
    shutil.copytree(study.folder, tmp_path / "taken" / "tiny")
    assert find_study(tmp_path / "taken" / "tiny").location.uri is None
    winner = pick_winner(found)
    assert fetch(found.location, winner.record.artifacts["weights-0"]) is not None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_is_that_of_the_machine_that_began_it(
    study: StudyConfig, make_study: MakeStudy, precision: str
) -> None:
    began = to_dict(study) | {"train": to_dict(study)["train"] | {"precision": precision}}
    Store(str(study.location.uri)).write("study.yaml", yaml.safe_dump(began).encode())
    assert make_study(*OPTIONS, "train.precision=auto", storage=study.storage).train.precision == precision


@pytest.mark.slow
def test_a_comparison_elsewhere_goes_on_with_the_sweeps_results(
    study: StudyConfig, state: Path, count_epochs: list[tuple[str, int]]
) -> None:
    drive.run_sweep(study)
    num_swept = len(count_epochs)
    shutil.rmtree(state)
    study = study.model_copy(
        update={"compare": study.compare.model_copy(update={"baselines": (), "finalists": 2, "repeats": 2})}
    )
    study = study.model_copy(update={"compare": study.compare.model_copy(update={"family": "all-pairs"})})
    decide.run_compare(study)
    assert len(count_epochs) == num_swept + 2 * 2 * 2
    assert {name for name in on_store(study) if name.startswith("comparison/comparison")} == {
        "comparison/comparison.json"
    }
    shutil.rmtree(state)
    found = find_study(str(study.location.uri))
    assert load_comparison(found.folder) is not None
    repeats = [record for record in read_records(found.folder).values() if record.kind == "repeat"]
    num_test = load_facts(study).num_test
    assert [load_correct(found.folder, record, num_test).shape for record in repeats] == [(num_test,)] * 4
    decide.run_compare(study)
    assert len(count_epochs) == num_swept + 2 * 2 * 2, "nothing is trained again"


def test_a_sweep_that_was_cut_off_goes_on_elsewhere_from_its_checkpoints(
    study: StudyConfig,
    make_study: MakeStudy,
    state: Path,
    killed: type[BaseException],
    count_epochs: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = make_study(*OPTIONS)
    drive.run_sweep(local)
    num_calm = len(count_epochs)
    count_epochs.clear()
    original = Journal.epoch

    def cut(self: Journal, *args: Any) -> None:
        if len(count_epochs) == 5:  # the first of trial 2: trained, on the store, in no journal
            raise killed
        original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "epoch", cut)
        with pytest.raises(killed):
            drive.run_sweep(study)
    shutil.rmtree(state)
    drive.run_sweep(study)
    assert len(count_epochs) == len(set(count_epochs)) == num_calm
    assert [item[2:] for item in summary(read_records(study.folder))] == [
        item[2:] for item in summary(read_records(local.folder))
    ]


def test_faults_of_the_store_come_before_anything_begins(make_study: MakeStudy, state: Path) -> None:
    with pytest.raises(StoreAwayError, match=r"s3://bucket/tiny: unreachable") as raised:
        check_folder(make_study(storage="s3://bucket?endpoint_override=127.0.0.1:1&scheme=http"))
    assert raised.value.exit_code == 2
    with pytest.raises(StoreError, match="unknown option region_name"):
        drive.run_sweep(make_study(storage="s3://bucket?region_name=x"))
    assert not state.exists()


def test_the_resolved_file_tells_where_it_lies(study: StudyConfig) -> None:
    drive.run_sweep(study)
    assert load_study(study.folder / "study.yaml").storage == study.storage


def test_what_lies_on_the_drivers_machine_alone_is_not_called_different(
    study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's log and MLflow's SQLite are made from the journal where it is written; nobody else has them."""
    tracked = study.model_copy(update={"tracking": study.tracking.model_copy(update={"enabled": True})})
    drive.run_sweep(study)
    assert check(study).exit_code == 0
    monkeypatch.setenv("HYBRID_SEARCH_STATE", str(tmp_path / "reader"))
    refresh(study.location)
    found = check(tracked)
    assert (found.exit_code, found.num_trials, found.differences) == (2, 5, ())
    assert found.unreadable == tuple(
        f"{store}: its data about this study is on the driver's machine; run this command there"
        for store in ("Optuna", "MLflow")
    )


def test_a_driver_on_another_machine_is_seen(
    study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(make_folder(study), copy_of(study.location)):
        monkeypatch.setenv("HYBRID_SEARCH_STATE", str(tmp_path / "reader"))
        refresh(study.location)
        assert check(study).driven
    assert not check(study).driven
    lost = Lease(Store(str(study.location.uri)), "a machine that was lost")
    lost.take()
    lost.stop()
    assert not check(study).driven


@pytest.mark.parametrize("step", ["publish", "Journal"])
def test_a_report_that_is_written_stands_though_the_disk_is_full_then(
    study: StudyConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    def refuse(*_: object) -> None:
        raise StorageFaultError("/disk/file: full; free disk space")

    drive.run_sweep(study)
    place = SimpleNamespace(uri="sqlite:///unused.db", experiment="x")
    monkeypatch.setattr(write, "tracking_place", lambda _: place if step == "Journal" else None)
    monkeypatch.setattr(write, "FollowerProcess", lambda *_: SimpleNamespace(close=lambda _: True, backlog=None))
    monkeypatch.setattr(write, step, refuse)
    assert write.write_report(study, patience=1.0).file.is_file()
    assert "/disk/file: full; free disk space" in capsys.readouterr().err


def test_a_sweep_learns_from_a_study_on_a_store(study: StudyConfig, make_study: MakeStudy, state: Path) -> None:
    drive.run_sweep(study)
    uri = study.location.uri
    shutil.rmtree(state)  # another machine has no working copy
    learning = ("search.sampler=tpe", f"search.learn_from=[{uri}]", f"search.enqueue=top-1 of {uri}")
    new = make_study(*OPTIONS, *learning, "search.trials=1", name="new")
    drive.run_sweep(new)
    (record,) = read_records(new.folder).values()
    best = max(read_records(study.folder).values(), key=lambda item: item.val_accuracy or 0.0)
    assert dict(record.point) == dict(best.point)
    earlier = earlier_in(read_history(new.folder).marks)
    assert earlier is not None
    assert earlier.lines == [f"learns from 5 of 5 trials of {uri}", f"top-1 of {uri}: 1 point"]
    lease = Lease(Store(str(uri)), "another machine")
    lease.take(lambda _: None)
    try:
        with pytest.raises(StudyError, match="is running; wait for its end"):
            take_earlier(new, load_facts(new), marks=())
    finally:
        lease.give_back()
