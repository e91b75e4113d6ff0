from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from search.errors import InputError, JournalError, StorageFaultError, StudyLockedError
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_events, read_records
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord

MakeRecord = Callable[..., TrialRecord]
MakeEpoch = Callable[..., EpochMetrics]


@pytest.fixture
def written(tmp_path: Path, make_record: MakeRecord, make_epoch: MakeEpoch) -> Path:
    """A study folder whose journal holds one trial of each outcome."""
    with Journal(tmp_path) as journal:
        for key in "abcd":
            journal.begin(make_record(key, number="abcd".index(key)))
            journal.epoch(key, make_epoch(1, 0.5), f"node-{key}")
        journal.end("a", Completed(), test_accuracy=0.75, artifacts={"confusion": "trials/a/confusion.npy"})
        journal.end("b", Stopped(epoch=1))
        journal.end("c", Failed(reason="broke", diverged=True))
        journal.note("session", verb="sweep")
    return tmp_path


def test_records_are_rebuilt_from_the_file(written: Path, make_epoch: MakeEpoch) -> None:
    records = read_records(written)
    assert list(records) == list("abcd")
    assert [records[key].outcome for key in "abcd"] == [
        Completed(),
        Stopped(epoch=1),
        Failed(reason="broke", diverged=True),
        None,
    ]
    first = records["a"]
    assert first.curve == (make_epoch(1, 0.5),)
    assert (first.node, first.test_accuracy, first.blocks) == ("node-a", 0.75, ("sweep-0",))
    assert first.artifacts == {"confusion": "trials/a/confusion.npy"}
    assert first.finished_at is not None
    assert records["d"].finished_at is None


def test_the_writer_and_the_reader_agree(tmp_path: Path, make_record: MakeRecord, make_epoch: MakeEpoch) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(make_record("a", point={"rnn": "gru", "lr": 0.1, "on": True, "nodes": 8}))
        journal.epoch("a", make_epoch(1, 1 / 3), "n")
        journal.end("a", Failed(reason="lost"))
        journal.resume("a")
        journal.epoch("a", make_epoch(2, 2 / 3), "m")
        assert read_records(tmp_path) == journal.records
        record = journal.records["a"]
    assert (record.outcome, record.finished_at, record.resumed, record.node) == (None, None, 1, "m")
    assert [epoch.epoch for epoch in record.curve] == [1, 2]
    assert list(map(type, record.point.values())) == [str, float, bool, int]


def test_what_an_epoch_was_computed_with_is_noted_when_it_is_news(
    tmp_path: Path, make_record: MakeRecord, make_epoch: MakeEpoch
) -> None:
    one, two = {"device": "cpu AVX2", "threads": 1}, {"device": "cpu AVX512", "threads": 1}
    with Journal(tmp_path) as journal:
        journal.begin(make_record("a"))
        for epoch, machine in enumerate((one, one, two), start=1):
            journal.epoch("a", make_epoch(epoch, 0.5), "n", machine)
        journal.end("a", Completed())
    noted = [event.get("machine") for event in read_events(tmp_path / FILE_NAME) if event["event"] == "epoch"]
    assert noted == [one, None, two]
    assert read_records(tmp_path)["a"].machine == two


def test_lines_of_older_versions_are_read(tmp_path: Path, make_epoch: MakeEpoch) -> None:
    lines = [
        {"event": "begin", "at": 1.0, "key": "a", "number": 0, "label": "", "kind": "trial", "point": {}, "blocks": []},
        {"event": "epoch", "at": 2.0, "key": "a", "node": "n", "metrics": dataclasses.asdict(make_epoch(1, 0.5))},
        {"event": "end", "at": 3.0, "key": "a", "outcome": {"word": "failed", "reason": "nan", "diverged": True}},
    ]
    (tmp_path / FILE_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = read_records(tmp_path)["a"]
    assert (record.machine, record.val_accuracy) == ({}, 0.5)
    assert record.outcome == Failed(reason="nan", diverged=True, epoch=None)


def test_an_epoch_told_twice_replaces_itself_and_what_followed(
    tmp_path: Path, make_record: MakeRecord, make_epoch: MakeEpoch
) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(make_record("a"))
        for epoch, value in [(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)]:
            journal.epoch("a", make_epoch(epoch, value), "n")
        journal.begin(make_record("a", label="again"))
    record = read_records(tmp_path)["a"]
    assert [(item.epoch, item.val_accuracy) for item in record.curve] == [(1, 0.1), (2, 0.25)]
    assert record.label == "trial a"


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert read_records(tmp_path) == {}


def test_a_cut_last_line_is_passed_over_and_mended(written: Path, make_record: MakeRecord) -> None:
    path = written / FILE_NAME
    whole = path.read_bytes()
    line = json.dumps({"event": "begin", "key": "zz", "label": "never seen"}).encode()
    before = read_records(written)
    for cut in (1, 9, len(line) - 1):
        path.write_bytes(whole + line[:cut])
        assert read_records(written) == before
        with Journal(written) as journal:
            assert journal.records == before
            journal.begin(make_record("e", number=4))
        with Journal(written) as journal:
            journal.end("e", Completed())
        records = read_records(written)
        assert list(records) == list("abcde")
        assert records["e"].outcome == Completed()


def test_a_whole_last_line_without_its_newline_counts(written: Path, make_record: MakeRecord) -> None:
    path = written / FILE_NAME
    path.write_bytes(path.read_bytes() + b'{"event":"end","at":1.0,"key":"d","outcome":{"word":"completed"}}')
    assert read_records(written)["d"].outcome == Completed()
    with Journal(written) as journal:
        journal.begin(make_record("e", number=4))
    assert read_records(written)["d"].outcome == Completed()
    assert list(read_records(written)) == list("abcde")


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe", b"not json"])
def test_a_damaged_middle_line_is_refused(written: Path, damage: bytes) -> None:
    path = written / FILE_NAME
    lines = path.read_bytes().split(b"\n")
    lines[2] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=rf"{FILE_NAME}:3: not a JSON line; the journal was damaged, restore it"):
        Journal(written)
    with pytest.raises(InputError, match=":3:"):
        list(read_events(path))


def _try_to_open(folder: str, sender: multiprocessing.connection.Connection) -> None:
    try:
        Journal(Path(folder)).close()
        sender.send("opened")
    except StudyLockedError as error:
        sender.send(str(error))


def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def attempt() -> str:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_try_to_open, args=(str(tmp_path), sender))
        process.start()
        message = str(receiver.recv())
        process.join()
        return message

    with Journal(tmp_path):
        message = attempt()
    assert f"process {os.getpid()} on " in message
    assert message.endswith("is working on this study; wait for it, or stop it first")
    assert attempt() == "opened"


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(StudyLockedError, match="is working on this study"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_nan_never_enters_the_journal(tmp_path: Path, make_record: MakeRecord, make_epoch: MakeEpoch) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(make_record("a"))
        with pytest.raises(ValueError, match="JSON compliant"):
            journal.epoch("a", make_epoch(1, float("nan")), "n")
    assert read_records(tmp_path)["a"].curve == ()


class ShortWriter:
    """A full disk takes a part of a line and says so by its count only."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, line: bytes) -> int:
        return len(line) // 2

    def close(self) -> None:
        pass


def test_a_line_that_did_not_fit_is_an_error(tmp_path: Path, make_record: MakeRecord) -> None:
    journal = Journal(tmp_path)
    stream = journal._stream
    journal._stream = ShortWriter(stream)  # type: ignore[assignment]
    try:
        with pytest.raises(JournalError, match=r"journal\.jsonl: cannot be written"):
            journal.begin(make_record("a"))
    finally:
        journal.close()
        stream.close()


def test_a_line_that_is_missing_in_the_middle_is_told(
    tmp_path: Path, make_record: MakeRecord, make_epoch: MakeEpoch
) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(make_record("a", number=0))
        for epoch in (1, 2, 3, 3, 4):  # one is told twice
            journal.epoch("a", make_epoch(epoch, 0.5), "node")
    path = tmp_path / FILE_NAME
    lines = path.read_text().splitlines(keepends=True)
    assert len(read_records(tmp_path)["a"].curve) == 4
    missing = next(number for number, line in enumerate(lines) if json.loads(line)["event"] == "epoch")
    path.write_text("".join(lines[:missing] + lines[missing + 1 :]))
    with pytest.raises(InputError, match="epoch 2 of trial a follows epoch 0; lines are missing"):
        read_records(tmp_path)


@pytest.mark.parametrize("how", ["moved", "removed", "replaced", "edited"])
def test_a_journal_that_is_no_longer_at_its_path_is_not_written(
    tmp_path: Path, make_record: MakeRecord, how: str
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    with Journal(folder) as journal:
        journal.begin(make_record("a", number=0))
        whole = journal.path.read_bytes()
        if how == "removed":
            shutil.rmtree(folder)
        elif how == "edited":  # as editors save
            (folder / "new").write_bytes(whole)
            (folder / "new").replace(journal.path)
        else:
            folder.rename(tmp_path / "moved")
        if how == "replaced":
            shutil.copytree(tmp_path / "moved", folder)
        for act in (lambda: journal.begin(make_record("b", number=1)), journal.check, lambda: journal.note("stop")):
            with pytest.raises(JournalError, match=r"journal\.jsonl: it was moved, removed or replaced while this"):
                act()
    for left in tmp_path.glob("*/journal.jsonl"):
        assert left.read_bytes() == whole
    assert folder.exists() == (how in {"replaced", "edited"})


def test_a_lock_that_the_file_system_refuses_is_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        StorageFaultError, match=(r"lock: .* \(No locks available\); enable file locking on this file system")
    ):
        Journal(tmp_path)
