"""Optuna's study in a database that goes away: nothing is lost, nothing is proposed twice."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from search.patient import PatientStorage
from search.proposals import Owner, with_driver
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from search.errors import InterruptedStudyError, ProposalsError
from search.records import Completed, EpochMetrics, Stopped, TrialRecord
from search.sampler import Sampler
from spaces.space import Space

SPACE = Space.from_dict("plain", {"cell": ["none", "gru"], "lr": {"float": [0.001, 0.1], "log": True}})


def open_sampler(storage: Path | str, said: list[str] | None = None, **options: Any) -> Sampler:
    lines = said if said is not None else []
    values: dict[str, Any] = {"seed": 5, "method": "tpe", "startup_trials": 3, "study_name": "s", **options}
    return Sampler(space=SPACE, storage=storage, say=lines.append, **values)


def work(sampler: Sampler, first: int, num: int, make_epoch: Callable[..., EpochMetrics]) -> list[dict[str, Any]]:
    """Ask and tell some trials; what was proposed."""
    points = []
    for index in range(first, first + num):
        asked = sampler.ask()
        assert asked is not None
        points.append(dict(asked[1]))
        sampler.tell(
            asked[0], (make_epoch(1, (index * 3 % 7) / 7),), Stopped(epoch=1) if index % 3 == 2 else Completed()
        )
    return points


def states(sampler: Sampler) -> list[str]:
    """Of the trials, without what a broken connection made in vain."""
    trials = sampler._study.get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    left = [trial.state.name for trial in trials if "digest" not in trial.user_attrs]
    assert set(left) <= {"FAIL"}, left
    return [trial.state.name for trial in trials if "digest" in trial.user_attrs]


class LostError(Exception):
    """Stands for a driver's own exception."""


class BreakingCommits:
    """The connection breaks at one commit: before the database has done it, or before it has said so."""

    def __init__(self, broken_at: int, *, committed: bool) -> None:
        self.broken_at, self.committed, self.num_commits = broken_at, committed, 0

    def commit(self) -> Callable[[Session], None]:
        """In the place of the session's own."""
        original = Session.commit

        def commit(session: Session) -> None:
            self.num_commits += 1
            breaks = self.num_commits == self.broken_at
            if self.committed or not breaks:
                original(session)
            if breaks:
                raise OperationalError("COMMIT", None, LostError("server closed the connection unexpectedly"))

        return commit


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
def test_a_connection_that_breaks_at_any_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_epoch: Callable[..., EpochMetrics], committed: bool
) -> None:
    """The answer to a commit is lost: what was asked for is there once, and the next proposals are the same."""
    calm = work(open_sampler(tmp_path), 0, 6, make_epoch)
    begun = tmp_path / "begun.db"
    first = work(open_sampler(f"sqlite:///{begun}"), 0, 4, make_epoch)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for broken_at in itertools.count(1):
        path = tmp_path / f"{broken_at}.db"
        shutil.copy(begun, path)
        breaks = BreakingCommits(broken_at, committed=committed)
        said: list[str] = []
        sampler = open_sampler(f"sqlite:///{path}", said)
        with monkeypatch.context() as patch:
            patch.setattr(Session, "commit", breaks.commit())
            points = first + work(sampler, 4, 2, make_epoch)
        if breaks.num_commits < broken_at:
            break
        assert points == calm, broken_at
        assert states(sampler) == ["COMPLETE", "COMPLETE", "PRUNED"] * 2, broken_at
        assert len(said) in {0, 2}, said  # Optuna asks again by itself for a new trial
    assert broken_at > 10


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
def test_a_connection_that_breaks_while_a_study_is_written_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_epoch: Callable[..., EpochMetrics],
    make_record: Callable[..., TrialRecord],
    committed: bool,
) -> None:
    """What was told wrongly is written again: the study is deleted first, and the answer to that may be lost, too."""
    begun = tmp_path / "begun.db"
    sampler = open_sampler(f"sqlite:///{begun}")
    points = work(sampler, 0, 3, make_epoch)
    records = {
        f"k{number}": make_record(
            f"k{number}", number=number, point=point, curve=(make_epoch(1, 0.5),), outcome=Completed(), finished_at=1.0
        )
        for number, point in enumerate(points)
    }
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for broken_at in itertools.count(1):
        path = tmp_path / f"{broken_at}.db"
        shutil.copy(begun, path)
        breaks = BreakingCommits(broken_at, committed=committed)
        sampler = open_sampler(f"sqlite:///{path}")
        with monkeypatch.context() as patch:
            patch.setattr(Session, "commit", breaks.commit())
            assert len(sampler.reconcile(records)) == 3
        if breaks.num_commits < broken_at:
            break
        assert states(sampler) == ["COMPLETE"] * 3, broken_at
        assert [trial.value for trial in sampler._study.get_trials()[:3]] == [0.5] * 3, broken_at
        assert sampler.reconcile(records) == []
    assert broken_at > 8


def test_a_full_disk_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    def full(_: Session) -> None:
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("database or disk is full"))

    sampler = open_sampler(f"sqlite:///{tmp_path / 'x.db'}")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(Session, "commit", full)
    with pytest.raises(
        ProposalsError, match=r"search\.database: cannot be read or written \(database or disk is full\)"
    ):
        sampler.ask()


def test_an_absence_that_lasts_is_one_line_and_an_interruption_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Session) -> None:
        raise OperationalError("COMMIT", None, LostError("the database system is shutting down\nDETAIL: so it is"))

    url = f"sqlite:///{tmp_path / 'x.db'}"
    slept: list[float] = []
    clock = [0.0]

    def sleep(secs: float) -> None:
        slept.append(secs)
        clock[0] += secs

    def interrupted() -> None:
        raise InterruptedStudyError("interrupted by SIGTERM")

    said: list[str] = []
    samplers = open_sampler(url, said), open_sampler(url, check=interrupted)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr("random.random", lambda: 0.0)
    monkeypatch.setattr(Session, "commit", lost)
    with pytest.raises(ProposalsError, match=r"no answer any more .* start the database, then run the same") as caught:
        samplers[0].ask()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert 119 < sum(slept) <= 121
    assert max(slept) <= 5
    assert said == ["search.database: no answer (the database system is shutting down); trying again for 120 s"]
    slept.clear()
    with pytest.raises(InterruptedStudyError, match="SIGTERM"):
        samplers[1].ask()
    assert sum(slept) == 0


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_without_a_driver_takes_the_one_that_is_there(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy 2.1 means another driver by none than 2.0 does."""
    assert with_driver(f"{scheme}://me@host/db") == "postgresql+psycopg2://me@host/db"
    for url in ("postgresql+psycopg://me@host/db", "sqlite:///x.db", "nonsense"):
        assert with_driver(url) == url
    monkeypatch.setattr("search.proposals.find_spec", lambda name: None if name == "psycopg2" else name)
    assert with_driver(f"{scheme}://me@host/db") == "postgresql+psycopg://me@host/db"


def test_other_errors_pass(tmp_path: Path) -> None:
    sampler = open_sampler(f"sqlite:///{tmp_path / 'x.db'}")
    storage = sampler._study._storage
    assert isinstance(storage, PatientStorage)
    with pytest.raises(KeyError):
        storage.get_trial(77)


class Postgres:
    """A PostgreSQL server of one's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # PostgreSQL refuses to be root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._as:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", log, "-w", "-t", "120", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", mode, "-w", "stop")

    def kill(self) -> None:
        """SIGKILL to the postmaster; its children leave by themselves."""
        pid_file = self._folder / "data" / "postmaster.pid"
        pid = int(pid_file.read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            time.sleep(0.05)
        time.sleep(1.0)
        pid_file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Started once; each test leaves it running."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("no PostgreSQL here")
    folder = Path(tempfile.mkdtemp(prefix="hybrid-postgres-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    server.start()
    yield server
    server.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_postgresql_restarted_in_the_middle(
    postgres: Postgres, tmp_path: Path, make_epoch: Callable[..., EpochMetrics], how: str
) -> None:
    calm = work(open_sampler(tmp_path), 0, 24, make_epoch)
    said: list[str] = []
    sampler = open_sampler(postgres.url, said, study_name=f"restarted-{how}")
    points = work(sampler, 0, 4, make_epoch)

    def restart() -> None:
        for _ in range(2):
            time.sleep(0.4)
            if how == "kill":
                postgres.kill()
            else:
                postgres.stop(how)
            time.sleep(1.0)
            postgres.start()

    thread = threading.Thread(target=restart)
    thread.start()
    while thread.is_alive() and len(points) < 23:
        points += work(sampler, len(points), 1, make_epoch)
        time.sleep(0.1)
    thread.join()
    points += work(sampler, len(points), 24 - len(points), make_epoch)
    assert points == calm
    assert states(sampler) == ["COMPLETE", "COMPLETE", "PRUNED"] * 8
    assert said
    assert [line.startswith("search.database: no answer (") for line in said[::2]] == [True] * (len(said) // 2)
    assert set(said[1::2]) == {"search.database: answers again"}


@pytest.mark.slow
def test_postgresql_stays_away_and_the_same_command_goes_on(
    postgres: Postgres,
    tmp_path: Path,
    make_epoch: Callable[..., EpochMetrics],
    make_record: Callable[..., TrialRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calm = work(open_sampler(tmp_path), 0, 8, make_epoch)
    monkeypatch.setattr("search.patient.PATIENCE_SECS", 2.0)
    sampler = open_sampler(postgres.url, study_name="away")
    points = work(sampler, 0, 4, make_epoch)
    asked = sampler.ask()
    assert asked is not None
    curve = (make_epoch(1, (4 * 3 % 7) / 7),)
    postgres.stop("immediate")
    try:
        with pytest.raises(ProposalsError, match=r"search\.database: no answer any more .* run the same command again"):
            sampler.tell(asked[0], curve, Completed())
    finally:
        postgres.start()
    # The journal has the end that the database does not.
    record = make_record("k", number=asked[0], point=dict(asked[1]), curve=curve, outcome=Completed())
    others = [
        make_record(
            f"k{index}",
            number=index,
            point=point,
            curve=(make_epoch(1, (index * 3 % 7) / 7),),
            outcome=Stopped(epoch=1) if index % 3 == 2 else Completed(),
        )
        for index, point in enumerate(points)
    ]
    again = open_sampler(postgres.url, study_name="away")
    records = {item.key: item for item in (*others, record)}
    assert [item.number for item in again.reconcile(records)] == [4]
    assert [*points, dict(asked[1]), *work(again, 5, 3, make_epoch)] == calm


@pytest.mark.slow
def test_two_sweeps_of_one_name_begin_at_once(postgres: Postgres) -> None:
    """One of them gets the name."""
    outcomes: list[str] = []

    def begin(name: str) -> None:
        try:
            open_sampler(postgres.url, study_name="both", owner=Owner(journal=name, folder=f"/{name}", node="here"))
            outcomes.append(name)
        except Exception as error:  # noqa: BLE001
            outcomes.append(str(error))

    threads = [threading.Thread(target=begin, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner, loser = sorted(outcomes, key=len)
    assert winner in {"a", "b"}
    assert f"belongs to /{winner} on here" in loser
