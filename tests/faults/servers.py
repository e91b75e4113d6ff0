"""Real servers for the episodes: MLflow, PostgreSQL, a Ray cluster of two nodes; each a handle that can hurt it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import psutil

PATIENCE = float(os.environ.get("HYBRID_SEARCH_PATIENCE", "1"))
"""How much slower than two quiet cores this machine may be; every time limit is multiplied with it."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MLflowServer:
    """A tracking server on SQLite.

    Args:
        folder: Holds its database and artifacts.
        env: Environment of its processes.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._env = folder, dict(env)
        self.port = free_port()
        self.start()

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait for its first answer."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._env, stdout=log, stderr=log, start_new_session=True, cwd=self._folder
            )
        until = time.monotonic() + 120 * PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError(f"no MLflow server, see {self._folder}/server.log") from None
                time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to the server and its workers."""
        for process in [*_children(self._process.pid)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.wait()


class Postgres:
    """A PostgreSQL server with one database.

    Args:
        folder: Holds its data; every folder above must be open to everybody where root starts it.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True)
        self._env = dict(env)
        self._data, self._log = folder / "data", folder / "postgres.log"
        self._user = _unprivileged()
        if self._user is not None:
            shutil.chown(folder, self._user)
        self.port = free_port()
        self._run("initdb", "-D", self._data, "-U", "optuna", "-A", "trust", "--no-sync")
        self.start()

    @property
    def uri(self) -> str:
        """For Optuna."""
        return f"postgresql+psycopg2://optuna@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-l", self._log, "-o", settings, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """End it: `fast` (connections are cut) or `immediate` (as by a power cut)."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        found = find_postgres(program)
        assert found is not None
        subprocess.run(
            [found, *map(str, arguments)],
            check=True,
            env=self._env,
            user=self._user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            timeout=120 * PATIENCE,
        )


def find_postgres(program: str = "pg_ctl") -> str | None:
    """Path of one of PostgreSQL's programs; many installations keep them off the PATH."""
    places = [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    return shutil.which(program, path=os.pathsep.join(places))


def _unprivileged() -> str | None:
    """PostgreSQL refuses to be run by root."""
    import pwd

    if os.geteuid() != 0:
        return None
    names = {item.pw_name for item in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Cluster:
    """A Ray cluster of a head and one joined node, one trial each, both on this machine.

    Args:
        folder: For its session; must be short.
        env: Environment of its processes.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = {**env, "RAY_TMPDIR": str(folder)}
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
        self.join()

    def join(self) -> None:
        """Add a node."""
        self._start(f"--address={self.address}")

    def _start(self, *arguments: str) -> None:
        program = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--disable-usage-stats"]
        program += ["--object-store-memory=100000000", "--node-ip-address=127.0.0.1"]
        with (self._folder / "ray.log").open("ab") as log:
            subprocess.run(
                [*program, *arguments], env=self._env, stdout=log, stderr=log, check=True, timeout=180 * PATIENCE
            )


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a small tmpfs."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or not mount(folder, 1):
        return False
    unmount(folder)
    return True


def mount(folder: Path, mebibytes: int) -> bool:
    """Mount a tmpfs of a size; says whether that worked."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Let it go, also while somebody looks at it."""
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
