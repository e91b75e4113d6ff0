"""The process beside the driver: real processes, real signals, a real server."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from search.copies import main as copies
from search.copies.main import main
from search.copies.process import URI_VARIABLE, FollowerProcess
from search.errors import TrackingError

if TYPE_CHECKING:
    from conftest import Server, Study


def wait_for(condition: Callable[[], bool], secs: float = 30.0) -> None:
    until = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_driver_side_imports_no_mlflow() -> None:
    code = (
        "import sys, search.copies.process, search.tracking.mlflow_client; "
        "sys.exit(bool({'mlflow', 'optuna'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_it_follows_the_journal_and_leaves_when_told(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", num_epochs=2)
    lines: list[str] = []
    process = FollowerProcess(study.folder, server.uri, server.experiment, lines.append)
    wait_for(lambda: bool(server.runs("a")))
    assert process.backlog is None
    assert os.getpriority(os.PRIO_PROCESS, process.pid) >= min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
    assert os.getsid(process.pid) == process.pid
    study.trial("b")
    study.begin("c")
    study.journal.note("stop")
    assert process.close(timeout_secs=30)
    assert process.close(timeout_secs=30)
    assert process.backlog is None
    assert lines == []
    assert server.statuses() == {"a": "FINISHED", "b": "FINISHED", "c": "KILLED", "sweep": "KILLED"}
    assert "2_sweep.png" in server.files("sweep")


@pytest.mark.slow
def test_the_driver_is_killed(study: Study, server: Server) -> None:
    """A worker forked from the driver keeps the pipe open; the mirror notices the death all the same."""
    study.session()
    study.begin("a")
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from search.copies.process import FollowerProcess\n"
        "process = FollowerProcess(Path(sys.argv[1]), sys.argv[2], sys.argv[3])\n"
        "worker = os.fork()\n"
        "if worker: print(process.pid, worker, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(study.folder), server.uri, server.experiment]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    mirror, worker = map(int, driver.stdout.readline().split())
    try:
        wait_for(lambda: bool(server.runs("a")) and server.run("a").info.status == "RUNNING")
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        wait_for(lambda: server.statuses() == {"a": "KILLED", "sweep": "KILLED"})
        wait_for(lambda: not Path(f"/proc/{mirror}").exists() or "Z" in Path(f"/proc/{mirror}/stat").read_text())
    finally:
        os.kill(worker, signal.SIGKILL)
        driver.stdout.close()


@pytest.mark.slow
def test_nobody_there(study: Study) -> None:
    study.session()
    study.trial("a")
    lines: list[str] = []
    process = FollowerProcess(study.folder, f"http://127.0.0.1:{closed_port()}", "e", lines.append)
    wait_for(lambda: len(lines) > 0)
    assert "connection refused" in lines[0]
    assert not process.close(timeout_secs=1)
    assert process.backlog is not None
    assert "the next start of this study writes the rest" in process.backlog
    assert len(lines) == 1


def test_only_one_at_a_time(study: Study, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    study.session()
    study.trial("a")
    arguments = [str(study.folder), "--experiment", server.experiment, "--grace", "0.2"]
    with (
        pytest.MonkeyPatch.context() as patch,
        (study.folder / "mlflow.lock").open("a") as lock,
        Path(os.devnull).open() as end,
    ):
        patch.setattr(os, "nice", lambda _: 0)
        patch.setattr(sys, "stdin", end)
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv(URI_VARIABLE, server.uri)
        assert main(arguments) == 1
        assert "another process is still copying" in capsys.readouterr().err
        assert server.runs() == []
        fcntl.flock(lock, fcntl.LOCK_UN)
        patch.setenv(URI_VARIABLE, server.uri)
        assert main(arguments) == 0
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED"}


def test_a_damaged_journal_ends_it(study: Study, server: Server) -> None:
    study.session()
    with study.journal.path.open("ab") as stream:
        stream.write(b"rubbish\n")
    process = FollowerProcess(study.folder, server.uri, server.experiment)
    assert not process.close(timeout_secs=30)
    assert process.backlog is not None
    assert "damaged" in process.backlog


@pytest.mark.slow
def test_a_server_that_comes_late(study: Study, server: Server, tmp_path: Path) -> None:
    """A real `mlflow server`: absent for one run of the command, late for the next."""
    port = closed_port()
    uri = f"http://127.0.0.1:{port}"
    study.session()
    study.trial("a", num_epochs=2, artifacts={"confusion": "none.npy"})
    process = FollowerProcess(study.folder, uri, server.experiment)
    assert not process.close(timeout_secs=3)

    lines: list[str] = []
    study.session()
    study.trial("b", num_epochs=2)
    process = FollowerProcess(study.folder, uri, server.experiment, lines.append)
    wait_for(lambda: len(lines) > 0)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", server.uri, "--artifacts-destination", str(tmp_path / "artifacts")]
    log = (tmp_path / "server.log").open("w")
    serving = subprocess.Popen([*command, *places], stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        wait_for(lambda: bool(server.runs("b")), secs=120)
        study.trial("c")
        study.journal.note("stop")
        assert process.close(timeout_secs=60)
        assert server.statuses() == dict.fromkeys(("a", "b", "c", "sweep"), "FINISHED")
        assert {path.name for path in (tmp_path / "artifacts").rglob("*.png")} == {"1_curves.png", "2_sweep.png"}
        assert len(list((tmp_path / "artifacts").rglob("1_curves.png"))) == 2
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        serving.wait()
        log.close()


def test_the_first_attempt_is_at_once_and_the_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return len(pauses) == 6

    class Away:
        num_waiting = 1

        def sync(self) -> int:
            raise TrackingError("away")

        finish = sync

    monkeypatch.setattr(copies._Thread, "start", lambda _: None)
    thread = copies._Thread("MLflow", lambda _: Away(), 0.0)
    thread.stop = Stop()
    assert thread._follow(Away()) == 1
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
