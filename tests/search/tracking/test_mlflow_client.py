"""Addresses, and the one line that a user gets when MLflow does not answer as hoped."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from search.errors import TrackingError
from search.tracking.mlflow_client import check_uri, default_uri, runs_page
from search.tracking.mlflow_tracker import Store


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that always says the same."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"You are not authenticated", "401: not signed in; set MLFLOW_TRACKING_USERNAME"),
        (403, b"Permission denied", "403: forbidden for this user"),
        (403, b"Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
        (401, b'{"error_code": "UNAUTHENTICATED", "message": "no"}', "401: not signed in"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "403: forbidden for this user"),
        (404, b"<html>nothing here</html>", "404"),
        (200, b"<html>some other server</html>", "not in a valid JSON format"),
    ],
)
def test_a_server_that_refuses(status: int, body: bytes, words: str) -> None:
    with answering(status, body) as uri, pytest.raises(TrackingError, match=words) as raised:
        check_uri(uri)
    (line,) = raised.value.faults
    assert "\n" not in line
    assert uri in line


def test_a_port_number_is_no_status() -> None:
    with pytest.raises(TrackingError, match="connection refused"):
        check_uri("http://127.0.0.1:4031")


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(TrackingError, match="connection refused; start the server"):
        check_uri(uri)
    assert time.monotonic() - began < 5


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tracking.mlflow_client.PROBE_SECS", 1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(TrackingError, match="no answer in time"):
            check_uri(f"http://127.0.0.1:{deaf.getsockname()[1]}")


@contextmanager
def dripping(answer: bytes) -> Iterator[str]:
    """A server that sends a byte of its answer at a time, each in time for a limit on one read."""
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            for position in range(len(answer)):
                if stop.wait(0.1):
                    return
                client.sendall(answer[position : position + 1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        thread.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nServer: slow" * 9, b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 999])
def test_the_whole_of_an_answer_has_a_limit(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tracking.mlflow_client.PROBE_SECS", 2)
    began = time.monotonic()
    with dripping(answer) as uri, pytest.raises(TrackingError, match="no answer in time; check the address"):
        check_uri(uri)
    assert time.monotonic() - began < 15
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_server_that_answers() -> None:
    with answering(200, b"{}") as uri:
        check_uri(uri)


def test_sqlite_is_checked_without_being_made(tmp_path: Path) -> None:
    check_uri(default_uri(tmp_path / "deeper" / "still"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrackingError, match="is a folder"):
        check_uri(f"sqlite:///{tmp_path}")
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match="cannot be written"):
        check_uri(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_default_uri_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_uri(Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


def test_what_its_database_fails_at_is_one_line(
    tmp_path: Path, empty_database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = default_uri(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    Store(uri, "one")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("DROP TABLE experiments")
    capfd.readouterr()
    with pytest.raises(TrackingError, match="no such table") as caught:
        Store(uri, "two")
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["noise", "half"])
def test_a_damaged_sqlite_file_is_called_so(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "mlflow.db"
    if kind == "noise":
        file.write_bytes(bytes(range(256)) * 20)
    else:  # tables were made, and the disk was full before MLflow noted at which version they are
        with closing(sqlite3.connect(file)) as database:
            database.execute("CREATE TABLE secrets (x INTEGER)")
            database.commit()
    with pytest.raises(TrackingError, match=r"mlflow\.db: damaged; move the file away, and the next start"):
        Store(default_uri(tmp_path), "one")


def test_runs_page() -> None:
    assert runs_page("http://host:5000/", "3") == (
        "http://host:5000/#/experiments/3/runs?workflowType=machine_learning"
    )
