"""A password is given, everything is run, and everything that was left behind or shown is searched for it."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.commands import ui
from search.study.config import StudyConfig

CANARY = "kanari3nv0gel"
"""In every password."""
DATABASE_PASSWORD, TRACKING_PASSWORD = f"{CANARY}1", f"{CANARY}2"


def _forms(secret: str) -> list[bytes]:
    """A secret as it stands, in hexadecimal, and inside of base64 at each offset."""
    plain = secret.encode()
    inner = [base64.b64encode(b"x" * offset + plain)[4:-4] for offset in range(3)]
    return [plain, plain.hex().encode(), *inner]


def _holds(content: bytes) -> bool:
    return any(form in content for form in _forms(CANARY))


def test_the_search_finds_what_it_looks_for() -> None:
    for text in (f"a:{CANARY}@b", f"user:{DATABASE_PASSWORD}"):
        assert _holds(text.encode())
        assert _holds(base64.b64encode(text.encode()))
        assert _holds(text.encode().hex().encode())
    assert not _holds(b"canary")


class _Watch:
    """Looks at every command line of the machine, again and again."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.num_looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.num_looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = path.read_bytes()
                    if _holds(line):
                        self.found.add(line.replace(b"\0", b" ").decode(errors="replace")[:300])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    """Wait until it answers quickly; `plan` waits some seconds only."""
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=3) as answer:
            answer.read()
            return
        time.sleep(0.5)
    pytest.fail(f"nothing answers at {address}")


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server that asks for a password."""
    places = [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    program = shutil.which("pg_ctl", path=os.pathsep.join(places))
    users = [item.pw_name for item in pwd.getpwall() if item.pw_name in {"postgres", "nobody"}]
    user = None if os.geteuid() else next(iter(sorted(users, reverse=True)), None)
    if program is None or (user is None and not os.geteuid()):
        pytest.skip("needs PostgreSQL (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="hs-pg-") as place:
        folder, port = Path(place), _free_port()
        word = folder / "word"
        word.write_text(DATABASE_PASSWORD)
        if user is not None:
            shutil.chown(folder, user)
            shutil.chown(word, user)

        def run(*command: str) -> None:
            subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, timeout=300)

        data = str(folder / "data")
        initdb = str(Path(program).with_name("initdb"))
        run(initdb, "-D", data, "-U", "optuna", "-A", "scram-sha-256", f"--pwfile={word}", "--no-sync")
        settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        run(program, "-D", data, "-l", str(folder / "log"), "-o", settings, "-w", "-t", "240", "start")
        try:
            yield f"postgresql+psycopg2://optuna:{DATABASE_PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            run(program, "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[str]:
    """Address, with a password, of an MLflow server that keeps its files in the test's folder."""
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/server"]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([*command, *places], stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(port)
            yield f"http://tracker:{TRACKING_PASSWORD}@127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, 15)
            server.wait(timeout=60)


@pytest.fixture
def session_folder() -> Iterator[Path]:
    """Where Ray keeps its logs; its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="hs-ray-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.ray
def test_no_password_is_left_behind(postgres: str, mlflow: str, session_folder: Path, tmp_path: Path) -> None:
    given = tmp_path / "given" / "study.yaml"
    given.parent.mkdir()
    study = {
        "name": "quiet",
        "storage": str(tmp_path / "runs"),
        "data": {"name": "digits", "limit": 100},
        "space": "ecrnn",
        "fix": {"rnn": "none"},
        "train": {"epochs": 1, "batch": 16},
        "search": {"trials": 2, "scheduler": "none", "database": postgres},
        "tracking": {"uri": mlflow},
        "compare": {"finalists": 1, "baselines": ["ecrnn/cnn"], "repeats": 2},
    }
    given.write_text(yaml.safe_dump(study, sort_keys=False))
    folder = tmp_path / "runs" / "quiet"
    verbs: list[tuple[Any, ...]] = [
        ("plan", given, "--json"),
        ("sweep", given),
        ("compare", given, "--json"),
        ("status", given, "--json"),
        ("report", given),
        ("export", given, "--to", tmp_path / "winner"),
        ("ui", given),  # refused: there is a server
        ("status", folder),
        ("sweep", given, "--set", "train.epochs=2"),  # refused: it began with other settings
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, "RAY_TMPDIR": str(session_folder), "PYTHONPATH": str(Path(__file__).parents[3])}
    shown = {}
    with _Watch() as watch:
        for number, words in enumerate(verbs):
            command = [sys.executable, "-m", "search.cli", *map(str, words)]
            done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, timeout=900, check=False)
            shown[f"{number} {words[0]}"] = done
            expected = 2 if words[0] == "ui" or "--set" in words else 0
            assert done.returncode == expected, done.stderr.decode()[-2000:]
    for verb, done in shown.items():
        assert not _holds(done.stdout), verb
        assert not _holds(done.stderr), verb
    files = [path for root in (tmp_path, session_folder) for path in root.rglob("*") if path.is_file()]
    assert {"study.yaml", "journal.jsonl", "evidence.json", "config.yaml", "report.html", "server.db", "server.log"} < {
        path.name for path in files
    }
    assert any("session" in str(path) for path in files)
    assert [str(path) for path in files if path != given and _holds(path.read_bytes())] == []
    assert watch.num_looks > 10
    assert not watch.found


def test_the_server_of_ui_has_its_store_from_the_environment(
    make_study: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[list[str], Any]] = []
    monkeypatch.setattr(ui, "run_tethered", lambda command, settings: ran.append((command, settings)) or 0)
    monkeypatch.setattr(ui, "_page", lambda *_: "page")
    uri = f"postgresql://me:{CANARY}@host/mlflow"
    study: StudyConfig = make_study(f"tracking.uri={uri}", "tracking.enabled=true")
    ui.serve_ui(study, host="127.0.0.1", port=_free_port())
    ((command, settings),) = ran
    assert not _holds(" ".join(command).encode())
    assert settings["MLFLOW_BACKEND_STORE_URI"] == uri
