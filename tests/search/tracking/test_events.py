"""What the journal's reader takes, and that everything else is one line with file and number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.errors import InputError
from search.journal import events
from search.journal.commands import answers_in, num_planned
from search.journal.follower import Follower
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_id, read_records
from search.records import Completed, EpochMetrics, Stopped, TrialRecord
from search.text.names import is_relative_path

RECORDED = Path(__file__).parent / "recorded"
"""Journals of versions of the program, as they wrote them."""


@pytest.fixture
def written(tmp_path: Path, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]) -> Path:
    with Journal(tmp_path) as journal:
        journal.note("session", version=1, verb="sweep", classes=["a", "b"])
        journal.begin(make_record("a", number=0))
        journal.epoch("a", make_epoch(1, 0.5), "node")
        journal.end("a", Completed(), artifacts={"confusion": "trials/a/confusion.npy"})
    return tmp_path


def begin(**fields: Any) -> bytes:
    event = {"event": "begin", "at": 1.0, "key": "b", "number": 1, "label": "b", "kind": "trial"}
    return json.dumps({**event, "point": {}, "blocks": ["sweep-0"], **fields}).encode()


def epoch(**fields: Any) -> bytes:
    event = {"epoch": 2, "train_loss": 0.5, "train_accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}
    metrics = {**event, "learning_rate": 0.1, "elapsed_secs": 1.0, "num_images": 10, **fields}
    return json.dumps({"event": "epoch", "at": 1.0, "key": "a", "node": "n", "metrics": metrics}).encode()


def end(**fields: Any) -> bytes:
    return json.dumps({"event": "end", "at": 1.0, "key": "a", "outcome": {"word": "completed"}, **fields}).encode()


HOSTILE = {
    "a list": (b"[]", r"expected \{\"event\": \.\.\.\}, found \[\]"),
    "a number": (b"1e300", "found 1e300"),
    "a text": (b'"\\u001b[2J"', "found"),
    "an escape": (b"\x1b[2J", "not a JSON line"),
    "an event of no kind": (b'{"event": 3, "at": 1}', "expected"),
    "no time": (b'{"event": "stop"}', "stop: at: missing"),
    "a late time": (b'{"event": "stop", "at": 1e300}', "stop: at: must be less than or equal to 100000000000, got 1e"),
    "NaN": (b'{"event": "stop", "at": NaN}', "NaN is not a JSON number"),
    "infinity": (b'{"event": "stop", "at": -Infinity}', "-Infinity is not a JSON number"),
    "above a float": (b'{"event": "stop", "at": 1e999}', "1e999 is not a JSON number"),
    "a key twice": (b'{"event": "stop", "at": 1, "at": 2}', "key 'at' occurs twice"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "deep inside": (b'{"event":"stop","at":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "half a pair": (b'{"event": "stop", "at": 1, "x": "\\ud800"}', "not a JSON line"),
    "a NUL": (b'{"event": "stop", "at": 1, "x": "\\u0000"}', "contains a NUL"),
    "raw NULs": (b"\0" * 50, "not a JSON line"),
    "UTF-16": ('{"event": "stop"}'.encode("utf-16"), "not a JSON line"),
    "a key that leads away": (begin(key="../../../../victim"), r"begin: key: must be letters.*, got '\.\./\.\./"),
    "an absolute key": (begin(key="/victim"), "begin: key: must be letters"),
    "a dot": (begin(key="."), "begin: key: must be letters"),
    "a key with a line break": (begin(key="b\n"), "begin: key: must be letters"),
    "a key in another alphabet": (begin(key="ключ"), "begin: key: must be letters"),
    "a key that is a number": (begin(key=7), "begin: key: expected text, got 7"),
    "no point": (begin(point=[]), r"begin: point: expected a mapping, got \[\]"),
    "a nested point": (begin(point={"lr": {"a": {}}}), r"begin: point\.lr\.a: .*got \{\}"),
    "a number of a trial": (begin(number=10**9), "begin: number: must be less than 1000000, got 1000000000"),
    "a negative number": (begin(number=-1), "begin: number: must be greater than or equal to 0, got -1"),
    "a kind": (begin(kind="sweep"), "begin: kind: must be 'trial' or 'repeat'"),
    "an accuracy": (epoch(val_accuracy=1e300), r"epoch: metrics\.val_accuracy: must be less than or equal to 1, got"),
    "an epoch as text": (epoch(epoch="2"), r"epoch: metrics\.epoch: expected a whole number, got '2'"),
    "an epoch as a number": (epoch(epoch=1e300), r"epoch: metrics\.epoch: .*got 1e\+300"),
    "an epoch that is missing": (epoch(epoch=5), "epoch: epoch 5 of trial a follows epoch 1; lines are missing"),
    "an outcome": (
        end(outcome={"word": "won"}),
        r"end: outcome\.word: must be 'completed', .*'failed' or 'infeasible'",
    ),
    "an unknown trial": (end(key="zz"), "end: trial 'zz' was never started"),
    "a file elsewhere": (end(artifacts={"x": "../../etc/passwd"}), r"end: artifacts\.x.*must be a path below"),
    "an absolute file": (end(artifacts={"x": "/etc/passwd"}), "must be a path below"),
    "a file of a comparison": (
        b'{"event": "comparison", "at": 1, "key": "k", "artifacts": ["comparison/../../x"]}',
        r"comparison: artifacts\.0.*must be a path below",
    ),
    "a report elsewhere": (b'{"event": "report", "at": 1, "digest": "d", "artifacts": ["/x"]}', "must be a path below"),
    "a command without an answer": (
        b'{"event": "command", "at": 1, "id": "a", "verb": "stop"}',
        "command: done: missing",
    ),
    "a command with a key that leads away": (
        b'{"event": "command", "at": 1, "id": "../a", "verb": "stop", "done": true, "answer": ""}',
        "command: id: must be letters",
    ),
    "a study of too many trials": (
        b'{"event": "command", "at": 1, "id": "a", "verb": "extend", "done": true, "answer": "", "total": 9999999}',
        "command: total: must be less than 1000000",
    ),
    "a stop by whom": (
        end(outcome={"word": "stopped", "epoch": 1, "by_hand": "me"}),
        r"end: outcome\.by_hand: expected true or false",
    ),
    "a later version": (
        b'{"event": "session", "at": 1, "verb": "sweep", "version": 4}',
        "the journal has version 4, but this program reads versions up to 3; install the newer version",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_that_is_no_event_is_one_line(written: Path, name: str) -> None:
    line, words = HOSTILE[name]
    path = written / FILE_NAME
    path.write_bytes(path.read_bytes() + line + b"\n" + begin() + b"\n")
    readers = {"reader": read_records, "writer": Journal, "mirror": lambda folder: Follower(folder).read()}
    for reader, read in readers.items():
        with pytest.raises(InputError, match=words) as caught:
            read(written)
        (fault,) = caught.value.faults
        assert fault.startswith(f"{path}:5: "), reader
        assert fault.isprintable()
        assert len(fault) < 400 + len(str(path))


def test_a_line_of_a_gigabyte_is_not_read_whole(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_LINE_BYTES", 1 << 20)
    path = written / FILE_NAME
    before = read_records(written)
    with path.open("ab") as stream:
        stream.truncate(path.stat().st_size + (3 << 20))
    with pytest.raises(InputError, match=r":5: expected at most 1 MiB in a line, found more"):
        read_records(written)
    with path.open("ab") as stream:
        stream.truncate(path.stat().st_size - (3 << 20))
    assert read_records(written) == before


@pytest.mark.parametrize("edit", ["carriage returns", "a byte order mark", "both"])
def test_what_an_editor_adds_changes_nothing(written: Path, edit: str, make_record: Callable[..., TrialRecord]) -> None:
    path = written / FILE_NAME
    before, known_as = read_records(written), read_id(written)
    content = path.read_bytes()
    if edit != "a byte order mark":
        content = content.replace(b"\n", b"\r\n")
    if edit != "carriage returns":
        content = b"\xef\xbb\xbf" + content
    path.write_bytes(content)
    assert read_records(written) == before
    assert read_id(written) == known_as
    with Journal(written) as journal:
        assert journal.id == known_as
        journal.begin(make_record("b", number=1))
    assert list(read_records(written)) == ["a", "b"]
    follower = Follower(written)
    follower.read()
    assert follower.journal_id == known_as
    assert list(follower.records) == ["a", "b"]


@pytest.mark.parametrize("tail", [b"[" * 200_000, b'{"event": "begin", "key": "b', b"\0\0\0"])
def test_a_last_line_that_was_cut_off_is_passed_over(written: Path, tail: bytes) -> None:
    path = written / FILE_NAME
    before = read_records(written)
    path.write_bytes(path.read_bytes() + tail)
    assert read_records(written) == before
    Journal(written).close()
    assert read_records(written) == before


@pytest.mark.parametrize("reason", ["OSError: [Errno 24] Too many open files: 'x'", "PermissionError: [Errno 13] no"])
def test_a_trial_that_the_machine_failed_in_an_older_version_is_resumed(
    written: Path, reason: str, make_record: Callable[..., TrialRecord]
) -> None:
    path = written / FILE_NAME
    with Journal(written) as journal:
        journal.begin(make_record("b", number=1))
    failed = end(key="b", outcome={"word": "failed", "reason": reason, "diverged": False, "epoch": None})
    lost = end(key="a", outcome={"word": "failed", "reason": "ValueError: [Errno 13] of the model's own"})
    path.write_bytes(path.read_bytes() + failed + b"\n" + lost + b"\n")
    records = read_records(written)
    assert records["b"].outcome is None
    assert records["a"].outcome is not None
    follower = Follower(written)
    follower.read()
    assert follower.records["b"].outcome is None


def test_a_journal_of_the_first_version_is_read(tmp_path: Path) -> None:
    shutil.copy(RECORDED / "journal-1.jsonl", tmp_path / FILE_NAME)
    records = read_records(tmp_path)
    assert [(record.kind, record.label, record.outcome and record.outcome.word) for record in records.values()] == [
        ("trial", "trial 0: cnn", "completed"),
        ("trial", "trial 1: crnn lstm 8", "stopped"),
        ("trial", "trial 2: crnn gru 8", "failed"),
        ("repeat", "trial 0: cnn, compare-0", "completed"),
        ("trial", "trial 3: cnn", None),
    ]
    assert [len(record.curve) for record in records.values()] == [2, 1, 1, 2, 1]
    assert next(iter(records.values())).artifacts["confusion"] == "trials/0f1e2d3c4b5a6978/confusion.npy"
    Journal(tmp_path).close()
    follower = Follower(tmp_path)
    follower.read()
    assert len(follower.comparisons) == 1


def test_a_journal_with_commands_is_read_by_every_reader(tmp_path: Path) -> None:
    shutil.copy(RECORDED / "journal-2.jsonl", tmp_path / FILE_NAME)
    assert [(record.number, record.outcome, len(record.curve)) for record in read_records(tmp_path).values()] == [
        (1, Stopped(epoch=1, by_hand=True), 1),
        (2, Completed(), 2),
    ]
    with Journal(tmp_path) as journal:
        assert [(event["verb"], event["done"]) for event in answers_in(journal.marks)] == [
            *(("extend", True), ("enqueue", True), ("stop", True), ("stop", False), ("pause", True))
        ]
        assert [num_planned(number, journal.marks) for number in (1, 3, 5)] == [3, 3, 5]
    follower = Follower(tmp_path)
    follower.read()
    assert [follower.state_of(record) for record in follower.of_kind("trial")] == [
        ("FINISHED", "stopped"),
        ("FINISHED", "completed"),
    ]


def test_a_field_that_was_added_later_has_its_default() -> None:
    event = json.loads((RECORDED / "journal-1.jsonl").read_text().splitlines()[2])
    old = {name: value for name, value in event["metrics"].items() if name != "num_images"}
    with pytest.raises(TypeError, match="num_images"):  # none of today's has one: they were there from the beginning
        EpochMetrics.from_dict(old)
    assert EpochMetrics.from_dict({**event["metrics"], "added_later": 1}).epoch == 1


@pytest.mark.parametrize("name", ["a", "trials/a/x.npy", "a b.png", "..x", "é.npy"])
def test_names_below_a_folder(name: str) -> None:
    assert is_relative_path(name)


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "a/../b", "..", ".", "./a", "a//b", "a/", "..\\a", "C:/a", "a\0b", "a\nb", "a" * 501]
)
def test_names_that_lead_away(name: str) -> None:
    assert not is_relative_path(name)
