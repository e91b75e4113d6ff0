from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.errors import StoreAwayError, StoreError
from search.storage.store import Store


def test_files_are_written_listed_read_and_removed(store: Store) -> None:
    store.check()
    assert store.list() == {}
    store.write("a.txt", b"one")
    store.write_all({"trials/k 1/b": b"two", "trials/k 1/c": b"", "trials/k2/b": b"three"})
    assert {name: size for name, (_, size) in store.list().items()} == {
        "a.txt": 3,
        "trials/k 1/b": 3,
        "trials/k 1/c": 0,
        "trials/k2/b": 5,
    }
    assert set(store.list("trials/k2")) == {"trials/k2/b"}
    assert store.read("trials/k 1/b") == b"two"
    assert store.read("none") is None
    assert dict(store.read_all(["a.txt", "none"])) == {"a.txt": b"one", "none": None}
    assert store.stamps(["a.txt", "none"])["a.txt"][1] == 3
    assert "none" not in store.stamps(["a.txt", "none"])
    store.write("a.txt", b"another")
    assert store.below("trials", "k 1").read("b") == b"two"
    store.delete_all(["a.txt", "none", "trials/k 1/", "no-folder/"])
    assert set(store.list()) == {"trials/k2/b"}
    assert store.read("a.txt") is None


def test_a_file_that_was_written_again_is_told_from_the_old_one(bucket: str, tmp_path: Path) -> None:
    for store in (Store(bucket), Store(f"file://{tmp_path}/x")):
        store.write("a", b"1")
        assert store.list()["a"] == store.stamps(["a"])["a"]
        assert store.list()["a"][0] is not None


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("nothing://a/b", "Protocol not known"),
        ("s3:///runs", "no bucket"),
        ("s3://bucket?endpoint=127.0.0.1:1", "unknown option endpoint; known are endpoint_override"),
        ("gs://bucket?colour=1", "Unexpected query parameter"),
    ],
)
def test_a_uri_that_nobody_knows_is_refused_in_words(uri: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        Store(uri)


def test_a_missing_bucket_is_named(bucket: str) -> None:
    uri = bucket.replace("s3://", "s3://no-")
    with pytest.raises(StoreError, match=r"s3://no-bucket-.*: expected the bucket no-bucket-.*, found none; create it"):
        Store(uri).below("runs").check()
    with pytest.raises(StoreError, match="NO_SUCH_BUCKET"):
        Store(uri).write("a", b"1")


def test_a_server_that_is_away_is_told_from_one_that_refuses() -> None:
    with pytest.raises(StoreAwayError, match="s3://bucket/runs: unreachable"):
        Store("s3://bucket/runs?endpoint_override=127.0.0.1:1&scheme=http").check()


@pytest.fixture
def strict(s3_port: int, bucket: str) -> Iterator[None]:
    """The server asks for credentials, once the bucket is there."""
    _moto(s3_port, "0")
    yield
    _moto(s3_port, "inf")


def _moto(port: int, count: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/moto-api/reset-auth", body=count)
    assert connection.getresponse().status == 200


@pytest.mark.usefixtures("strict")
def test_wrong_credentials_are_refused_and_not_shown(bucket: str) -> None:
    uri = bucket.replace("s3://", "s3://somebody:passw0rd@")
    with pytest.raises(
        StoreError, match=r"refused \(ACCESS_DENIED.*; correct the address, the bucket or the cred"
    ) as raised:
        Store(uri).check()
    assert "passw0rd" not in str(raised.value)
    with pytest.raises(StoreError, match="refused"):
        Store(uri).write("a", b"1")
