"""One process makes or migrates the database that the studies of a storage share."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest

from search.errors import TrackingError
from search.tracking import mlflow_database
from search.tracking.mlflow_client import default_uri
from search.tracking.mlflow_tracker import Store

FORK = multiprocessing.get_context("fork")


def begin(storage: str, name: str, sender: multiprocessing.connection.Connection) -> None:
    try:
        sender.send(Store(default_uri(Path(storage)), name).experiment_id)
    except TrackingError as error:
        sender.send(str(error))


@pytest.mark.slow
def test_four_studies_begin_at_the_same_moment_in_one_new_storage(tmp_path: Path) -> None:
    import mlflow  # noqa: F401  once, for all four

    pipes = [FORK.Pipe(duplex=False) for _ in range(4)]
    starts = [
        FORK.Process(target=begin, args=(str(tmp_path), f"study-{number}", sender))
        for number, (_, sender) in enumerate(pipes)
    ]
    for process in starts:
        process.start()
    answers = [receiver.recv() for receiver, _ in pipes]
    for process in starts:
        process.join()
    assert sorted(answers) == ["1", "2", "3", "4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def hang(storage: str) -> None:
    """Make a database, and stop before it is whole."""
    os.replace = lambda *_: time.sleep(100)  # type: ignore[assignment]
    Store(default_uri(Path(storage)), "one")


@pytest.mark.slow
def test_a_kill_leaves_no_half_of_a_database(tmp_path: Path, empty_database: Path) -> None:
    (tmp_path / ".mlflow.db.backup").write_text("of the user's own")
    process = FORK.Process(target=hang, args=(str(tmp_path),))
    process.start()
    until = time.monotonic() + 60
    while (
        not any(re.match(r"\.mlflow\.db\.[0-9a-f]{16}", path.name) for path in tmp_path.iterdir())
        and time.monotonic() < until
    ):
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "mlflow.db").exists()
    Store(default_uri(tmp_path), "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.db.backup", "mlflow.db", "mlflow.db.lock"]


def test_a_lock_that_is_never_released_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mlflow_database, "PATIENCE_SECS", 0.4)
    monkeypatch.setattr("search.storage.locks.TOLD_SECS", 0.1)
    (tmp_path / "mlflow.db").write_bytes(b"half of a database, which another process is making")
    with (tmp_path / "mlflow.db.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TrackingError, match=r"mlflow\.db: another process has held mlflow\.db\.lock for 0 s; end"):
            Store(default_uri(tmp_path), "one")
    assert "mlflow.db: waiting for another process that creates or migrates the database" in capfd.readouterr().err
    with pytest.raises(TrackingError, match="damaged"):  # not before: only who holds the lock can tell
        Store(default_uri(tmp_path), "one")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_database_in_a_folder_of_somebody_else_is_read_without_a_lock(tmp_path: Path) -> None:
    Store(default_uri(tmp_path), "one")
    (tmp_path / "mlflow.db.lock").unlink()
    tmp_path.chmod(0o555)
    mlflow_database.forget(default_uri(tmp_path))
    mlflow_database.prepare(default_uri(tmp_path))
