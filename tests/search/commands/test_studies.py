"""The list of studies, the archive, and deletion."""

from __future__ import annotations

import io
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.cli import control as cli
from search.commands import removal
from search.commands.studies import list_studies, to_lines
from search.errors import InputError, NothingToDoError, StoreError, StudyLockedError
from search.journal.commands import Command
from search.journal.journal import Journal
from search.journal.mlflow_run import JOURNAL_TAG
from search.journal.reading import read_records
from search.records import Completed, EpochMetrics, Stopped, TrialRecord
from search.storage.lease import Lease
from search.storage.remote_copy import copy_of
from search.storage.store import Store
from search.study.config import StudyConfig
from search.study.folder import claim_folder, make_folder, record_study
from search.study.load import find_study
from search.study.tracking_place import tracking_place
from search.sweep.run import run_sweep
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import connect, default_uri

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def fill(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> Callable[[StudyConfig], StudyConfig]:
    """Write two trials of a study, one of which is over."""

    def write(study: StudyConfig) -> StudyConfig:
        folder = make_folder(study)
        with Journal(folder, copy_of(study.location)) as journal:
            record_study(study, has_trials=False)
            journal.note("session", version=2, verb="sweep")
            for number, accuracy in enumerate((0.75, 0.5)):
                journal.begin(make_record(f"k{number}", number=number, label=f"trial {number}: cnn"))
                journal.epoch(f"k{number}", make_epoch(1, accuracy), "node")
            journal.end("k0", Completed())
        return study

    return write


def test_the_studies_of_a_folder_are_listed(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], tmp_path: Path
) -> None:
    fill(make_study(name="one"))
    two = fill(make_study("search.trials=2", name="two"))
    with Journal(two.folder) as journal:
        journal.end("k1", Stopped(epoch=1))
        command = Command(verb="extend", trials=1)
        journal.note("command", id=command.id, verb="extend", done=False, answer="no", total=9)
    claim_folder(make_study(name="three"))
    broken = fill(make_study(name="broken")).folder
    (broken / "journal.jsonl").write_text("[]\n")
    for other in ("mlartifacts", ".archive"):
        (tmp_path / "runs" / other).mkdir()
    rows = {row.name: row for row in list_studies(str(tmp_path / "runs"))}
    assert list(rows) == ["broken", "one", "three", "two"]
    assert (rows["one"].state, rows["one"].num_over, rows["one"].num_planned) == ("unfinished", 1, 6)
    assert (rows["one"].nominee, rows["one"].val_accuracy) == ("trial 0: cnn", 0.75)
    assert (rows["two"].state, rows["two"].num_over, rows["two"].num_planned) == ("finished", 2, 2)
    assert (rows["three"].state, rows["three"].nominee, rows["three"].changed_at) == ("unfinished", "", None)
    assert rows["broken"].state == "unreadable"
    lines = to_lines(list(rows.values()))
    assert lines[0].split() == ["study", "state", "trials", "validation", "nominee", "changed"]
    assert any(line.startswith("broken: ") and "journal.jsonl:1" in line for line in lines)
    assert lines[-1] == "4 studies"


def test_a_sweep_that_used_up_its_space_is_finished(make_study: MakeStudy, copied_here: None, tmp_path: Path) -> None:
    def state() -> tuple[str, int, int]:
        (row,) = list_studies(str(tmp_path / "runs"))
        return row.state, row.num_over, row.num_planned

    study = make_study("train.epochs=1", "search.sampler=grid", fix={"lr": 0.01, "dropout": 0.0, "rnn": "none"})
    run_sweep(study)
    assert state() == ("finished", 1, 6)
    with Journal(study.folder) as journal:
        journal.note("session", version=2, verb="compare")
    assert state() == ("finished", 1, 6)
    with Journal(study.folder) as journal:
        journal.note("session", version=2, verb="sweep")
    assert state() == ("unfinished", 1, 6), "the newest sweep was killed before it looked"


def test_a_wrong_storage_is_one_line(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], tmp_path: Path
) -> None:
    study = fill(make_study())
    for place, words in {
        tmp_path / "rums": rf"expected a folder of studies, found none; did you mean {tmp_path}/runs",
        study.folder: rf"expected a folder of studies, found a study; give {tmp_path}/runs",
        study.folder / "trials": "expected a folder of studies, found none",
        tmp_path: "expected studies in it, found none",
    }.items():
        with pytest.raises(NothingToDoError, match=words):
            list_studies(str(place))


def test_a_study_is_archived_and_read_there(make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig]) -> None:
    for name in ("tiny", "tiny-2", "tiny-3"):
        study = fill(make_study())
        place = removal.archive(find_study(study.folder))
        assert place.folder == study.folder.parent / ".archive" / name
        assert not study.folder.exists()
        assert find_study(place.folder).name == name


def tracked(study: StudyConfig, empty_database: Path) -> Any:
    """MLflow with two runs of a study and two others."""
    shutil.copy(empty_database, study.folder.parent / "mlflow.db")
    client = connect(default_uri(study.folder.parent))
    experiment = client.create_experiment(study.name)
    with Journal(study.folder) as journal:
        ours = journal.id
    for name, tags in (("a", ours), ("b", ours), ("c", "another"), ("d", None)):
        client.create_run(experiment, run_name=name, tags={} if tags is None else {JOURNAL_TAG: tags})
    return client, experiment


def test_a_study_is_deleted_with_its_runs_and_no_others(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], empty_database: Path
) -> None:
    study = fill(make_study(tracking={"enabled": True}))
    other = fill(make_study(name="other"))
    client, experiment = tracked(study, empty_database)
    assert removal.describe(study).startswith("2 trials, ")
    assert " MB and its runs in MLflow (sqlite:" in removal.describe(study)
    lines = removal.delete(find_study(study.folder))
    assert lines == [
        f"deleted {study.folder}",
        "deleted 2 runs in MLflow; `mlflow gc` deletes their files",
    ]
    assert not study.folder.exists()
    assert other.folder.exists()
    assert sorted(run.info.run_name for run in client.search_runs([experiment])) == ["c", "d"]


def test_the_runs_of_a_study_and_its_copy_stay_until_the_last_of_them_is_deleted(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], tmp_path: Path, empty_database: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    tracking = {"enabled": True, "uri": default_uri(tmp_path), "experiment": "both"}
    study = fill(make_study(tracking=tracking))
    copied = tmp_path / "backup" / study.name
    shutil.copytree(study.folder, copied)
    for folder in (study.folder, copied):  # the copy was resumed
        Mirror(folder, uri=tracking["uri"], experiment="both").finish()
    assert removal.delete(find_study(copied, [f"storage={copied.parent}"]))[1] == (
        f"its runs in MLflow stay, because {study.folder} has the same study, one being a copy of the other"
    )
    assert not copied.exists()
    assert removal.delete(find_study(study.folder))[1].startswith("deleted 3 runs in MLflow")


def test_an_archived_study_is_not_archived_again(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig]
) -> None:
    place = removal.archive(find_study(fill(make_study()).folder))
    with pytest.raises(InputError, match=r"tiny: expected a study outside the archive; `hybrid-search delete`"):
        removal.archive(find_study(place.folder))
    assert place.folder.exists()


def test_a_study_without_mlflow_is_deleted(make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig]) -> None:
    study = fill(make_study(tracking={"enabled": True}))
    assert removal.delete(study)[1] == (
        f"found no runs of it in MLflow at {default_uri(study.folder.parent)}, experiment tiny"
    )
    assert not study.folder.exists()


def test_the_runs_of_an_archived_study_are_deleted_with_it(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], empty_database: Path
) -> None:
    removal.archive(fill(make_study()))  # the next one needs a number
    study = fill(make_study(tracking={"enabled": True}))
    client, experiment = tracked(study, empty_database)
    place = removal.archive(find_study(study.folder))
    assert place.name == "tiny-2"
    archived = find_study(place.folder)
    assert tracking_place(archived) == tracking_place(study)
    assert removal.delete(archived)[1].startswith("deleted 2 runs in MLflow")
    assert sorted(run.info.run_name for run in client.search_runs([experiment])) == ["c", "d"]


def test_a_copy_of_a_study_is_archived_under_its_own_name(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig]
) -> None:
    study = fill(make_study(tracking={"enabled": True}))
    shutil.copytree(study.folder, study.folder.with_name("copy"))
    place = tracking_place(find_study(removal.archive(find_study(study.folder.with_name("copy"))).folder))
    assert place is not None
    assert place.experiment == "copy", "else its deletion would delete the runs of the original"


@pytest.mark.parametrize("act", [removal.archive, removal.delete])
def test_a_study_file_acts_on_the_study_of_its_name(
    make_study: MakeStudy,
    fill: Callable[[StudyConfig], StudyConfig],
    study_data: dict[str, Any],
    tmp_path: Path,
    act: Callable[[StudyConfig], object],
) -> None:
    original = fill(make_study()).folder
    copied = original.with_name("copy")
    shutil.copytree(original, copied)
    (tmp_path / "copy.yaml").write_text(yaml.safe_dump({**study_data, "name": "copy"}, sort_keys=False))
    act(find_study(tmp_path / "copy.yaml"))
    assert original.exists()
    assert not copied.exists()


@pytest.mark.parametrize("act", [removal.archive, removal.delete])
def test_a_folder_that_is_a_link_stays(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], tmp_path: Path, act: Callable[..., object]
) -> None:
    study = fill(make_study(tracking={"enabled": True}))
    study.folder.rename(tmp_path / "elsewhere")
    study.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=rf"tiny: expected a folder, found a link to {tmp_path}/elsewhere"):
        act(study)
    assert study.folder.is_symlink()
    assert (tmp_path / "elsewhere" / "journal.jsonl").is_file()
    assert not (study.folder.parent / ".archive").exists()
    assert not (study.folder.parent / "mlflow.db").exists(), "nor is MLflow asked"


@pytest.mark.parametrize("act", [removal.archive, removal.delete])
def test_a_driven_study_stays(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], act: Callable[[StudyConfig], object]
) -> None:
    study = fill(make_study())
    with Journal(study.folder), pytest.raises(StudyLockedError, match="is working on this study; end it first"):
        act(study)
    assert (study.folder / "journal.jsonl").is_file()


@pytest.mark.parametrize(("answer", "is_confirmed"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(
    make_study: MakeStudy,
    fill: Callable[[StudyConfig], StudyConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    is_confirmed: bool,
) -> None:
    study = fill(make_study())
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    if is_confirmed:
        cli.delete(str(study.folder))
    else:
        with pytest.raises(InputError, match="not confirmed; nothing was changed"):
            cli.delete(str(study.folder))
    assert study.folder.exists() != is_confirmed
    assert f"delete {study.folder}: 2 trials, " in capsys.readouterr().err


def test_no_terminal_to_ask_on_is_no_permission(
    make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fill(make_study())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    for act in (cli.delete, cli.archive):
        with pytest.raises(InputError, match="expected --yes, as there is no terminal to ask on"):
            act(str(study.folder))
    assert study.folder.exists()


class TestOnAStore:
    """A study on an object store; a folder's URI, for speed."""

    @pytest.fixture(autouse=True)
    def _quick(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HYBRID_SEARCH_STATE", str(tmp_path / "state"))
        for name, secs in {"RENEW_SECS": 0.2, "PATIENCE_SECS": 1.5, "SETTLE_SECS": 0.05, "POLL_SECS": 0.05}.items():
            monkeypatch.setattr(f"search.storage.lease.{name}", secs)

    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/store"

    def test_listed_archived_and_deleted(
        self, make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], storage: str
    ) -> None:
        with pytest.raises(NothingToDoError, match="expected studies in it, found none"):
            list_studies(storage)
        study = fill(make_study(storage=storage))
        Store(storage).write("tiny/trials/k0/weights.safetensors", b"w")
        (row,) = list_studies(storage)
        assert (row.name, row.state, row.num_over) == ("tiny", "unfinished", 1)
        before = {name: Store(storage).read(name) for name in Store(storage).list("tiny/")}
        place = removal.archive(find_study(f"{storage}/tiny"))
        assert str(place) == f"{storage}/.archive/tiny"
        assert not study.folder.exists()
        assert list(Store(storage).list("tiny/")) == []
        after = {name: Store(storage).read(name) for name in Store(storage).list(".archive/tiny/")}
        assert after == {f".archive/{name}": content for name, content in before.items()}
        archived = find_study(str(place))
        assert removal.delete(archived) == [f"deleted {storage}/.archive/tiny"]
        assert list(Store(storage).list()) == []
        assert not archived.folder.exists()

    def test_what_only_the_working_copy_has_is_archived_too(
        self,
        make_study: MakeStudy,
        fill: Callable[[StudyConfig], StudyConfig],
        make_record: Callable[..., TrialRecord],
        storage: str,
    ) -> None:
        study = fill(make_study(storage=storage))
        with Journal(study.folder) as journal:  # as a driver that could not reach the store any more
            journal.end("k1", Stopped(epoch=1))
            journal.begin(make_record("k2", number=2))
        (study.folder / "report.html").write_text("report")
        place = removal.archive(find_study(f"{storage}/tiny"))
        assert not study.folder.exists()
        archived = find_study(str(place))
        outcomes = {key: record.outcome for key, record in read_records(archived.folder).items()}
        assert outcomes == {"k0": Completed(), "k1": Stopped(epoch=1), "k2": None}
        assert (archived.folder / "report.html").read_text() == "report"

    def test_two_journals_that_differ_are_not_archived(
        self, make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], storage: str
    ) -> None:
        study = fill(make_study(storage=storage))
        path = study.folder / "journal.jsonl"
        path.write_text(path.read_text().replace('"k1"', '"k9"'))
        with pytest.raises(StoreError, match="two machines continued from the same point"):
            removal.archive(study)
        assert path.is_file()
        assert "tiny/study.yaml" in Store(storage).list("tiny/")

    def test_the_runs_of_an_archived_study_are_where_they_were(
        self, make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], storage: str
    ) -> None:
        study = fill(make_study(storage=storage, tracking={"enabled": True}))
        archived = find_study(str(removal.archive(find_study(f"{storage}/tiny"))))
        assert tracking_place(archived) == tracking_place(study)

    @pytest.mark.parametrize("act", [removal.archive, removal.delete])
    def test_the_lease_is_not_renewed_while_files_are_deleted(
        self,
        make_study: MakeStudy,
        fill: Callable[[StudyConfig], StudyConfig],
        storage: str,
        monkeypatch: pytest.MonkeyPatch,
        act: Callable[[StudyConfig], object],
    ) -> None:
        fill(make_study(storage=storage))
        original, renewing = Store.delete, []

        def delete(self: Store, name: str) -> None:
            renewing.append(any(thread.name == "study-lease" for thread in threading.enumerate()))
            original(self, name)

        monkeypatch.setattr(Store, "delete", delete)
        act(find_study(f"{storage}/tiny"))
        assert renewing == [False]

    def test_a_study_that_another_machine_drives_stays(
        self, make_study: MakeStudy, fill: Callable[[StudyConfig], StudyConfig], storage: str
    ) -> None:
        study = fill(make_study(storage=storage))
        elsewhere = Lease(Store(str(study.location.uri)), "another copy")
        elsewhere.take()
        try:
            for act in (removal.archive, removal.delete):
                with pytest.raises(StudyLockedError, match="is working on this study"):
                    act(study)
        finally:
            elsewhere.give_back()
        assert "tiny/study.yaml" in Store(storage).list("tiny/")
