"""The second terminal: real sweeps in one process, stopped, extended and paused from others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.commands import control, removal
from search.commands.control import parse_point, send
from search.commands.studies import list_studies
from search.errors import InputError, NothingToDoError, StudyLockedError
from search.journal.commands import Command
from search.journal.journal import Journal
from search.journal.reading import read_events, read_history, read_records
from search.records import Completed, Stopped
from search.report import overview
from search.report.overview import make_overview
from search.report.status_lines import to_lines
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.study.load import find_study

COMMAND = [sys.executable, "-m", "search.cli"]


@pytest.fixture
def file(study_data: dict[str, Any], tmp_path: Path) -> Path:
    """A study whose first trial takes minutes."""
    study_data |= {
        "data": {"name": "digits", "limit": 200},
        "fix": {"rnn": "none"},
        "train": {"epochs": 200, "batch": 4, "precision": "float32"},
        "search": {"trials": 1, "scheduler": "none"},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_data, sort_keys=False))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of its study."""
    return tmp_path / "runs" / "tiny"


@pytest.fixture
def start(file: Path, folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start its sweep in another process, and wait until it has trained an epoch."""
    processes = []

    def begin(*options: str) -> subprocess.Popen[str]:
        before = num_epochs(folder)
        process = subprocess.Popen([*COMMAND, "sweep", str(file), *options], stderr=subprocess.PIPE, text=True)
        processes.append(process)
        eventually(lambda: process.poll() is not None or num_epochs(folder) > before)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def num_epochs(folder: Path) -> int:
    return sum(len(item.curve) for item in read_records(folder).values())


def is_training(folder: Path, number: int) -> bool:
    return any(item.number == number and item.curve for item in read_records(folder).values())


def eventually(holds: Callable[[], object], secs: float = 90.0) -> None:
    until = time.monotonic() + secs
    while not holds():
        assert time.monotonic() < until, "did not come about in time"
        time.sleep(0.1)


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_a_running_sweep_is_extended_stopped_and_paused_from_another_process(
    start: Callable[..., subprocess.Popen[str]], file: Path, folder: Path
) -> None:
    driver = start()
    study = find_study(folder)
    # What would destroy it is refused.
    for act in (removal.archive, removal.delete):
        with pytest.raises(StudyLockedError, match=f"process {driver.pid} on .*; end it first, with `hybrid-search pa"):
            act(study)
    (row,) = list_studies(str(folder.parent))
    assert (row.name, row.state, row.num_planned) == ("tiny", "sweep runs", 1)
    # What changes it is answered.
    extended = call("extend", file, "--trials", 2, "--json")
    assert extended.returncode == 0, extended.stderr
    assert json.loads(extended.stdout)["answer"] == "3 trials instead of 1"
    enqueued = send(study, Command(verb="enqueue", point=parse_point("rnn=none,dropout=0.2,lr=1e-3")))
    assert enqueued.answer == "it is the next new trial, after those enqueued before it"
    stopped = send(study, Command(verb="stop", trial=0))
    (first,) = [record for record in read_records(folder).values() if record.number == 0]
    assert first.outcome == Stopped(epoch=len(first.curve), by_hand=True)
    assert str(stopped.answer).startswith(f"trial 0 is stopped after {len(first.curve)} epoch")
    eventually(lambda: is_training(folder, 1))
    again = call("stop", file, "--trial", 0)
    assert (again.returncode, again.stdout) == (2, "")
    assert "expected a trial that has not ended, found 0, which is stopped after epoch" in again.stderr
    assert again.stderr.count("\n") == 1
    paused = call("pause", file)
    assert (paused.returncode, paused.stdout.split(";")[0]) == (0, "saving the running trials")
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "error: interrupted by `hybrid-search pause`; everything is saved" in said
    assert "tiny: stop --trial 0 (from " in said
    records = list(read_records(folder).values())
    assert [record.outcome for record in records[1:]] == [None]
    assert dict(records[1].point)["lr"] == 0.001
    lines = to_lines(make_overview(study))
    assert lines[1].startswith("trials      1/3: 0 completed, 1 stopped, 0 failed, 1 unfinished")
    assert "command     pause: saving the running trials; run the same command again to continue" in lines
    # The next start does what was sent meanwhile, and has all planned trials, although the study file plans one.
    waits = send(study, Command(verb="stop", trial=1))
    assert (waits.answer, waits.words.partition(str(folder))[0]) == (None, "no command runs ")
    assert "done at the next start" in waits.words
    assert "command     stop --trial 1: waits for the driver" in to_lines(make_overview(study))
    driver = start()
    assert read_records(folder)[records[1].key].outcome == Stopped(epoch=len(records[1].curve), by_hand=True)
    assert send(study, Command(verb="stop", trial=2)).answer is not None
    driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert [event["verb"] for event in read_events(folder / "journal.jsonl") if event["event"] == "command"] == [
        *("extend", "enqueue", "stop", "pause", "stop", "stop")
    ]


@pytest.mark.slow
def test_a_sweep_on_another_machine_is_reached_through_its_object_store(
    study_data: dict[str, Any], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"file://{tmp_path}/store"
    file.write_text(yaml.safe_dump({**study_data, "storage": uri}, sort_keys=False))
    there, here = tmp_path / "there", tmp_path / "here"
    monkeypatch.setenv("HYBRID_SEARCH_STATE", str(here))
    driver = subprocess.Popen(
        [*COMMAND, "sweep", str(file)],
        env={**os.environ, "HYBRID_SEARCH_STATE": str(there)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: driver.poll() is not None or any(map(num_epochs, there.glob("*/tiny"))))
        study = find_study(f"{uri}/tiny")
        assert send(study, Command(verb="extend", trials=1)).answer == "2 trials instead of 1"
        assert str(send(study, Command(verb="stop", trial=0)).answer).startswith("trial 0 is stopped after ")
        assert send(study, Command(verb="pause")).answer is not None
        driver.communicate(timeout=60)
        assert driver.returncode == 130
    finally:
        driver.kill()
    study = find_study(f"{uri}/tiny")
    assert to_lines(make_overview(study))[1].startswith("trials      1/2: 0 completed, 1 stopped, 0 failed")
    waits = send(study, Command(verb="extend", trials=1))
    assert waits.words.startswith(f"no command runs {uri}/tiny now; done at the next start")


def test_the_status_is_shown_again_until_ctrl_c(
    make_study: Callable[..., StudyConfig], make_record: Callable[..., Any], tmp_path: Path
) -> None:
    folder = claim_folder(make_study())
    with Journal(folder) as journal:
        journal.begin(make_record("a"))
    watching = subprocess.Popen(
        [*COMMAND, "status", str(folder), "--watch"], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("study       tiny")
        assert "0 completed, 0 stopped, 0 failed, 1 unfinished" in watching.stdout.readline()
        with Journal(folder) as journal:
            journal.end("a", Completed())
        seen = ""
        while "1 completed" not in seen:
            seen = watching.stdout.readline()
            assert seen
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=30)
        assert watching.returncode == 0
    finally:
        watching.kill()


def test_a_watched_status_is_no_single_document(tmp_path: Path) -> None:
    for option in ("--json", "--check", "--importance"):
        refused = call("status", tmp_path, "--watch", option)
        assert refused.returncode == 2
        assert "status --watch: expected no --check, --importance or --json beside it" in refused.stderr


SIZES = ("height", "width", "num_train", "num_test")


@pytest.fixture
def begun(make_study: Callable[..., StudyConfig], make_record: Callable[..., Any]) -> StudyConfig:
    """A study with a trial that has ended and one that has not; no command runs it."""
    study = make_study("fix.rnn=none")
    point = {**study.build_space().point({"rnn": "none", "dropout": 0.0, "lr": 0.002})}
    with Journal(claim_folder(study)) as journal:
        journal.note("session", version=2, verb="sweep")
        journal.begin(make_record("a", number=0, point=point))
        journal.end("a", Completed())
        journal.begin(make_record("b", number=1))
    return study


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Command(verb="stop", trial=0), "--trial: expected a trial that has not ended, found 0, which is completed"),
        (Command(verb="stop", trial=5), r"--trial: expected a trial of .*tiny, found 5; running: 1"),
        (Command(verb="enqueue", point={"dropout": 0.0, "lr": 0.002}), r"found that of trial 0 \(trial a\)"),
        (Command(verb="enqueue", point={"dropout": 0.1, "lr": 0.002}), "dropout: expected one of 0.0, 0.2, found 0.1"),
        (Command(verb="enqueue", point={"dropout": 0.0, "rnn": "gru"}), "rnn: expected exactly none, found gru"),
    ],
)
def test_what_can_never_be_done_is_refused_at_once(begun: StudyConfig, command: Command, words: str) -> None:
    with pytest.raises(InputError, match=words):
        send(begun, command)
    assert not (begun.folder / "commands").exists()


def test_a_point_above_a_limit_is_refused_at_once(begun: StudyConfig, facts: DataFacts) -> None:
    """The last start recorded what the counts of a model depend on."""
    limited = begun.model_copy(update={"search": begun.search.model_copy(update={"limits": {"macs": 1.0}})})
    with Journal(begun.folder) as journal:
        data = {"name": "folder", "digest": facts.key, **{key: getattr(facts, key) for key in SIZES}}
        journal.note("session", version=2, verb="sweep", data=data, classes=list(facts.classes))
    with pytest.raises(InputError, match=r"enqueue: macs is above search\.limits\.macs 1"):
        send(limited, Command(verb="enqueue", point={"dropout": 0.0, "lr": 0.003}))
    assert not (begun.folder / "commands").exists()


def test_a_command_that_only_ends_its_copies_takes_no_more_commands(begun: StudyConfig) -> None:
    with Journal(begun.folder) as journal:
        assert control.driven_by(begun) == "sweep"
        journal.note("stop")
        assert control.driven_by(begun) is None


def test_a_study_that_nobody_drives_is_not_paused(begun: StudyConfig) -> None:
    with pytest.raises(NothingToDoError, match="expected a sweep or comparison that runs, found none"):
        send(begun, Command(verb="pause"))


def test_a_command_is_not_written_through_a_link(begun: StudyConfig, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (begun.folder / "commands").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="commands: expected a folder, found a link; remove it"):
        send(begun, Command(verb="extend", trials=1))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_answered_command_waits_no_more(begun: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is still there if the driver was killed after it had answered."""
    from search.journal.commands import Answer

    command = Command(verb="stop", trial=1)
    control.write(begun.location, command)
    monkeypatch.setattr(Journal, "_forget_command", lambda *_: None)
    with Journal(begun.folder) as journal:
        journal.answer(command, Answer(done=True, words="trial 1 is stopped after 0 epochs"))
    assert list((begun.folder / "commands").iterdir())
    words = overview._commands(begun, read_history(begun.folder))
    assert words == ("stop --trial 1: trial 1 is stopped after 0 epochs",)


def test_what_the_driver_refuses_is_an_error(begun: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.journal.commands import Answer

    def answered(location: Any, command: Command) -> None:
        with Journal(begun.folder) as journal:
            journal.answer(command, Answer(done=False, words="trial 1 has ended already: failed"))

    monkeypatch.setattr(control, "driven_by", lambda _: "sweep")
    monkeypatch.setattr(control, "write", answered)
    with pytest.raises(InputError, match=r"tiny: stop --trial 1: trial 1 has ended already: failed$"):
        send(begun, Command(verb="stop", trial=1))


@pytest.mark.parametrize(
    ("verb", "words"),
    [(None, "no command runs"), ("compare", "`compare` runs"), ("sweep", "sent; no answer within 0 s")],
)
def test_a_command_without_an_answer_says_what_becomes_of_it(
    begun: StudyConfig, monkeypatch: pytest.MonkeyPatch, verb: str | None, words: str
) -> None:
    monkeypatch.setattr(control, "driven_by", lambda _: verb)
    sent = send(begun, Command(verb="extend", trials=2), patience_secs=0.3)
    assert sent.answer is None
    assert sent.words.startswith(words)
    assert len(list((begun.folder / "commands").iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ecrnn/cn", "no preset is called 'ecrnn/cn'; did you mean ecrnn/cnn"),
        ("nods=4", r"enqueue\.nods: expected a setting .*; did you mean nodes"),
        ("nodes=many", r"enqueue\.nodes: "),
        ("nodes=4,8", "expected each name=value once, separated by commas, found '8'"),
        ("nodes=4,nodes=8", "expected each name=value once, separated by commas, found 'nodes=8'"),
        ("rnn=[", "found 'rnn=\\['"),
        ("a.b=1", "found 'a.b=1'"),
    ],
)
def test_a_wrong_point_is_one_line(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_point(text)
    assert len(caught.value.faults) == 1


def test_a_point_is_a_preset_or_values() -> None:
    assert parse_point("ecrnn/cnn") == "ecrnn/cnn"
    point = {"fc": "-", "enc_on": False, "lr": 1e-5, "nodes": 8}
    assert parse_point(Command(verb="enqueue", point=point).words.removeprefix("enqueue ")) == point
    assert parse_point("rnn=gru, nodes=8,lr=1e-3,enc_on=false") == {
        "rnn": "gru",
        "nodes": 8,
        "lr": 0.001,
        "enc_on": False,
    }
