"""A real S3 server as a process of its own, a gate before it that can be shut, and stores of every kind."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from search.storage import lease
from search.storage.store import Store

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working copies lie here; no credentials but the test server's."""
    folder = tmp_path / "state"
    monkeypatch.setenv("HYBRID_SEARCH_STATE", str(folder))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that are taken and lost in a moment."""
    monkeypatch.setattr(lease, "RENEW_SECS", 0.2)
    monkeypatch.setattr(lease, "PATIENCE_SECS", 1.5)
    monkeypatch.setattr(lease, "SETTLE_SECS", 0.05)
    monkeypatch.setattr(lease, "POLL_SECS", 0.05)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have no disk take another new file from here on."""
    original = Path.open

    def refuse(self: Path, mode: str = "r", *args: Any, **options: Any) -> IO[Any]:
        if "x" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return original(self, mode, *args, **options)

    return lambda: monkeypatch.setattr(Path, "open", refuse)


@pytest.fixture(scope="session")
def s3_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of an S3 server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("moto") / "log.txt"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            _wait_for(port, server, log)
            yield port
        finally:
            server.kill()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


def make_bucket(port: int) -> str:
    """A new bucket's URI."""
    from pyarrow.fs import S3FileSystem

    name = f"bucket-{next(_numbers)}-{uuid.uuid4().hex[:6]}"
    S3FileSystem(
        access_key="key",
        secret_key="secret",
        region="us-east-1",
        endpoint_override=f"127.0.0.1:{port}",
        scheme="http",
        allow_bucket_creation=True,
    ).create_dir(name)
    return f"s3://{name}?endpoint_override=127.0.0.1:{port}&scheme=http"


@pytest.fixture
def bucket(s3_port: int) -> str:
    """URI of an empty bucket."""
    return make_bucket(s3_port)


@pytest.fixture
def folder_uri(tmp_path: Path) -> str:
    """URI of a folder: the quickest store."""
    return f"file://{tmp_path}/store"


@pytest.fixture(params=["s3", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "s3":
        return Store(make_bucket(request.getfixturevalue("s3_port"))).below("a prefix")
    return Store(f"file://{tmp_path}/a folder" if request.param == "file" else f"memory://{uuid.uuid4().hex}/x")


class Gate:
    """A way to a server that can be shut: connections are refused, and those that stand are cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: list[socket.socket] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        while self._open:
            end = self._open.pop()
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def gate(s3_port: int) -> Iterator[Gate]:
    """A way to the S3 server that can be shut."""
    gate = Gate(s3_port)
    yield gate
    gate.shut()


@pytest.fixture
def gated(gate: Gate, bucket: str) -> str:
    """URI of an empty bucket behind the gate."""
    return f"{bucket.partition('?')[0]}?endpoint_override=127.0.0.1:{gate.port}&scheme=http"


def eventually(holds: Callable[[], object], secs: float = 60.0) -> None:
    """Wait until it holds."""
    until = time.monotonic() + secs
    while not holds():
        assert time.monotonic() < until, "did not come about in time"
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    """Wait until something holds."""
    return eventually
