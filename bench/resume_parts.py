"""Measurements for bench/resume.md: parts of a long run, resuming, Optuna's share, MLflow's copy."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import yaml

from bench.orchestration import STUDY
from search.journal.journal import Journal
from search.journal.reading import read_events
from search.records import EpochMetrics, Progress, TrialResult
from search.runners import inline
from search.runners.dispatcher import Dispatcher
from search.sampling.optuna_copy import OptunaCopy
from search.sampling.sampler import Sampler
from search.study.bind import load_facts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.study.load import parse_study
from search.sweep.proposals import make_sampler
from search.sweep.run import run_sweep
from search.sweep.sweep import Sweep
from search.tracking.mirror import Mirror
from search.tracking.mlflow_client import connect, default_uri

PARTS = ("training", "Optuna: proposal", "Optuna: outcome", "journal", "rest")
"""Parts of the time of a trial; the rest is binding, display, runner and cleanup."""
Row = dict[str, float]


def make_study(storage: Path, num_trials: int, *, sampler: str = "random", epochs: int = 1) -> StudyConfig:
    """Return the trivial study of bench/orchestration.md, with the inline runner and without MLflow."""
    data = yaml.safe_load(STUDY)
    data |= {"storage": str(storage), "tracking": {"enabled": False}, "resources": {"runner": "inline"}}
    data["search"] |= {"trials": num_trials, "sampler": sampler}
    data["train"]["epochs"] = epochs
    return parse_study(data, "bench")


class Clock:
    """CPU seconds of each part, per trial; parts must not be nested."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._row: Row = {}
        self._since = time.process_time()

    def next_trial(self) -> None:
        """Start counting for the next trial."""
        now = time.process_time()
        if self._row:
            total = now - self._since
            self.rows.append({**self._row, "rest": total - sum(self._row.values())})
        self._row, self._since = dict.fromkeys(PARTS[:-1], 0.0), now

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the CPU time of the `with` block to a part."""
        start = time.process_time()
        try:
            yield
        finally:
            if self._row:
                self._row[name] += time.process_time() - start

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose CPU time is added to a part."""

        @functools.wraps(call)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return call(*args, **kwargs)

        return wrapped

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Time the parts of a sweep that runs in the `with` block."""
        places = [
            (Sampler, "ask", PARTS[1]),
            (Sampler, "tell", PARTS[2]),
            (Journal, "_write", PARTS[3]),
            (Journal, "_sync", PARTS[3]),
        ]
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
        begin, assign = Dispatcher.next, inline.run_assignment

        def begin_next(work: Dispatcher) -> Any:
            self.next_trial()
            return begin(work)

        def train(*args: Any) -> Generator[Any, None, None]:
            steps = assign(*args)
            try:
                while True:
                    with self.part(PARTS[0]):
                        try:
                            step = next(steps)
                        except StopIteration:
                            return
                    yield step
            finally:
                steps.close()

        for owner, name, part in places:
            setattr(owner, name, self.timed(part, getattr(owner, name)))
        Dispatcher.next, inline.run_assignment = begin_next, train
        try:
            yield
        finally:
            for owner, name, call in before:
                setattr(owner, name, call)
            Dispatcher.next, inline.run_assignment = begin, assign


def run_trials(storage: Path, num_trials: int) -> list[Row]:
    """Run or resume a sweep in this process; return the seconds of each part, per trial."""
    clock = Clock()
    with clock.watching(), contextlib.redirect_stderr(io.StringIO()):
        run_sweep(make_study(storage, num_trials))
    return clock.rows


def recorded_trials(storage: Path, num_trials: int, epochs: int) -> list[Row]:
    """Record a sweep of made-up epochs with the real classes, without training; return the seconds of each part."""
    study = make_study(storage, num_trials, sampler="tpe", epochs=epochs)
    clock = Clock()
    facts = load_facts(study)
    with Journal(claim_folder(study)) as journal, clock.watching():
        journal.note("session", verb="sweep", data={"name": "digits", "digest": facts.key})
        sweep = Sweep(study=study, facts=facts, journal=journal)
        while (assignment := sweep.next()) is not None:
            for epoch in range(1, epochs + 1):
                result = TrialResult(test_accuracy=None) if epoch == epochs else None
                sweep.report(assignment.spec.key, Progress(metrics=made_up(epoch), result=result), "node")
    OptunaCopy(study.folder, name=study.name, space=study.build_space()).finish()
    return clock.rows


def made_up(epoch: int) -> EpochMetrics:
    """Return the metrics of a made-up epoch."""
    return EpochMetrics(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=0.5,
        val_loss=1.0,
        val_accuracy=0.5 + time.perf_counter() % 0.5,
        learning_rate=0.1,
        elapsed_secs=1.0,
        num_images=64,
    )


def resume_secs(storage: Path, num_trials: int) -> tuple[float, float]:
    """Resume a recorded study with the TPE sampler and run one trial.

    Returns:
        Seconds from the start of the command to the first new trial, and CPU seconds of the whole command.
    """
    study = storage / "again.yaml"
    shutil.copytree(storage / "trivial", storage / "again" / "trivial")
    resolved = storage / "again" / "trivial" / "study.yaml"
    resolved.write_text(resolved.read_text(encoding="utf-8").replace("sampler: random", "sampler: tpe"))
    shutil.copy(resolved, study)
    command = [sys.executable, "-m", "search.cli", "sweep", str(study), "--set", f"search.trials={num_trials + 1}"]
    start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--set", f"storage={storage / 'again'}"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    journal = storage / "again" / "trivial" / "journal.jsonl"
    begun = [event["at"] for event in read_events(journal) if event["event"] == "begin"]
    assert len(begun) == num_trials + 1
    shutil.rmtree(storage / "again")
    return float(begun[-1] - start), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def log_of(source: Path, num_trials: int, folder: Path) -> None:
    """Write the prefix of Optuna's log for a number of trials; the log is append-only."""
    folder.mkdir(parents=True)
    with (source / "optuna.log").open("rb") as stream, (folder / "optuna.log").open("wb") as target:
        num_begun = 0
        for line in stream:
            num_begun += json.loads(line)["op_code"] == 4
            if num_begun > num_trials:
                break
            target.write(line)


def our_proposals(source: Path, num_trials: int, folder: Path, num: int) -> float:
    """Return the median CPU seconds of a TPE proposal and its outcome with our sampler, after a number of trials."""
    journal_of(source, num_trials, folder / "trivial")
    study = make_study(folder, num_trials, sampler="tpe")
    with Journal(study.folder) as journal:
        sampler = make_sampler(study, load_facts(study), journal)
        secs = []
        for _ in range(num):
            start = time.process_time()
            asked = sampler.ask()
            assert asked is not None
            sampler.tell(asked[0], (made_up(1),), _completed())
            secs.append(time.process_time() - start)
    return statistics.median(secs)


def journal_of(source: Path, num_trials: int, folder: Path) -> None:
    """Write the prefix of the journal for a number of trials."""
    folder.mkdir(parents=True)
    with (source / "journal.jsonl").open("rb") as stream, (folder / "journal.jsonl").open("wb") as target:
        num_ended = 0
        for line in stream:
            target.write(line)
            num_ended += b'"event":"end"' in line
            if num_ended == num_trials:
                break


def _completed() -> Any:
    from search.records import Completed

    return Completed()


def plain_proposals(source: Path, num_trials: int, folder: Path, num: int) -> float:
    """Return the same for plain Optuna: `study.optimize` with the same sampler, storage and parameters."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    log_of(source, num_trials, folder)
    path = str(folder / "optuna.log")
    storage = optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    options: dict[str, Any] = {"multivariate": True, "group": True, "constant_liar": True, "n_startup_trials": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=1, **options)
    study = optuna.load_study(study_name="trivial", storage=storage, sampler=sampler)
    marks = [time.process_time()]

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        trial.report(0.5, 1)
        return 0.5

    study.optimize(objective, n_trials=num, callbacks=[lambda *_: marks.append(time.process_time())])
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(marks))


def mirror_secs(source: Path, folder: Path, num_trials: int, chunk: int) -> list[float]:
    """Return the CPU seconds per trial of MLflow's copy, for each chunk of a recorded journal."""
    target = folder / "trivial"
    target.mkdir(parents=True)
    connect(default_uri(folder)).search_experiments()  # creates the tables of the database
    mirror = Mirror(target, uri=default_uri(folder), experiment="trivial")
    secs, num_ended = [], 0
    lines = (source / "journal.jsonl").read_bytes().splitlines(keepends=True)
    with (target / "journal.jsonl").open("ab", buffering=0) as stream:
        for line in lines:
            stream.write(line)
            num_ended += b'"event":"end"' in line
            if b'"event":"end"' in line and num_ended % chunk == 0:
                start = time.process_time()
                mirror.sync()
                secs.append((time.process_time() - start) / chunk)
            if num_ended == num_trials:
                break
    return secs


def with_pictures(source: Path, folder: Path, num_trials: int) -> float:
    """Return the same per trial for runs of several epochs, including their figures."""
    (folder / "trivial").mkdir(parents=True)
    shutil.copy(source / "journal.jsonl", folder / "trivial")
    connect(default_uri(folder)).search_experiments()
    mirror = Mirror(folder / "trivial", uri=default_uri(folder), experiment="trivial")
    start = time.process_time()
    mirror.finish()
    return (time.process_time() - start) / num_trials
