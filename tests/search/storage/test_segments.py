from __future__ import annotations

from pathlib import Path

import pytest

from search.errors import StoreAwayError, StoreError
from search.storage import segments
from search.storage.segments import Segments
from search.storage.store import Store


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def place(folder_uri: str) -> Store:
    return Store(folder_uri)


def reader(place: Store) -> Segments:
    found = Segments(place, "")
    found.refresh()
    return found


def write(place: Store, journal: Path, lines: list[bytes], writer: str = "w") -> Segments:
    """Append lines to the journal here and there."""
    made = Segments(place, writer)
    made.refresh()
    for line in lines:
        size = journal.stat().st_size if journal.exists() else 0
        with journal.open("ab") as stream:
            stream.write(line)
        made.append(size, line)
        made.merge(journal)
    return made


def test_what_was_appended_is_read_from_anywhere(place: Store, journal: Path) -> None:
    assert reader(place).refresh() == 0
    assert reader(place).read(0) == b""
    write(place, journal, [b"one\n", b"two two\n"], "a")
    write(place, journal, [b"three\n"], "b")
    assert reader(place).refresh() == 18
    for start in (0, 2, 4, 12, 17, 18):
        assert reader(place).read(start) == b"one\ntwo two\nthree\n"[start:]


def test_many_segments_become_few_and_no_byte_moves_often(
    place: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 8)
    written = []
    original = Store.write

    def counted(self: Store, name: str, content: bytes) -> None:
        written.append(len(content))
        original(self, name, content)

    monkeypatch.setattr(Store, "write", counted)
    write(place, journal, [b"%05d\n" % number for number in range(400)])
    assert len(place.list()) <= 8
    assert reader(place).read(0) == journal.read_bytes()
    assert sum(written) < 8 * journal.stat().st_size


def test_a_merge_that_was_cut_off_before_it_removed_anything_does_no_harm(place: Store, journal: Path) -> None:
    write(place, journal, [b"one\n", b"two\n", b"three\n"], "a")
    place.write("000000000000000-b.jsonl", b"one\ntwo\n")
    place.write("000000000000004-c.jsonl", b"two\nthree\n")
    assert reader(place).read(0) == b"one\ntwo\nthree\n"
    assert reader(place).read(5) == b"wo\nthree\n"


def test_a_merge_while_somebody_reads_does_no_harm(place: Store, journal: Path) -> None:
    write(place, journal, [b"one\n", b"two\n"], "a")
    looked = reader(place)
    place.write("000000000000000-000000000000008-a.jsonl", b"one\ntwo\n")
    place.delete("000000000000004-000000000000008-a.jsonl")
    assert looked.read(0) == b"one\ntwo\n"


def test_a_missing_segment_is_named(place: Store, journal: Path) -> None:
    write(place, journal, [b"one\n", b"two\n", b"three\n"])
    place.delete("000000000000004-000000000000008-w.jsonl")
    with pytest.raises(StoreError, match=r"expected the journal's bytes from 4 on, found none; restore the missing"):
        reader(place).read(0)
    assert reader(place).read(8) == b"three\n"


def test_two_writers_of_different_things_are_named(place: Store, journal: Path) -> None:
    write(place, journal, [b"one\n", b"two\n"], "a")
    place.write("000000000000004-b.jsonl", b"2\n")
    with pytest.raises(
        StoreError, match=(r"000000000000004-.*\.jsonl: expected a continuation of the segments before it, found")
    ):
        reader(place).read(0)


def test_a_request_that_arrives_after_its_longer_repetition_takes_nothing_away(
    place: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[tuple[str, bytes]] = []
    original = Store.write

    def hang(self: Store, name: str, content: bytes) -> None:
        late.append((name, content))
        raise StoreAwayError("no answer in time")

    made = Segments(place, "w")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", hang)
        with pytest.raises(StoreAwayError):
            made.append(0, b"one\n")
    write(place, journal, [b"one\ntwo\n", b"three\n"])
    original(place, *late[0])
    assert reader(place).refresh() == 14
    assert reader(place).read(0) == b"one\ntwo\nthree\n"


def test_segments_whose_names_do_not_say_their_end_are_read_and_merged(
    place: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 2)
    journal.write_bytes(b"one\ntwo\n")
    place.write_all({"000000000000000-a.jsonl": b"one\n", "000000000000004-b.jsonl": b"two\n"})
    write(place, journal, [b"three\n"])
    assert list(place.list()) == ["000000000000000-000000000000014-w.jsonl"]
    assert reader(place).read(0) == b"one\ntwo\nthree\n"
