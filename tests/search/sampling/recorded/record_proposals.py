"""Records what five studies propose, in order, with made-up scores; run it as a script.

`proposals.json` was written before the journal became the only memory of a sweep; the same study file must go on giving
the same points in the same order.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.journal.journal import Journal
from search.journal.reading import read_draws, read_records
from search.records import EpochMetrics, Progress, TrialResult
from search.runners.assignment import Assignment
from search.study.bind import load_facts
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.study.load import parse_study
from search.sweep.sweep import Sweep

FILE = Path(__file__).with_name("proposals.json")
SPACE: dict[str, Any] = {
    "backbone": "cnn4",
    "cnn_bn": True,
    "cnn_dropout": 0.0,
    "enc_on": False,
    "rnn": ["none", "gru"],
    "pool_head": {"fixed": "flatten", "when": {"rnn": "none"}},
    "nodes": {"choice": [4, 8], "when": {"rnn": "gru"}},
    "depth": {"int": [1, 8], "when": {"rnn": "gru"}},
    "layout": {"fixed": "positions", "when": {"rnn": "gru"}},
    "merge": {"fixed": "serial", "when": {"rnn": "gru"}},
    "readout": {"fixed": "last", "when": {"rnn": "gru"}},
    "rnn_bn": {"fixed": False, "when": {"rnn": "gru"}},
    "fc": "-",
    "dropout": [0.0, 0.1, 0.2],
    "batch": {"choice": [8, 16, 80], "when": {"dropout": 0.2, "rnn": "none"}},
    "forbidden": [{"when": {"rnn": "gru", "depth": [3, 4], "dropout": 0.1}, "why": "too deep"}],
}
"""With forbidden ones and points that are no models: a batch of 80 is larger than the training part."""
CONTINUOUS = {**SPACE, "lr": {"float": [0.0005, 0.02], "log": True}}
STUDIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tpe": (SPACE, {"sampler": "tpe"}),
    "tpe-continuous": (CONTINUOUS, {"sampler": "tpe"}),
    "tpe-three-at-once": (CONTINUOUS, {"sampler": "tpe"}),
    "random": (CONTINUOUS, {"sampler": "random"}),
    "grid": (SPACE, {"sampler": "grid", "enqueue": [{"rnn": "none", "dropout": 0.2, "batch": 8}]}),
}
"""Name -> its space and how it searches; each has 40 trials."""
EPOCHS = 4
CUTS = (3, 22, 1)
"""Killed after so many epochs, each time counted from the last start."""


def make_study(name: str, storage: Path) -> StudyConfig:
    """One of the recorded studies."""
    space, search = STUDIES[name]
    return parse_study(
        {
            "name": name,
            "storage": str(storage),
            "seed": 11,
            "data": {"name": "digits", "limit": 100},
            "space": space,
            "train": {"epochs": EPOCHS, "batch": 16, "precision": "float32"},
            "search": {"trials": 40, "startup_trials": 6, "reduction": 2, "max_failed_fraction": 1.0, **search},
            "resources": {"runner": "inline"},
            "tracking": {"enabled": False},
        },
        "study.yaml",
    )


def score(key: str, epoch: int) -> float:
    """A made-up validation accuracy: the same for the same training."""
    return round(int(key[:6], 16) / 16**6 * 0.6 + 0.3 * epoch / EPOCHS, 6)


def train_one_epoch(sweep: Sweep, assignment: Assignment, epoch: int) -> bool:
    """Report a made-up epoch, or a failure of one training in nine; whether the training goes on."""
    key = assignment.spec.key
    if epoch == 2 and int(key[-4:], 16) % 9 == 0:
        sweep.fail(key, "made up")
        return False
    metrics = EpochMetrics(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=0.5,
        val_loss=1.0,
        val_accuracy=score(key, epoch),
        learning_rate=0.1,
        elapsed_secs=1.0,
        num_images=64,
    )
    result = TrialResult(test_accuracy=None) if epoch == EPOCHS else None
    return sweep.report(key, Progress(metrics=metrics, result=result), "here")


def carry_out(sweep: Sweep, at_once: int = 1, until: Callable[[int], bool] = lambda _: False) -> bool:
    """Train everything, `at_once` side by side, an epoch of each in turn; False if cut off after so many epochs."""
    running: dict[str, tuple[Assignment, int]] = {}
    num_epochs = 0
    while True:
        while len(running) < at_once and (assignment := sweep.next()) is not None:
            running[assignment.spec.key] = assignment, assignment.num_known_epochs
        if not running:
            return True
        for key, (assignment, known) in list(running.items()):
            if until(num_epochs):
                return False
            num_epochs += 1
            running[key] = assignment, known + 1
            if not train_one_epoch(sweep, assignment, known + 1):
                del running[key]


def run(name: str, storage: Path, cuts: tuple[int, ...] = ()) -> list[list[Any]]:
    """Run a study to its end, cut off after so many epochs each time, and list its draws by number."""
    study = make_study(name, storage)
    facts = load_facts(study)
    for cut in (*cuts, None):
        with Journal(claim_folder(study)) as journal:
            journal.note("session", verb="sweep", data={"name": "digits", "digest": facts.key})
            sweep = Sweep(study=study, facts=facts, journal=journal)
            at_once = 3 if name == "tpe-three-at-once" else 1
            over = carry_out(sweep, at_once, lambda num, cut=cut: cut is not None and num >= cut)
            assert over == (cut is None)
    return list_draws(study)


def list_draws(study: StudyConfig) -> list[list[Any]]:
    """Each draw by its number: [number, key, point's digest, params] of a trial, [number, why, digest] of others."""
    space = study.build_space()
    rows: dict[int, list[Any]] = {}
    for draw in read_draws(study.folder).values():
        if draw.rejected and draw.point is not None:
            rows[draw.number] = [draw.number, draw.rejected.partition(":")[0], space.point(draw.point).digest]
    for record in read_records(study.folder).values():
        point = space.point(record.point)
        params = {name: point[name] for name in space.free if name in point}
        rows[record.number] = [record.number, record.key, point.digest, params]
    return [rows[number] for number in sorted(rows)]


def main() -> None:
    """Write `proposals.json`."""
    found = {}
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = run(name, Path(folder))
        num = len(found[name])
        print(name, num, "draws,", sum(len(draw) == 3 for draw in found[name]), "rejected")
    with tempfile.TemporaryDirectory() as folder:
        assert run("tpe", Path(folder), cuts=CUTS) == found["tpe"], "killed and resumed: other proposals"
    with tempfile.TemporaryDirectory() as folder:
        # Not the same as uncut: which of three trials ends first depends on where they go on.
        found["tpe-three-at-once, cut"] = run("tpe-three-at-once", Path(folder), cuts=CUTS)
    lines = (f' "{name}": [\n  ' + ",\n  ".join(map(json.dumps, draws)) + "\n ]" for name, draws in found.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
