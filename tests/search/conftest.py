"""Small studies on the embedded digits, and the pieces that a study is made of."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import itertools
import json
import os
import pickle
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image

from search.copies import main as copies
from search.data.store import ImageData, open_data
from search.journal.comparison import ComparisonDocument
from search.journal.comparison_file import from_json
from search.journal.journal import Journal
from search.records import Completed, EpochMetrics, Outcome, TrialRecord
from search.runners import inline
from search.runners.dispatcher import new_record
from search.sampling.optuna_copy import OptunaCopy
from search.sampling.optuna_storage import place_of, read_study
from search.seeds import Block, make_block
from search.study.bind import DataFacts, bind, load_facts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.study.load import parse_study
from search.sweep.sweep import Sweep
from search.tracking.mlflow_client import connect, default_uri
from search.training.spec import TrialSpec

MakeStudy = Callable[..., StudyConfig]

CNN = {
    "backbone": "cnn4",
    "cnn_bn": True,
    "cnn_dropout": 0.0,
    "enc_on": False,
    "rnn": "none",
    "pool_head": "flatten",
    "fc": "-",
    "dropout": 0.0,
}
GRU = {
    **{name: value for name, value in CNN.items() if name != "pool_head"},
    "rnn": "gru",
    "nodes": 8,
    "depth": 1,
    "layout": "positions",
    "merge": "serial",
    "readout": "last",
    "rnn_bn": False,
}
SPACE = {
    **{name: value for name, value in CNN.items() if name not in {"rnn", "pool_head", "dropout"}},
    "rnn": ["none", "gru"],
    "pool_head": {"fixed": "flatten", "when": {"rnn": "none"}},
    "nodes": {"choice": [4, 8], "when": {"rnn": "gru"}},
    "depth": {"fixed": 1, "when": {"rnn": "gru"}},
    "layout": {"fixed": "positions", "when": {"rnn": "gru"}},
    "merge": {"fixed": "serial", "when": {"rnn": "gru"}},
    "readout": {"fixed": "last", "when": {"rnn": "gru"}},
    "rnn_bn": {"fixed": False, "when": {"rnn": "gru"}},
    "dropout": [0.0, 0.2],
    "lr": {"float": [0.0005, 0.02], "log": True},
}
"""CNN and GRU with a searched learning rate: small enough for tests, conditional and continuous all the same."""


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Decode digits once per session, away from the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HYBRID_SEARCH_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        yield folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow makes its tables in seconds; once is enough for all tests."""
    folder = tmp_path_factory.mktemp("mlflow")
    connect(default_uri(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats depend on the number of threads; trials have one each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cnn() -> dict[str, Any]:
    """A point: the CNN alone."""
    return dict(CNN)


@pytest.fixture
def gru() -> dict[str, Any]:
    """A point: a small GRU over positions."""
    return dict(GRU)


@pytest.fixture
def study_data(tmp_path: Path) -> dict[str, Any]:
    """A study file's content that is right and quick to run."""
    return {
        "name": "tiny",
        "storage": str(tmp_path / "runs"),
        "seed": 3,
        "data": {"name": "digits", "limit": 100},
        "space": {name: dict(value) if isinstance(value, dict) else value for name, value in SPACE.items()},
        "train": {"epochs": 3, "batch": 16, "precision": "float32"},
        "search": {"trials": 6, "startup_trials": 3, "reduction": 2},
        "resources": {"runner": "inline"},
        "tracking": {"enabled": False},
    }


@pytest.fixture
def make_study(study_data: dict[str, Any]) -> MakeStudy:
    """Make the study: `make_study("search.trials=2", name="other")`; keywords replace whole sections."""

    def make(*overrides: str, **sections: Any) -> StudyConfig:
        return parse_study(copy.deepcopy({**study_data, **sections}), "study.yaml", overrides)

    return make


@pytest.fixture
def digits(make_study: MakeStudy) -> ImageData:
    """The 100 digits that the small studies train on."""
    return open_data(make_study().data)


@pytest.fixture
def facts(make_study: MakeStudy) -> DataFacts:
    """What specs must know of them."""
    return load_facts(make_study())


@pytest.fixture
def make_spec(make_study: MakeStudy, facts: DataFacts, gru: dict[str, Any]) -> Callable[..., TrialSpec]:
    """Describe a training of the small GRU: `make_spec(epochs=2)`; keywords are settings of the recipe or point."""

    def make(*, blocks: tuple[Block, ...] = (), score_test: bool = False, epochs: int = 3, **point: Any) -> TrialSpec:
        study = make_study(f"train.epochs={epochs}")
        values = {name: value for name, value in {**gru, **point}.items() if value is not None}
        return bind(study, values, facts, blocks or (make_block(0, "sweep", 0),), score_test=score_test)

    return make


@dataclasses.dataclass
class Driver:
    """Runs a sweep of a study in this process, as often as it is told to."""

    facts: DataFacts

    def sweep(
        self,
        study: StudyConfig,
        *,
        watch: Callable[[Sweep], None] = lambda _: None,
        facts: DataFacts | None = None,
    ) -> list[TrialRecord]:
        """Run or resume the sweep; `watch` is shown the sweep after each change and may raise."""
        with Journal(claim_folder(study)) as journal:
            sweep = Sweep(study=study, facts=facts or self.facts, journal=journal, on_change=lambda: watch(sweep))
            inline.run(sweep, study.resources)
            sweep.check_failures()
            return sweep.records


@pytest.fixture
def driver(facts: DataFacts) -> Driver:
    """Runs sweeps without tracker and display."""
    return Driver(facts)


@pytest.fixture
def write_past(make_study: MakeStudy, facts: DataFacts, make_epoch: Callable[..., EpochMetrics]) -> Callable[..., Any]:
    """Write a study with made-up trials, and return it: `write_past({"rnn": "none", "lr": 0.01, ...}, name="past")`.

    Trial n has two epochs, of which the last one has the accuracy 0.5 + n / 100.
    """

    def write(
        *points: dict[str, Any],
        name: str = "past",
        outcomes: dict[int, Outcome | None] | None = None,
        options: tuple[str, ...] = (),
        digest: str = facts.key,
        epochs: dict[str, Any] | None = None,
        **sections: Any,
    ) -> StudyConfig:
        study = make_study("train.epochs=2", *options, name=name, **sections)
        folder = claim_folder(study)
        with Journal(folder) as journal:
            first = journal.num_of_kind("trial")
            data = {"name": "digits", "digest": digest, "num_train": 100}
            journal.note("session", verb="sweep", version=3, data=data, classes=list(facts.classes))
            for number, values in enumerate(points, start=first):
                block = make_block(study.seed, "sweep", 0)
                point = dict(study.build_space().point(values))
                spec = bind(study, point, facts, (block,), number=number, label=f"trial {number}")
                journal.begin(new_record(spec, "trial", point))
                for epoch in (1, 2):
                    metrics = make_epoch(epoch, (0.5 + number / 100) * epoch / 2, **(epochs or {}))
                    journal.epoch(spec.key, metrics, "node")
                outcome = (outcomes or {}).get(number, Completed())
                if outcome is not None:
                    journal.end(spec.key, outcome)
            journal.note("stop")
        return study

    return write


@dataclasses.dataclass
class Bomb:
    """A pickle that leaves a mark when it is unpickled."""

    mark: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)

    def in_pickle(self) -> bytes:
        """As plain pickle, protocol 2 as of old."""
        return pickle.dumps({"data": self}, protocol=2)

    def in_torch(self) -> bytes:
        """As torch saves it."""
        stream = io.BytesIO()
        torch.save({"format": 1, "key": "x", "data": self}, stream)
        return stream.getvalue()

    def in_array(self) -> Any:
        """As an array of objects."""
        return np.array([self], dtype=object)

    def went_off(self) -> bool:
        """Whether somebody unpickled it."""
        return self.mark.exists()


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    """What an attacker would hide in a file."""
    return Bomb(tmp_path / "executed")


class CopiedHere:
    """Stands for the process that copies a journal: everything is copied in this process, when the session ends."""

    backlog: str | None = None

    def __init__(
        self,
        folder: Path,
        uri: str | None,
        experiment: str | None,
        print_line: Callable[[str], None],
        *,
        optuna: Path | str | None = None,
        hooks: bool = False,
    ) -> None:
        self._makers: list[Callable[[], copies.OneWayCopy]] = []
        if hooks:
            self._makers += [functools.partial(make, print_line) for make in copies._hooks(folder).values()]
        if optuna is not None:
            database = optuna if isinstance(optuna, str) else None
            self._makers.append(lambda: copies._optuna(folder, database, print_line))
        if uri is not None and experiment is not None:
            self._makers.append(lambda: copies._mlflow(folder, uri, experiment, print_line))

    def close(self, timeout_secs: float) -> bool:
        """Copy; what could not be copied is said."""
        faults = [fault for make in self._makers if (fault := copies.attempt(make().finish)) is not None]
        self.backlog = "; ".join(faults) or None
        return not faults


@pytest.fixture
def copied_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions start no process for their copies, which takes seconds."""
    monkeypatch.setattr("search.runners.session.FollowerProcess", CopiedHere)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and written as some pixels, one more each time: drawing one takes half a second."""
    widths = itertools.count(1)

    def save(figure: object, file: Path | BinaryIO, **settings: object) -> None:
        Image.new("L", (next(widths), 1)).save(file, "png")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)


def copy_to_optuna(study: StudyConfig) -> list[str]:
    """Bring Optuna's copy of a study up to date in this process; what it said."""
    said: list[str] = []
    space, database = study.build_space(), study.search.database
    OptunaCopy(study.folder, name=study.name, space=space, database=database, print_line=said.append).finish()
    return said


@pytest.fixture
def optuna_copy() -> Callable[[StudyConfig], Any]:
    """Bring Optuna's copy up to date and open it."""

    def look(study: StudyConfig) -> Any:
        assert copy_to_optuna(study) == []
        return read_study(place_of(study), study.name)

    return look


class Killed(BaseException):
    """Stands for SIGKILL: nothing on the way out may handle it."""


@pytest.fixture
def killed() -> type[Killed]:
    """The exception that simulates a kill."""
    return Killed


@pytest.fixture
def make_epoch() -> Callable[..., EpochMetrics]:
    """Make an epoch's metrics: `make_epoch(2, 0.7)`."""

    def make(epoch: int, val_accuracy: float | None, **fields: Any) -> EpochMetrics:
        values = {
            "train_loss": 1.0,
            "train_accuracy": 0.5,
            "val_loss": 1.1,
            "learning_rate": 0.001,
            "elapsed_secs": 2.0,
            "num_images": 70,
        }
        return EpochMetrics(epoch=epoch, val_accuracy=val_accuracy, **{**values, **fields})

    return make


@pytest.fixture
def make_record() -> Callable[..., TrialRecord]:
    """Make a trial's record: `make_record("a", number=1, outcome=Completed())`."""

    def make(key: str, **fields: Any) -> TrialRecord:
        values: dict[str, Any] = {
            "number": 0,
            "label": f"trial {key}",
            "kind": "trial",
            "point": {"rnn": "none"},
            "blocks": ("sweep-0",),
            "curve": (),
            "outcome": None,
            "started_at": 100.0,
            "finished_at": None,
            "node": "",
        }
        return TrialRecord(key=key, **{**values, **fields})

    return make


@pytest.fixture
def make_document() -> Callable[..., ComparisonDocument]:
    """Make a comparison from plain data; what does not matter to a test is filled in."""
    repeat = {"key": "r", "block": "compare-0", "state": "completed", "diverged_in_epoch": None}
    numbers = dict.fromkeys(("num_images", "estimate", "interval", "adjusted_p", "p_a_gt_b"))
    family = {"provisional": False, "adjust_method": "holm", "family_size": 1, "alpha": 0.05, "rope": 0.005}
    comparison = {"sentence": "", "estimand": "new data", "num_blocks": 3, **family, **numbers}

    def contender(item: dict[str, Any]) -> dict[str, Any]:
        repeats = [{**repeat, **run} for run in item.get("repeats", ())]
        return {"finalist": False, "point": {}, **item, "repeats": repeats}

    def make(plain: dict[str, Any]) -> ComparisonDocument:
        whole = {"key": "k", **plain, "data": {"digest": "d", **plain.get("data", {})}}
        whole["contenders"] = [contender(item) for item in plain["contenders"]]
        whole["comparisons"] = [{**comparison, **item} for item in plain["comparisons"]]
        if "race" in plain:
            raced = [contender(item) for item in plain["race"]["contenders"]]
            whole["race"] = {"sentences": [], **plain["race"], "contenders": raced}
        return from_json(json.dumps(whole).encode())

    return make


@pytest.fixture
def count_epochs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every (model and recipe, epoch) that is trained from here on."""
    from search.training import loop

    trained: list[tuple[str, int]] = []
    original = loop._train_epoch

    def counted(spec: TrialSpec, learners: list[loop.Learner], epoch: int) -> Generator[None, None, EpochMetrics]:
        metrics = yield from original(spec, learners, epoch)
        trained.append((spec.key, epoch))
        return metrics

    monkeypatch.setattr(loop, "_train_epoch", counted)
    return trained
