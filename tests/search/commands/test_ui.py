"""The server of `ui` ends with the command, whatever ends that."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = "import sys; from search.commands.ui import run_tethered; sys.exit(run_tethered(sys.argv[1:], {}))"
WORKER = """
import signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", {port}))
open({mark!r}, "w").close()
time.sleep(100)
"""
SERVER = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def is_served(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: object, secs: float = 60.0) -> bool:
    assert callable(condition)
    until = time.monotonic() + secs
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_the_server_and_its_workers_end_with_the_command(tmp_path: Path, number: signal.Signals) -> None:
    port, mark = free_port(), tmp_path / "serves"
    worker = WORKER.format(port=port, mark=str(mark))
    command = subprocess.Popen([sys.executable, "-c", COMMAND, sys.executable, "-c", SERVER, worker])
    try:
        assert wait_for(mark.exists)
        assert is_served(port)
        command.send_signal(number)
        command.wait(60)
        assert wait_for(lambda: not is_served(port))
    finally:
        command.kill()
        command.wait()


def test_the_exit_code_of_the_server_is_that_of_the_command() -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND, sys.executable, "-c", "raise SystemExit(7)"], check=False)
    assert done.returncode == 7
