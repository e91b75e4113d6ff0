"""The page as a file: where it goes, what MLflow is told, and what stands in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from search.errors import InputError
from search.journal.journal import Journal
from search.journal.reading import read_events
from search.report import write
from search.report.write import write_report
from search.study.config import StudyConfig

Told = Callable[..., StudyConfig]


@pytest.fixture
def study(make_study: Callable[..., StudyConfig], told: Told) -> StudyConfig:
    """A sweep that is over, tracked."""
    return told(make_study("tracking.enabled=true"), [0.8])


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The processes that would have been started, and that they had all."""
    started: list[tuple[Any, ...]] = []

    class Tracker:
        backlog = "MLflow is away"
        closed_after: ClassVar[list[float]] = []

        def __init__(self, *arguments: Any) -> None:
            started.append(arguments)

        def close(self, patience: float) -> bool:
            self.closed_after.append(patience)
            return "away" not in started[-1][1]

    monkeypatch.setattr(write, "FollowerProcess", Tracker)
    return started


def closed_after(trackers: list[Any]) -> list[float]:
    """Return the patience with which each process was closed first; later calls do nothing."""
    patiences: list[float] = write.FollowerProcess.closed_after  # type: ignore[attr-defined]
    assert len(patiences) == len(trackers)
    return patiences


def notes(study: StudyConfig) -> list[dict[str, Any]]:
    return [event for event in read_events(study.folder / "journal.jsonl") if event["event"] == "report"]


def test_the_page_lies_in_the_study_and_is_noted_once(study: StudyConfig, trackers: list[Any]) -> None:
    report = write_report(study)
    assert report.file == study.folder / "report.html"
    page = report.file.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert report.num_bytes == len(page.encode())
    assert report.headline == "trial 0: gru: nominated, not confirmed."
    assert [note["artifacts"] for note in notes(study)] == [["report.html"]]
    write_report(study)
    assert report.file.read_text() == page
    assert len(notes(study)) == 1
    assert [started[0] for started in trackers] == [study.folder, study.folder]
    with Journal(study.folder) as journal:
        data = {"name": "digits", "digest": "x", "num_train": 70, "num_test": 50}
        journal.note("session", verb="compare", versions={"torch": "3"}, data=data, classes=["0"])
    write_report(study)
    assert len(notes(study)) == 2


def test_a_second_place_gets_the_same_page(study: StudyConfig, trackers: list[Any], tmp_path: Path) -> None:
    target = tmp_path / "new" / "page.html"
    assert write_report(study, target).file == target
    assert target.read_text() == (study.folder / "report.html").read_text()
    assert len(trackers) == 1


def test_without_tracking_nothing_is_noted(
    make_study: Callable[..., StudyConfig], told: Told, trackers: list[Any]
) -> None:
    study = told(make_study(), [0.8])
    write_report(study)
    assert not trackers
    assert not notes(study)


def test_a_study_at_work_is_reported_all_the_same(
    study: StudyConfig, trackers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with Journal(study.folder):
        report = write_report(study)
    assert report.file.is_file()
    assert closed_after(trackers) == [0.0]
    shown = capsys.readouterr().err
    assert "the report was not sent to MLflow: " in shown
    assert "is working on this study; wait for it" in shown


def test_an_absent_server_is_told(
    make_study: Callable[..., StudyConfig], told: Told, trackers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    study = told(make_study("tracking.enabled=true", "tracking.uri=http://away"), [0.8])
    assert write_report(study).file.is_file()
    assert "MLflow is away" in capsys.readouterr().err
    assert len(trackers) == 1


def test_what_stands_in_the_way_is_named(study: StudyConfig, trackers: list[Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--to .*: expected a file, found a folder; give a file such as"):
        write_report(study, tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"--to .*: cannot be written \(.*\); choose another file with --to"):
        write_report(study, tmp_path / "file" / "page.html")
    with pytest.raises(InputError, match=r"--to .*: cannot be written \(File name too long\); choose another file"):
        write_report(study, tmp_path / f"{245 * 'x'}.html")
    assert not (study.folder / "report.html").exists()
    assert not notes(study)
    assert closed_after(trackers) == [0.0, 0.0, 0.0]


def test_a_study_that_cannot_be_written_is_reported_elsewhere(
    study: StudyConfig, trackers: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study.folder / "report.html").mkdir()  # in the way of the page that the study keeps
    assert write_report(study, tmp_path / "page.html").file == tmp_path / "page.html"
    assert (
        "the report could not be written into the study's folder and was not sent to MLflow: "
    ) in capsys.readouterr().err
    assert (tmp_path / "page.html").is_file()
    assert not notes(study)
    assert closed_after(trackers) == [0.0]


def test_a_damaged_comparison_is_the_users_to_mend(study: StudyConfig, trackers: list[Any]) -> None:
    (study.folder / "comparison").mkdir()
    (study.folder / "comparison" / "comparison.json").write_text(json.dumps({"comparisons": [{}]}))
    with pytest.raises(InputError, match=r"comparison\.json: damaged \(key: missing"):
        write_report(study)
    assert closed_after(trackers) == [0.0]
    assert not notes(study)
