from __future__ import annotations

from pathlib import Path

import pytest

from search.storage.location import Location, bare, is_uri, join, locate, resolved, shown

URI = "s3://bucket/runs?endpoint_override=127.0.0.1:9000&scheme=http"


@pytest.mark.parametrize("text", ["runs", "/mnt/runs", "~/runs", "a/b:c", "C:/x"])
def test_a_path_is_no_uri(text: str) -> None:
    assert not is_uri(text)
    assert Location(text, "x").uri is None
    assert Location(text, "x").folder == Path(text).expanduser() / "x"


@pytest.mark.parametrize("text", ["s3://bucket", "gs://bucket/a", "memory://a", "file:///tmp/x", "abfs://c@a.dfs/x"])
def test_a_uri_has_a_working_copy_in_the_state_folder(text: str, state: Path) -> None:
    folder = Location(text, "x").folder
    assert is_uri(text)
    assert folder.name == "x"
    assert folder.parent.parent == state


def test_names_go_before_the_options() -> None:
    assert join(URI, "a study", "trials") == (
        "s3://bucket/runs/a%20study/trials?endpoint_override=127.0.0.1:9000&scheme=http"
    )
    assert Location(URI, "x").uri == join(URI, "x")
    assert locate(join(URI, "x")) == Location(URI, "x")
    assert locate("s3://bucket/x") == Location("s3://bucket", "x")


def test_credentials_and_order_of_options_are_no_part_of_the_place() -> None:
    here = Location(URI, "x").folder
    assert Location("s3://bucket/runs/?scheme=http&endpoint_override=127.0.0.1:9000", "x").folder == here
    assert Location(URI.replace("//bucket", "//key:pass%2Fword@bucket"), "x").folder == here
    assert Location(URI.replace("9000", "9001"), "x").folder != here
    assert Location(URI.replace("runs", "other"), "x").folder != here
    assert bare("abfs://container@account/x") == "abfs://container@account/x"


def test_nothing_shown_has_a_password() -> None:
    secret = Location("s3://key:password@bucket/runs?endpoint_override=h", "x")
    assert str(secret) == shown(str(secret.uri)) == "s3://bucket/runs/x"


def test_the_environments_endpoint_is_written_out_for_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Location("s3://bucket", "x").folder
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000/")
    assert Location("s3://bucket", "x").uri == "s3://bucket/x?endpoint_override=minio:9000&scheme=http"
    assert Location("s3://bucket", "x").folder != plain
    assert resolved(URI) == URI, "what the URI says itself goes first"
    assert resolved("gs://bucket") == "gs://bucket"


def test_state_lies_where_the_user_or_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HYBRID_SEARCH_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert Location(URI, "x").folder.parent.parent == tmp_path / "xdg" / "hybrid-search"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert Location(URI, "x").folder.parent.parent == Path.home() / ".local/state/hybrid-search"
