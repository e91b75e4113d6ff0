"""Commands from other processes, carried out by a sweep that runs in this one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.commands.control import write
from search.errors import InputError, InterruptedStudyError
from search.journal.commands import Command, num_planned
from search.journal.follower import Follower
from search.journal.journal import Journal
from search.journal.reading import read_events, read_history, read_records
from search.records import Completed, Stopped, TrialRecord
from search.runners import dispatcher
from search.study.config import StudyConfig
from search.sweep.sweep import Sweep
from search.training import ticks
from search.training.files import CHECKPOINTS

MakeStudy = Callable[..., StudyConfig]
OPTIONS = ("search.scheduler=none", "search.trials=3")


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_SECS", 0.0)
    monkeypatch.setattr(ticks, "TICK_SECS", 0.0)


def once(when: Callable[[Sweep], bool], study: StudyConfig, *commands: Command) -> Callable[[Sweep], None]:
    """Send commands the first time that something holds."""
    left = list(commands)

    def watch(sweep: Sweep) -> None:
        if left and when(sweep):
            for command in left:
                write(study.location, command)
            left.clear()

    return watch


def answers(study: StudyConfig) -> list[tuple[str, bool, str]]:
    events = read_events(study.folder / "journal.jsonl")
    return [(event["verb"], event["done"], event["answer"]) for event in events if event["event"] == "command"]


def waiting(study: StudyConfig) -> list[Path]:
    return list((study.folder / "commands").iterdir())


def has_epochs(number: int, num_epochs: int) -> Callable[[Sweep], bool]:
    return lambda sweep: len(sweep.records) > number and len(sweep.records[number].curve) == num_epochs


def told(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    return [
        (record.key, record.number, record.outcome, [epoch.val_accuracy for epoch in record.curve])
        for record in records
    ]


def test_a_trial_is_stopped_in_the_middle_of_an_epoch(
    make_study: MakeStudy, driver: Any, count_epochs: list[tuple[str, int]]
) -> None:
    study = make_study(*OPTIONS)
    records = driver.sweep(study, watch=once(has_epochs(1, 1), study, Command(verb="stop", trial=1)))
    assert [record.outcome for record in records] == [Completed(), Stopped(epoch=1, by_hand=True), Completed()]
    assert answers(study) == [("stop", True, "trial 1 is stopped after 1 epoch")]
    assert waiting(study) == []
    assert [epoch for key, epoch in count_epochs if key == records[1].key] == [1], "it trains no further"
    assert not [name for name in CHECKPOINTS if (study.folder / "trials" / records[1].key / name).exists()]
    assert read_records(study.folder)[records[1].key].outcome == Stopped(epoch=1, by_hand=True)
    follower = Follower(study.folder)
    follower.read()
    assert follower.state_of(records[1]) == ("FINISHED", "stopped")


def test_a_trial_that_waits_to_be_resumed_is_stopped_without_training(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], count_epochs: list[tuple[str, int]]
) -> None:
    study = make_study(*OPTIONS)

    def kill(sweep: Sweep) -> None:
        if has_epochs(1, 2)(sweep):
            raise killed

    with pytest.raises(killed):
        driver.sweep(study, watch=kill)
    write(study.location, Command(verb="stop", trial=1))
    count_epochs.clear()
    records = driver.sweep(study)
    assert records[1].outcome == Stopped(epoch=2, by_hand=True)
    assert records[1].key not in dict(count_epochs)
    assert not (study.folder / "trials" / records[1].key).exists()


@pytest.mark.parametrize(
    ("number", "words"), [(0, "trial 0 has ended already: completed"), (7, "no trial has the num")]
)
def test_a_trial_that_cannot_be_stopped_is_said(make_study: MakeStudy, driver: Any, number: int, words: str) -> None:
    study = make_study(*OPTIONS)
    driver.sweep(study, watch=once(has_epochs(1, 1), study, Command(verb="stop", trial=number)))
    ((verb, done, answer),) = answers(study)
    assert (verb, done) == ("stop", False)
    assert words in answer


def test_an_enqueued_point_is_next_and_survives_a_kill(
    make_study: MakeStudy, driver: Any, gru: dict[str, Any], cnn: dict[str, Any], killed: type[BaseException]
) -> None:
    points = [{**gru, "lr": 0.002}, {**cnn, "lr": 0.003}]
    commands = [Command(verb="enqueue", point=point, at=float(at)) for at, point in enumerate(points)]

    def make(name: str) -> StudyConfig:
        return make_study("search.scheduler=none", "search.trials=5", "train.epochs=1", name=name)

    calm = driver.sweep(make("calm"), watch=once(has_epochs(1, 1), make("calm"), *commands))
    assert [record.number for record in calm if dict(record.point)["lr"] in (0.002, 0.003)] == [2, 3]
    study = make("killed")
    watch = once(has_epochs(1, 1), study, *commands)

    def kill(sweep: Sweep) -> None:
        watch(sweep)
        if has_epochs(2, 1)(sweep):
            raise killed

    with pytest.raises(killed):
        driver.sweep(study, watch=kill)
    assert told(driver.sweep(study)) == told(calm)
    assert [done for _, done, _ in answers(study)] == [True, True]


def test_a_point_that_cannot_be_trained_or_was_is_refused(
    make_study: MakeStudy, driver: Any, gru: dict[str, Any], cnn: dict[str, Any]
) -> None:
    study = make_study(*OPTIONS, "train.epochs=1")
    new = {**gru, "lr": 0.002}
    first = {**cnn, "lr": 0.004}
    study = make_study(*OPTIONS, "train.epochs=1", search={"trials": 3, "scheduler": "none", "enqueue": [first]})
    commands = [
        Command(verb="enqueue", point={**new, "nodes": 5}, at=1.0),
        Command(verb="enqueue", point="ecrnn/cn", at=2.0),
        Command(verb="enqueue", point=first, at=3.0),
        Command(verb="enqueue", point=new, at=4.0),
        Command(verb="enqueue", point=new, at=5.0),
    ]
    driver.sweep(study, watch=once(has_epochs(0, 1), study, *commands))
    words = [answer for _, _, answer in answers(study)]
    assert [done for _, done, _ in answers(study)] == [False, False, False, True, False]
    assert "nodes: expected one of 4, 8, found 5" in words[0]
    assert "no preset is called 'ecrnn/cn'; did you mean ecrnn/cnn" in words[1]
    assert words[2] == "trial 0: cnn is the same training"
    assert words[4] == "the point is enqueued already"


def test_a_point_without_a_planned_trial_is_kept_until_the_study_is_extended(
    make_study: MakeStudy, driver: Any, gru: dict[str, Any]
) -> None:
    study = make_study(*OPTIONS, "train.epochs=2")
    point = {**gru, "lr": 0.002}
    records = driver.sweep(study, watch=once(has_epochs(2, 1), study, Command(verb="enqueue", point=point)))
    assert len(records) == 3
    assert "all planned trials have started; add one" in answers(study)[0][2]
    write(study.location, Command(verb="extend", trials=1))
    records = driver.sweep(study)
    assert [dict(record.point)["lr"] for record in records[3:]] == [0.002]


def test_a_study_is_extended_once_and_for_all(make_study: MakeStudy, driver: Any) -> None:
    study = make_study(*OPTIONS, "train.epochs=1")
    records = driver.sweep(study, watch=once(has_epochs(2, 1), study, Command(verb="extend", trials=2)))
    assert len(records) == 5, "also if the last trial has started"
    assert answers(study) == [("extend", True, "5 trials instead of 3")]
    assert len(driver.sweep(study)) == 5, "the study file neither shrinks it nor is refused"
    more = make_study("search.scheduler=none", "search.trials=6", "train.epochs=1")
    assert len(driver.sweep(more)) == 6, "the higher number counts"
    write(study.location, Command(verb="extend", trials=1))
    assert len(driver.sweep(more)) == 7
    marks = read_history(study.folder).marks
    assert [num_planned(number, marks) for number in (3, 6, 9)] == [7, 7, 9]


@pytest.mark.slow
def test_an_extended_sweep_proposes_what_a_longer_one_would(make_study: MakeStudy, driver: Any) -> None:
    longer = driver.sweep(make_study("search.trials=6", name="longer"))
    study = make_study("search.trials=3", name="short")
    extended = driver.sweep(study, watch=once(has_epochs(0, 1), study, Command(verb="extend", trials=3)))
    assert told(extended) == told(longer)


def test_the_answer_says_if_the_space_is_smaller(make_study: MakeStudy, driver: Any) -> None:
    study = make_study(*OPTIONS, "train.epochs=1", "fix.lr=0.001", "fix.rnn=none")
    records = driver.sweep(study)
    assert len(records) == 2
    write(study.location, Command(verb="extend", trials=1))
    driver.sweep(study)
    assert answers(study) == [
        ("extend", True, "4 trials instead of 3; the space has 2 points, and the sweep ends after the last one")
    ]


def test_a_pause_saves_and_ends_the_sweep_until_the_next_start(make_study: MakeStudy, driver: Any) -> None:
    calm = driver.sweep(make_study(*OPTIONS, name="calm"))
    study = make_study(*OPTIONS, name="paused")
    with Journal(_claimed(study)) as journal:
        journal.note("session", verb="sweep", version=2)
    with pytest.raises(InterruptedStudyError, match=r"interrupted by `hybrid-search pause`; everything is saved") as it:
        driver.sweep(study, watch=once(has_epochs(1, 1), study, Command(verb="pause")))
    assert it.value.exit_code == 130
    assert answers(study)[0][:2] == ("pause", True)
    records = list(read_records(study.folder).values())
    assert [record.outcome for record in records] == [Completed(), None]
    assert told(driver.sweep(study)) == told(calm)


def _claimed(study: StudyConfig) -> Path:
    from search.study.folder import claim_folder

    return claim_folder(study)


def test_a_pause_that_was_sent_before_this_start_is_over(make_study: MakeStudy, driver: Any) -> None:
    study = make_study(*OPTIONS, "train.epochs=1")
    command = Command(verb="pause")
    with Journal(_claimed(study)) as journal:
        journal.note("session", verb="sweep", version=2)
    write(study.location, command)
    assert len(driver.sweep(study)) == 3
    ((_, done, words),) = answers(study)
    assert not done
    assert words.startswith("sent before this start")


def test_whether_a_pause_is_stale_does_not_depend_on_clocks(make_study: MakeStudy, driver: Any) -> None:
    early, late = make_study(*OPTIONS, name="early"), make_study(*OPTIONS, "train.epochs=1", name="late")
    with Journal(_claimed(late)) as journal:
        journal.note("session", verb="sweep", version=2)
    write(
        late.location, Command(verb="pause", at=time.time() + 600)
    )  # before the start, by the clock of its machine long after it
    assert len(driver.sweep(late)) == 3
    assert not answers(late)[0][1]
    with Journal(_claimed(early)) as journal:
        journal.note("session", verb="sweep", version=2)
    with pytest.raises(InterruptedStudyError):
        driver.sweep(early, watch=once(has_epochs(1, 1), early, Command(verb="pause", at=time.time() - 600)))


def test_an_answer_of_any_length_leaves_the_journal_readable(
    make_study: MakeStudy, driver: Any, gru: dict[str, Any]
) -> None:
    study = make_study("search.trials=1", "train.epochs=1")
    wrong = {f"unknown_{number}": 1 for number in range(2500)}
    command = Command(verb="enqueue", point={**gru, **wrong})
    assert len(command.to_bytes()) < 1 << 16
    driver.sweep(study, watch=once(has_epochs(0, 1), study, command))
    ((_, done, words),) = answers(study)
    assert not done
    assert len(words) == 500
    assert "unknown_0" in words


def test_nothing_behind_a_link_is_read_as_a_command_and_deleted(
    make_study: MakeStudy, driver: Any, tmp_path: Path
) -> None:
    study = make_study("search.trials=1", "train.epochs=1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "results.json").write_text("{}")
    (_claimed(study) / "commands").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="commands: expected a folder, found a link; remove it"):
        driver.sweep(study)
    assert (tmp_path / "elsewhere" / "results.json").is_file()


def test_a_command_waits_until_its_answer_is_in_the_journal(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(*OPTIONS, "train.epochs=1")
    note = Journal.note

    def kill(self: Journal, event: str, **fields: object) -> None:
        if event == "command":
            raise killed
        note(self, event, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", kill)
        with pytest.raises(killed):
            driver.sweep(study, watch=once(has_epochs(0, 1), study, Command(verb="extend", trials=2)))
    assert len(waiting(study)) == 1
    assert len(driver.sweep(study)) == 5
    assert answers(study) == [("extend", True, "5 trials instead of 3")]


@pytest.mark.slow
def test_a_point_enqueued_after_the_space_counts_as_exhausted_is_trained(
    make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch, cnn: dict[str, Any]
) -> None:
    """The one point that the limit allows; random proposals find it only by chance."""
    monkeypatch.setattr("search.sampling.sampler.MAX_REJECTIONS", 3)
    for module in ("sweep", "proposals"):
        monkeypatch.setattr(
            f"search.sweep.{module}.why_not", lambda _, point, __: None if point["lr"] == 0.002 else "no"
        )
    study = make_study("search.trials=2", "train.epochs=1", "fix.rnn=none")
    assert driver.sweep(study) == []
    write(study.location, Command(verb="enqueue", point={**cnn, "lr": 0.002}))
    with Journal(study.folder) as journal:
        sweep = Sweep(study=study, facts=driver.facts, journal=journal)
        assert sweep.propose() is None
        assert sweep.space_exhausted
        assert sweep.obey()
        assert not sweep.finished
    records = driver.sweep(study)
    assert [record.point["lr"] for record in records] == [0.002]
    assert [record.outcome for record in records] == [Completed()]


def test_a_command_is_carried_out_once_though_the_driver_is_killed(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(*OPTIONS, "train.epochs=1")
    forget = Journal._forget_command

    def kill(*_: object) -> None:
        raise killed

    monkeypatch.setattr(Journal, "_forget_command", kill)
    write_first = once(has_epochs(0, 1), study, Command(verb="extend", trials=2))
    with pytest.raises(killed):
        driver.sweep(study, watch=write_first)
    assert len(waiting(study)) == 1
    monkeypatch.setattr(Journal, "_forget_command", forget)
    assert len(driver.sweep(study)) == 5
    assert answers(study) == [("extend", True, "5 trials instead of 3")]
    assert waiting(study) == []


def test_a_trial_whose_stop_was_cut_off_before_the_answer_is_answered(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(*OPTIONS)
    answer = Journal.answer

    def kill(*_: object) -> None:
        raise killed

    monkeypatch.setattr(Journal, "answer", kill)
    with pytest.raises(killed):
        driver.sweep(study, watch=once(has_epochs(1, 1), study, Command(verb="stop", trial=1)))
    monkeypatch.setattr(Journal, "answer", answer)
    driver.sweep(study)
    assert answers(study) == [("stop", True, "trial 1 is stopped after 1 epoch")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "expected a mapping"),
        (b"{", "expected a command as JSON, found something else"),
        (b'{"verb":"stop"}', "id: missing"),
        (
            b'{"verb":"run","id":"a","at":1,"by":"me"}',
            "verb: must be 'stop', 'enqueue', 'extend' or 'pause'",
        ),
        (b'{"verb":"stop","id":"a","at":1,"by":"me"}', "stop: trial missing"),
        (b'{"verb":"extend","id":"a","at":1,"by":"me","trials":-3}', "trials: must be greater than or equal to 1"),
        (b'{"verb":"stop","id":"../a","at":1,"by":"me","trial":1}', "id: must be letters, digits"),
        (b" " * 70_000, "expected a file of at most 64 KiB"),
    ],
)
def test_a_file_that_is_no_command_is_one_line(
    make_study: MakeStudy, driver: Any, content: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study("search.trials=1", "train.epochs=1")
    folder = _claimed(study) / "commands"
    folder.mkdir()
    (folder / "bad.json").write_bytes(content)
    (folder / "note.txt").write_text("not looked at")
    driver.sweep(study)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bad.json" in line]
    assert words in line
    assert line.startswith("warning: ")
    assert [path.name for path in folder.iterdir()] == ["note.txt"]
    assert answers(study) == []


def test_the_command_is_a_line_that_older_versions_pass_over(make_study: MakeStudy, driver: Any) -> None:
    study = make_study(*OPTIONS, "train.epochs=1")
    driver.sweep(study, watch=once(has_epochs(0, 1), study, Command(verb="extend", trials=1, by="me@here", id="abc")))
    lines = (study.folder / "journal.jsonl").read_text().splitlines()
    (event,) = [event for event in map(json.loads, lines) if event["event"] == "command"]
    event.pop("at")
    assert event == {
        "event": "command",
        "id": "abc",
        "verb": "extend",
        "by": "me@here",
        "trials": 1,
        "total": 4,
        "done": True,
        "answer": "4 trials instead of 3",
    }
