"""A server that loses answers, forgets, or is slow: every run once, every value once, nothing left RUNNING."""

from __future__ import annotations

import http.client
import http.server
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from search.copies.main import attempt
from search.copies.process import FollowerProcess
from search.errors import TrackingError
from search.journal.mlflow_run import KEY_TAG
from search.journal.reading import FILE_NAME
from search.records import Completed, Failed
from search.tracking import mirror as mirror_module
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import ForgottenError, RejectedError, connect
from search.tracking.mlflow_tracker import Store

if TYPE_CHECKING:
    from conftest import Server, Study

REQUESTS = ("create", "log", "log_dataset", "log_file", "set_status", "runs")


def make(study: Study, server: Server, said: list[str] | None = None) -> Mirror:
    lines = said if said is not None else []
    return Mirror(study.folder, uri=server.uri, experiment=server.experiment, print_line=lines.append)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come last and cost seconds."""
    monkeypatch.setattr(mirror_module.Mirror, "_draw", lambda *_: None)
    monkeypatch.setattr(mirror_module.Pictures, "draw_sweep", lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_every_answer_is_lost_once(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """MLflow does what it is asked, and the connection breaks before it has said so."""
    study.session()
    study.trial("a", num_epochs=2)
    study.trial("b", outcome=Failed(reason="broke"))
    study.session("compare")
    study.trial("r", kind="repeat", test_accuracy=0.25)
    study.journal.note("comparison", key="k", repeats=["r"], metrics={"gain": 0.1}, artifacts=[], tags={"verdict": "v"})
    study.journal.note("stop")
    originals = {name: getattr(Store, name) for name in REQUESTS}
    num_requests, lost_at = 0, 1

    def wrap(name: str) -> Callable[..., Any]:
        def send(self: Store, *args: Any, **kwargs: Any) -> Any:
            nonlocal num_requests
            num_requests += 1
            answer = originals[name](self, *args, **kwargs)
            if num_requests == lost_at:
                raise TrackingError("no answer in time")
            return answer

        return send

    while True:
        server.experiment = f"lost at {lost_at}"
        mirror = make(study, server)
        num_requests = 0
        with monkeypatch.context() as patch:
            for name in REQUESTS:
                patch.setattr(Store, name, wrap(name))
            if attempt(mirror.finish) is not None:
                assert attempt(mirror.finish) is None
        runs = server.by_key()
        assert {key: run.info.status for key, run in runs.items()} == {
            **dict.fromkeys(("a", "r", "k", "sweep", "compare"), "FINISHED"),
            "b": "FAILED",
        }, lost_at
        assert server.history(runs["a"], "val_loss") == [(1, 2.0), (2, 1.0)]
        assert runs["a"].data.tags["mlflow.parentRunId"] == runs["sweep"].info.run_id
        assert server.history(runs["r"], "test_accuracy") == [(1, 0.25)]
        assert server.history(runs["sweep"], "num_finished") == [(1, 1), (2, 2)]
        if num_requests < lost_at:
            break
        lost_at += every
    assert lost_at > 20


def test_a_slow_server_makes_a_second_run_later(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request was given up, and is carried out after the second one."""
    study.session()
    study.trial("a", num_epochs=2)
    mirror = make(study, server)
    original = Store.create
    late: list[tuple[Any, dict[str, Any]]] = []

    def slow(self: Store, **values: Any) -> Any:
        if values["tags"][KEY_TAG] == "a" and not late:
            late.append((self, values))
            raise TrackingError("no answer in time")
        return original(self, **values)

    monkeypatch.setattr(Store, "create", slow)
    with pytest.raises(TrackingError):
        mirror.sync()
    mirror.sync()
    assert len(server.runs("a")) == 1
    ((store, values),) = late
    original(store, **values)
    assert len(server.runs("a")) == 2
    mirror.finish()
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED"}
    assert server.history("a", "epoch") == [(1, 1), (2, 2)]


def test_surplus_runs_of_an_earlier_mirror_are_taken_away(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", num_epochs=2)
    make(study, server).finish()
    run, parent = server.run("a"), server.run("sweep")
    for copied in (run, parent):
        # Older than the one that has everything, and empty.
        server.client.create_run(
            run.info.experiment_id, start_time=1, tags={**copied.data.tags, "hybrid_search.outcome": "running"}
        )
    study.session()
    said: list[str] = []
    make(study, server, said).finish()
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED"}
    assert server.run("a").info.run_id == run.info.run_id
    assert server.run("a").data.tags["mlflow.parentRunId"] == server.run("sweep").info.run_id
    assert said == ["repaired from the journal: 2 runs"]


def test_a_journal_that_lost_its_last_lines(study: Study, server: Server) -> None:
    """MLflow knows of epochs and of a trial that no journal tells of."""
    study.session()
    study.begin("a")
    study.epochs("a", 1, 2)
    kept = (study.folder / FILE_NAME).read_bytes()
    study.epochs("a", 3, 5)
    study.trial("b")
    make(study, server).finish()
    (study.folder / FILE_NAME).write_bytes(kept)
    study.journal.close()
    study.journal = type(study.journal)(study.folder)
    study.session()
    said: list[str] = []
    mirror = make(study, server, said)
    mirror.sync()
    assert server.history("a", "epoch") == [(1, 1), (2, 2)]
    assert server.statuses() == {"a": "KILLED", "b": "KILLED", "sweep": "RUNNING"}
    assert server.run("b").data.tags["hybrid_search.outcome"] == "unfinished"
    assert said == ["repaired from the journal: 2 runs"]
    study.journal.resume("a")
    study.epochs("a", 3, 3)
    study.journal.end("a", Completed())
    study.trial("b")
    mirror.finish()
    assert server.history("a", "epoch") == [(1, 1), (2, 2), (3, 3)]
    assert server.statuses() == dict.fromkeys(("a", "b", "sweep"), "FINISHED")
    study.session()
    said.clear()
    make(study, server, said).finish()
    assert said == []


def test_values_that_the_journal_does_not_have(study: Study, server: Server) -> None:
    study.session()
    study.trial("a", num_epochs=2, accuracy=0.5)
    make(study, server).finish()
    server.client.log_metric(server.run("a").info.run_id, "val_accuracy", 0.99, step=2, timestamp=2_000_000_000_000)
    study.session()
    make(study, server).finish()
    assert server.history("a", "val_accuracy") == [(1, 0.5), (2, 0.5)]
    assert server.statuses() == {"a": "FINISHED", "sweep": "FINISHED"}


def test_a_server_that_begins_anew_is_sent_everything(
    study: Study, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another database stands behind the address."""
    study.session()
    study.trial("a", num_epochs=2)
    mirror = make(study, server)
    mirror.sync()
    server.client.delete_run(server.run("a").info.run_id)
    server.client.delete_run(server.run("sweep").info.run_id)

    def forgotten(*_: object, **__: object) -> None:
        raise ForgottenError("no such run")

    study.trial("b")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "log", forgotten)
        with pytest.raises(TrackingError):
            mirror.sync()
    mirror.finish()
    assert server.statuses() == dict.fromkeys(("a", "b", "sweep"), "FINISHED")
    assert server.history("a", "epoch") == [(1, 1), (2, 2)]


def test_a_run_that_is_gone_for_good_is_told_apart(study: Study, server: Server) -> None:
    study.session()
    study.begin("a")
    mirror = make(study, server)
    mirror.sync()
    path = server.uri.removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        run_id = server.run("a").info.run_id
        for table in ("tags", "params", "latest_metrics", "metrics", "runs"):
            database.execute(f"delete from {table} where run_uuid = ?", (run_id,))
    study.epochs("a", 1, 1)
    with pytest.raises(ForgottenError):
        mirror.sync()
    mirror.sync()
    assert server.history("a", "epoch") == [(1, 1)]


def test_what_is_rejected_does_not_stay_running(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study.session()
    study.begin("a")
    said: list[str] = []
    mirror = make(study, server, said)
    mirror.sync()
    original = Store.log

    def refuse(self: Store, run: Any, **values: Any) -> None:
        if values.get("metrics"):
            raise RejectedError("too large")
        original(self, run, **values)

    study.epochs("a", 1, 1)
    study.journal.end("a", Completed())
    monkeypatch.setattr(Store, "log", refuse)
    mirror.finish()
    assert server.statuses()["a"] == "FINISHED"
    assert "label of a: not copied to MLflow: too large" in said


def test_a_full_disk_under_its_database_is_waited_for(study: Study, server: Server) -> None:
    """Real "database or disk is full", by a limit on the number of pages."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    study.session()
    mirror = make(study, server)
    mirror.sync()
    limit = [0]

    def set_limit(connection: Any, *_: object) -> None:
        pages = limit[0] or connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count = {pages}")

    event.listen(Engine, "checkout", set_limit)
    try:
        for index in range(40):
            study.begin(f"t{index}", point={f"p{number}": "x" * 200 for number in range(60)})
        assert "database or disk is full" in (attempt(mirror.sync) or "")
        limit[0] = 1_000_000
        assert attempt(mirror.sync) is None
    finally:
        event.remove(Engine, "checkout", set_limit)
    assert len(server.runs()) == 41


def test_an_odd_fault_is_a_line_and_tried_again() -> None:
    def full() -> int:
        raise OSError(28, "No space left on device")

    assert attempt(full) == "OSError: [Errno 28] No space left on device"
    assert attempt(lambda: 3) is None


@pytest.mark.slow
def test_the_address_is_not_on_the_command_line(study: Study) -> None:
    uri = "http://me:s3cret@127.0.0.1:9"
    lines: list[str] = []
    process = FollowerProcess(study.folder, uri, "e", lines.append)
    try:
        command = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert "s3cret" not in command
        study.session()
        study.trial("a")
        until = time.monotonic() + 60
        while not lines:
            assert time.monotonic() < until, "it said nothing"
            time.sleep(0.05)
    finally:
        assert not process.close(timeout_secs=1)
    assert "connection refused" in (process.backlog or "")
    assert not any("s3cret" in line for line in [*lines, process.backlog or ""])


class Proxy(http.server.ThreadingHTTPServer):
    """Stands before a server and does what it is told with its answers."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.mood = "well"
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mood = proxy.mood
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if mood == "500":
                    self._answer(500, b"Internal Server Error")
                    return
                inner = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
                inner.request(self.command, self.path, body, {**self.headers, "Host": f"127.0.0.1:{port}"})
                reply = inner.getresponse()
                answer = reply.read()
                if mood == "slow":
                    time.sleep(6.0)
                if mood == "lost":
                    self.close_connection = True
                    return
                self._answer(reply.status, answer, reply.getheader("Content-Type") or "application/json")

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # the client did not wait

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[Proxy]:
    """A real `mlflow server` on the store, behind a proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", server.uri, "--artifacts-destination", str(tmp_path / "artifacts")]
    with (tmp_path / "server.log").open("w") as log:
        serving = subprocess.Popen([*command, *places], stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
        standing = Proxy(port)
        thread = threading.Thread(target=standing.serve_forever, daemon=True)
        thread.start()
        try:
            until = time.monotonic() + 180
            while True:
                try:
                    connect(standing.uri).search_experiments(max_results=1)
                    break
                except Exception:  # noqa: BLE001
                    assert time.monotonic() < until, "the server did not start"
                    time.sleep(0.5)
            yield standing
        finally:
            standing.shutdown()
            standing.server_close()
            os.killpg(serving.pid, signal.SIGTERM)
            serving.wait()


@pytest.mark.slow
def test_a_real_server_in_every_bad_mood(
    study: Study, server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500, answers that are lost, answers that come after the mirror gave up: the driver never waits."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    lines: list[str] = []
    study.session()
    process = FollowerProcess(study.folder, proxy.uri, server.experiment, lines.append)
    try:
        for index, mood in enumerate(("well", "500", "well", "lost", "well", "slow", "well")):
            proxy.mood = mood
            began = time.monotonic()
            study.begin(f"t{index}")
            study.epochs(f"t{index}", 1, 2)
            study.begin(f"u{index}")
            study.journal.end(f"t{index}", Completed())
            study.journal.end(f"u{index}", Failed(reason="x"))
            assert time.monotonic() - began < 5
            time.sleep(9.0 if mood == "slow" else 4.0)
        study.journal.note("stop")
        proxy.mood = "well"
    finally:
        done = process.close(timeout_secs=120)
    assert done, lines
    expected = {f"t{index}": "FINISHED" for index in range(7)} | {f"u{index}": "FAILED" for index in range(7)}
    assert server.statuses() == expected | {"sweep": "FINISHED"}
    for index in range(7):
        assert server.history(f"t{index}", "epoch") == [(1, 1), (2, 2)]
    assert lines
    assert all(line.endswith("; retrying") for line in lines), lines
