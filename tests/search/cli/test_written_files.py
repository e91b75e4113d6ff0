"""Who may read and change what is written, and where it lands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.errors import StorageFaultError
from search.storage.disk import write_bytes
from search.storage.synced import put
from search.study.folder import write_atomically

WRITERS = {"write_bytes": write_bytes, "put": put, "write_atomically": lambda path, _: write_atomically(path, "new")}


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Change it for the length of a test."""
    before = os.umask(0o022)
    yield lambda mask: os.umask(mask) and None
    os.umask(before)


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_through_a_planted_link(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should somebody guess the name."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "0badcafe")
    precious, path = tmp_path / "precious", tmp_path / "folder" / "file"
    precious.write_text("old")
    path.parent.mkdir()
    planted = path.with_name(f".{path.name}.0badcafe")
    planted.symlink_to(precious)
    path.symlink_to(precious)
    with pytest.raises(StorageFaultError, match="File exists"):
        WRITERS[writer](path, b"new")
    assert precious.read_text() == "old"
    WRITERS[writer](path, b"new")  # what lay in the way is gone
    assert precious.read_text() == "old"
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640)])
def test_files_have_the_rights_that_the_user_wants(
    writer: str, mask: int, mode: int, umask: Callable[[int], None], tmp_path: Path
) -> None:
    umask(mask)
    WRITERS[writer](tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_the_command_writes_nothing_that_everybody_may_change(tmp_path: Path) -> None:
    code = "import os, sys; os.umask(0); sys.argv[1:] = ['data', 'digits']; from search.cli import main; main()"
    environment = {**os.environ, "HYBRID_SEARCH_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment, timeout=300)
    written = [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]
    assert len(written) > 5
    assert not [str(path) for path in written if path.stat().st_mode & 0o002]
