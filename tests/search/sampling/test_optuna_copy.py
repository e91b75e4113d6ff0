"""Optuna's study is a copy of the journal: whatever becomes of it, it is right in the end, and the sweep goes on."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from search.commands.check import EXIT_AGREE, check
from search.errors import StudyError, TrackingError
from search.journal.journal import Journal
from search.journal.reading import read_id
from search.records import Completed, Draw, EpochMetrics, Failed, Stopped, TrialRecord
from search.sampling.optuna_copy import OptunaCopy
from search.sampling.optuna_storage import DAMAGED, FILE_NAME, place_of, read_study, with_driver
from search.study.config import StudyConfig
from search.sweep.run import run_sweep
from spaces.space import Space

MakeStudy = Callable[..., StudyConfig]
SPACE = Space.from_dict("plain", {"cell": ["none", "gru"], "lr": {"float": [0.001, 0.1], "log": True}, "fixed": 3})
OUTCOMES = (Completed(), Stopped(epoch=2), Failed(reason="broke"))


class Sweep:
    """A journal that grows, and Optuna's copy of it."""

    def __init__(self, folder: Path, kind: str, make_epoch: Callable[..., EpochMetrics]) -> None:
        folder.mkdir()
        self.folder, self.kind = folder, kind
        self.database = None if kind == "file" else f"sqlite:///{folder / 'optuna.db'}"
        self.file = folder / (FILE_NAME if kind == "file" else "optuna.db")
        self.said: list[str] = []
        self.number = 0
        self._make_epoch = make_epoch
        self.journal = Journal(folder)
        self.journal.note("session", verb="sweep")

    def begin(self) -> str:
        """A trial begins."""
        key, point = f"k{self.number}", {"cell": "gru", "lr": 0.001 + 0.0001 * self.number, "fixed": 3}
        record = TrialRecord(
            key=key, number=self.number, label=f"trial {self.number}", kind="trial", point=point, blocks=("sweep-0",),
            curve=(), outcome=None, started_at=1e9 + self.number, finished_at=None, node="",
        )  # fmt: skip
        self.journal.begin(record)
        self.number += 1
        return key

    def end(self, key: str) -> None:
        """It trains for two epochs and ends."""
        number = self.journal.records[key].number
        for epoch in (1, 2):
            self.journal.epoch(key, self._make_epoch(epoch, (number * 7 + epoch) % 11 / 11), "node")
        self.journal.end(key, OUTCOMES[number % 3])

    def reject(self) -> None:
        """A draw becomes no trial."""
        self.journal.draw(Draw(number=self.number, point={"cell": "none", "lr": 0.01}, rejected="no model"))
        self.number += 1

    def twin(self, key: str) -> None:
        """A draw is the training of another one."""
        self.journal.draw(Draw(number=self.number, point={"cell": "none", "lr": 0.02}, twin=key))
        self.number += 1

    def grow(self) -> None:
        """Four numbers more."""
        first, second = self.begin(), self.begin()
        self.reject()
        self.twin(second)
        self.end(second)
        self.end(first)

    def copy(self) -> OptunaCopy:
        return OptunaCopy(self.folder, name="s", space=SPACE, database=self.database, print_line=self.said.append)

    def study(self) -> optuna.Study:
        study = read_study(self.database or self.folder, "s")
        assert study is not None
        return study

    def trials(self) -> list[tuple[Any, ...]]:
        return [
            (trial.number, trial.state.name, trial.value, trial.params, trial.intermediate_values, trial.user_attrs)
            for trial in self.study().get_trials()
        ]


@pytest.fixture(params=["file", "database"])
def sweep(tmp_path: Path, request: pytest.FixtureRequest, make_epoch: Any, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setattr("search.sampling.optuna_copy.CLAIM_SECS", 0.0)
    return Sweep(tmp_path / "study", request.param, make_epoch)


def test_it_says_what_the_journal_says(sweep: Sweep) -> None:
    sweep.grow()
    sweep.copy().finish()
    rows = sweep.trials()
    curve = {1: 8 / 11, 2: 9 / 11}
    point = {"cell": "gru", "lr": 0.0011}
    assert rows[1][:5] == (1, "PRUNED", 9 / 11, point, curve)
    assert rows[1][5]["key"] == "k1"
    assert rows[2] == (2, "FAIL", None, {"cell": "none", "lr": 0.01}, {}, {"rejected": "no model"})
    assert rows[3][:5] == (3, "PRUNED", 9 / 11, {"cell": "none", "lr": 0.02}, curve)
    assert rows[3][5]["twin"] == "k1"
    study = sweep.study()
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.user_attrs["owner"]["journal"] == read_id(sweep.folder)
    assert study.best_trial.number == 0
    if sweep.kind == "file":  # Optuna's own tools open it
        backend = optuna.storages.journal.JournalFileBackend(str(sweep.file))
        assert len(optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend)).trials) == 4


def test_brought_up_to_date_step_by_step_it_is_the_same(sweep: Sweep) -> None:
    copy, before = sweep.copy(), b""
    for _ in range(3):
        first, second = sweep.begin(), sweep.begin()
        copy.sync()
        assert [row[1] for row in sweep.trials()][-2:] == ["RUNNING"] * 2
        sweep.reject()
        sweep.twin(second)
        copy.sync()
        assert sweep.trials()[-1][1] == "RUNNING"
        sweep.end(second)
        copy.sync()
        sweep.end(first)
        copy.sync()
        assert copy.sync() == 0
        assert copy.num_waiting == 0
        if sweep.kind == "file":
            assert sweep.file.read_bytes().startswith(before), "it is written on"
            before = sweep.file.read_bytes()
    copy.finish()
    step_by_step = sweep.trials()
    sweep.file.unlink()
    sweep.copy().finish()
    assert sweep.trials() == step_by_step
    assert sweep.said == []


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a half line": lambda text: text + b'{"op_code":5,"worker_id":"x","tri',
    "a line without its end": lambda text: text[:-1],
    "half of the last line": lambda text: text[:-20],
    "most lines lost": lambda text: b"".join(text.splitlines(keepends=True)[: text.count(b"\n") // 3]),
    "empty": lambda _: b"",
    "rubbish in the middle": lambda text: text[:900] + b"\x00 rubbish\n" + text[900:],
    "a line that means nothing": lambda text: text + b'{"op_code":77}\n',
    "JSON that is no operation": lambda text: text + b"[1, 2]\n",
    "zeros at the end": lambda text: text[:-40] + b"\x00" * 40,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("running", [False, True], ids=["before a start", "while it runs"])
def test_a_damaged_log_is_written_again(tmp_path: Path, make_epoch: Any, damage: str, running: bool) -> None:
    sweep = Sweep(tmp_path / "study", "file", make_epoch)
    sweep.grow()
    copy = sweep.copy()
    copy.sync()
    whole = sweep.trials()
    sweep.file.write_bytes(DAMAGES[damage](sweep.file.read_bytes()))
    (copy if running else sweep.copy()).finish()
    assert sweep.trials() == whole
    sweep.grow()
    sweep.copy().finish()
    assert len(sweep.trials()) == 8


CHANGES: dict[str, Callable[[optuna.Study], Any]] = {
    "somebody asked for a trial": lambda study: study.ask(),
    "somebody's trial waits": lambda study: study.enqueue_trial({"lr": 0.01}),
    "somebody added a trial": lambda study: study.add_trial(optuna.trial.create_trial(value=1.0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_others_do_to_the_copy_is_undone(sweep: Sweep, change: str) -> None:
    sweep.grow()
    sweep.copy().finish()
    whole = sweep.trials()
    CHANGES[change](_open_for_writing(sweep))
    assert sweep.trials() != whole
    sweep.copy().finish()
    assert sweep.trials() == whole


def _open_for_writing(sweep: Sweep) -> optuna.Study:
    if sweep.database:
        return optuna.load_study(study_name="s", storage=sweep.database)
    backend = optuna.storages.journal.JournalFileBackend(str(sweep.file))
    return optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))


def test_a_copy_that_went_away_is_made_again(sweep: Sweep) -> None:
    sweep.grow()
    copy = sweep.copy()
    copy.sync()
    if sweep.database:
        optuna.delete_study(study_name="s", storage=sweep.database)
    else:
        sweep.file.unlink()
    sweep.grow()
    for _ in range(2):
        try:
            copy.finish()
        except TrackingError:
            continue
        break
    assert len(sweep.trials()) == 8


def test_another_studys_log_is_set_aside(tmp_path: Path, make_epoch: Any) -> None:
    sweep, other = (Sweep(tmp_path / name, "file", make_epoch) for name in ("one", "other"))
    sweep.grow()
    other.journal.note("stop")
    other.grow()
    other.copy().finish()
    sweep.file.write_bytes(other.file.read_bytes())
    sweep.copy().finish()
    assert sweep.study().user_attrs["owner"]["journal"] == read_id(sweep.folder)
    assert (sweep.folder / DAMAGED).read_bytes() == other.file.read_bytes()
    assert sweep.said == [f"{sweep.file}: belongs to another study; renamed to {DAMAGED}, and written again"]


def test_a_full_disk_stops_nothing(tmp_path: Path, make_epoch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep(tmp_path / "study", "file", make_epoch)
    copy = sweep.copy()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("search.sampling.optuna_copy.write_bytes", full)
        sweep.grow()
        with pytest.raises(TrackingError, match=r"optuna\.log: cannot be written \(No space left on device\)"):
            copy.sync()
        assert not sweep.file.exists()
    copy.finish()
    assert len(sweep.trials()) == 4


class LostError(Exception):
    """Stands for a driver's own exception."""


@pytest.mark.slow
@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
def test_a_connection_that_breaks_at_any_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_epoch: Any, committed: bool
) -> None:
    """Before the database has done it, or before it has said so: after the next attempts the copy is right."""
    monkeypatch.setattr("search.sampling.optuna_copy.CLAIM_SECS", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    original = Session.commit
    optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'tables.db'}")
    for broken_at in itertools.count(1, 9):
        sweep = Sweep(tmp_path / str(broken_at), "database", make_epoch)
        shutil.copy(tmp_path / "tables.db", sweep.file)
        num_commits = 0

        def commit(session: Session, broken_at: int = broken_at) -> None:
            nonlocal num_commits
            num_commits += 1
            if committed or num_commits != broken_at:
                original(session)
            if num_commits == broken_at:
                raise OperationalError("COMMIT", None, LostError("server closed the connection unexpectedly"))

        copy = sweep.copy()
        sweep.begin()
        with monkeypatch.context() as patch:
            patch.setattr(Session, "commit", commit)
            for step in (copy.sync, lambda s=sweep: (s.end("k0"), s.grow()), copy.sync, copy.finish, copy.finish):
                try:
                    step()
                except TrackingError:
                    continue
        if num_commits < broken_at:
            break
        states = [row[1] for row in sweep.trials()]
        assert states == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "FAIL"], broken_at
    assert broken_at > 10


FOREIGN: dict[str, Callable[[str], Any]] = {
    "minimize, with trials": lambda url: optuna.create_study(study_name="tiny", storage=url).ask(),
    "a waiting trial": lambda url: optuna.create_study(
        study_name="tiny", storage=url, direction="maximize"
    ).enqueue_trial({"x": 1.0}),
    "several objectives": lambda url: optuna.create_study(
        study_name="tiny", storage=url, directions=["maximize", "minimize"]
    ).ask(),
    "another choice list": lambda url: optuna.create_study(
        study_name="tiny", storage=url, direction="maximize"
    ).add_trial(
        optuna.trial.create_trial(
            value=0.5, params={"rnn": "x"}, distributions={"rnn": optuna.distributions.CategoricalDistribution(["x"])}
        )
    ),
    "attributes alone": lambda url: optuna.create_study(
        study_name="tiny", storage=url, direction="maximize"
    ).set_user_attr("team", "vision"),
    "minimize, empty": lambda url: optuna.create_study(study_name="tiny", storage=url),
    "another study of this program": lambda url: optuna.create_study(
        study_name="tiny", storage=url, direction="maximize"
    ).set_user_attr("owner", {"journal": "else", "folder": "/else", "node": "there"}),
}


def held(url: str) -> list[Any]:
    study = optuna.load_study(study_name="tiny", storage=url)
    return [study.directions, study.user_attrs, study.get_trials()]


@pytest.mark.parametrize("kind", FOREIGN)
def test_somebody_elses_study_is_refused_before_anything_is_written(
    make_study: MakeStudy, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.commands.plan import make_plan

    monkeypatch.setattr("search.sampling.optuna_copy.CLAIM_SECS", 0.0)
    url = f"sqlite:///{tmp_path / 'team.db'}"
    FOREIGN[kind](url)
    before, text = held(url), (tmp_path / "team.db").read_bytes()
    study = make_study(f"search.database={url}")
    for command in (make_plan, run_sweep):
        with pytest.raises(StudyError, match=r"^search\.database: .* (did not make|belongs to /else on there)"):
            command(study)
    assert not study.folder.exists()
    assert (tmp_path / "team.db").read_bytes() == text
    # The process that writes the copy looks, too: a study may come to be there while the database is away.
    study.folder.mkdir(parents=True)
    said: list[str] = []
    with Journal(study.folder) as journal:
        journal.note("session", verb="sweep")
    OptunaCopy(study.folder, name="tiny", space=study.build_space(), database=url, print_line=said.append).finish()
    assert len(said) == 1
    assert said[0].endswith("(not copied; the sweep continues)")
    assert held(url) == before


@pytest.mark.slow
def test_a_database_that_is_away_keeps_a_new_study_from_beginning_and_stops_no_other(
    make_study: MakeStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = f"search.database=sqlite:///{tmp_path}/nowhere/at/all/optuna.db"
    with pytest.raises(
        StudyError,
        match=(r"^search\.database: .*nowhere/at/all is not a writable folder; create it, or make it writable"),
    ):
        run_sweep(make_study(away, "search.trials=1", "train.epochs=1"))
    run_sweep(make_study("search.trials=1", "train.epochs=1"))
    study = make_study("search.trials=2", "train.epochs=1", away)
    assert run_sweep(study, patience=20.0).num_over == 2
    assert (
        "is not a writable folder; create it, or make it writable (the study was already started and continues "
        "without this copy)" in capsys.readouterr().err
    )
    study = make_study("search.trials=2", "train.epochs=1", f"search.database=sqlite:///{tmp_path}/optuna.db")
    run_sweep(study)
    assert check(study).exit_code == EXIT_AGREE
    assert place_of(study) == study.search.database


@pytest.mark.parametrize("url", ["postgres-typo://host/db", "no url", "postgresql://me:secret@127.0.0.1:9/x"])
def test_an_unreachable_database_is_one_line(url: str) -> None:
    with pytest.raises(
        StudyError, match=r"^search\.database: (cannot be opened \(.*\)|expected a URL, such as)"
    ) as caught:
        read_study(url, "s")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_without_a_driver_takes_the_one_that_is_there(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy 2.1 means another driver by none than 2.0 does."""
    assert with_driver(f"{scheme}://me@host/db") == "postgresql+psycopg2://me@host/db"
    for url in ("postgresql+psycopg://me@host/db", "sqlite:///x.db", "nonsense"):
        assert with_driver(url) == url
    monkeypatch.setattr("search.sampling.optuna_storage.find_spec", lambda name: None if name == "psycopg2" else name)
    assert with_driver(f"{scheme}://me@host/db") == "postgresql+psycopg://me@host/db"
