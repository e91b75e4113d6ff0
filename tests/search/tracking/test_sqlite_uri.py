"""SQLite files whose names mean something in a URI."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from search.tracking.mlflow_client import artifact_location, default_uri
from search.tracking.sqlite_uri import path_of, sqlite_uri


@pytest.mark.parametrize("name", ["plain", "a b", "50%", "a%41", "q?x=1", "n#1", "caf\u00e9", "all %3F?#&"])
def test_a_path_is_quoted_and_read_back_as_sqlalchemy_does(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "mlflow.db"
    uri = sqlite_uri(file)
    assert make_url(uri).database == str(file)
    assert path_of(uri) == file
    assert default_uri(tmp_path / name) == uri
    location = artifact_location(uri, "one")
    assert location is not None
    assert location == (tmp_path / name / "mlartifacts" / "one").as_uri()
