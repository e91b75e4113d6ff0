"""A study of 10,000 trials is shown in seconds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from search.journal.reading import FILE_NAME
from search.records import Completed, EpochMetrics, Outcome, Stopped, canonical, digest_of, outcome_to_dict
from search.report.overview import make_overview
from search.report.status_lines import to_lines
from search.report.write import write_report
from search.study.config import StudyConfig, to_dict
from search.study.load import find_study

STATUS_SECS, REPORT_SECS = 3.0, 10.0
CLASSES = [str(label) for label in range(10)]


def write_trials(study: StudyConfig, num_trials: int) -> None:
    """Write the journal of a sweep under ASHA: of nine trials, six end after one epoch, two after three."""
    study.folder.mkdir(parents=True)
    (study.folder / "study.yaml").write_text(yaml.safe_dump(to_dict(study), sort_keys=False))
    rng, bits = random.Random(0), np.random.default_rng(0)
    data = {"name": "digits", "digest": "d", "num_train": 240, "num_test": 60, "root": None}
    events: list[dict[str, object]] = [{"event": "session", "verb": "sweep", "data": data, "classes": CLASSES}]
    for number in range(num_trials):
        key = digest_of(number)
        point = {"rnn": rng.choice(["lstm", "gru"]), "nodes": rng.choice([8, 16]), "lr": rng.uniform(1e-4, 1e-2)}
        begin = {"number": number, "label": f"trial {number}", "kind": "trial", "point": point, "blocks": ["sweep-0"]}
        events.append({"event": "begin", "key": key, **begin})
        num_epochs = (9, 3, 3, 1, 1, 1, 1, 1, 1)[number % 9]
        events += (
            {"event": "epoch", "key": key, "node": "n", "metrics": vars(_metrics(epoch, rng.random()))}
            for epoch in range(1, num_epochs + 1)
        )
        outcome: Outcome = Completed() if num_epochs == 9 else Stopped(epoch=num_epochs)
        end: dict[str, object] = {"event": "end", "key": key, "outcome": outcome_to_dict(outcome)}
        if num_epochs == 9:
            folder = study.folder / "trials" / key
            folder.mkdir(parents=True)
            np.save(folder / "val_correct.npy", np.packbits(bits.random((1, 60)) < 0.7, axis=1))
            end["artifacts"] = {"val_correct": f"trials/{key}/val_correct.npy"}
        events.append(end)
    lines = (canonical({"at": 1.79e9 + number, **event}) for number, event in enumerate(events))
    (study.folder / FILE_NAME).write_text("\n".join(lines) + "\n")


def _metrics(epoch: int, accuracy: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        train_loss=1 / epoch,
        train_accuracy=accuracy,
        val_loss=1 / epoch,
        val_accuracy=accuracy,
        learning_rate=0.01,
        elapsed_secs=1.0,
        num_images=200,
    )


@pytest.mark.slow
def test_ten_thousand_trials_are_shown_in_seconds(make_study: Callable[..., StudyConfig], tmp_path: Path) -> None:
    study = make_study("search.trials=10000", "train.epochs=9", "tracking.enabled=false")
    write_trials(study, 10_000)
    began = time.process_time()
    lines = to_lines(make_overview(find_study(study.folder)))
    assert time.process_time() - began < STATUS_SECS
    assert any("10000/10000: 1112 completed, 8888 stopped" in line for line in lines)
    began = time.process_time()
    write_report(find_study(study.folder), tmp_path / "page.html")
    assert time.process_time() - began < REPORT_SECS
