"""The importances of a few trials against the variance decomposition of the whole table that they are drawn from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from bench.search_table import FOLDER, read_table
from search.journal.importance import what_mattered
from search.records import Completed, EpochMetrics, TrialRecord
from search.study.load import load_study
from spaces.point import Point


def main_effects(rows: list[dict[str, Any]], names: list[str]) -> dict[str, float]:
    """Share of the variance of the last accuracy that lies between the values of each parameter."""
    scores = np.array([row["val_accuracy"][-1] for row in rows])
    shares = {}
    for name in names:
        values = np.array([repr(row["params"][name]) for row in rows])
        means = {value: scores[values == value].mean() for value in set(values)}
        shares[name] = float(np.var([means[value] for value in values]) / np.var(scores))
    return shares


def record_of(row: dict[str, Any], point: Point) -> TrialRecord:
    return TrialRecord(
        key=f"p{row['point']}",
        number=row["point"],
        label="",
        kind="trial",
        point=dict(point),
        blocks=("sweep-0",),
        curve=tuple(
            EpochMetrics(
                epoch=number,
                train_loss=1.0,
                train_accuracy=0.5,
                val_loss=1.0,
                val_accuracy=accuracy,
                learning_rate=0.01,
                elapsed_secs=1.0,
                num_images=1,
            )
            for number, accuracy in enumerate(row["val_accuracy"], start=1)
        ),
        outcome=Completed(),
        started_at=0.0,
        finished_at=1.0,
        node="",
    )


def test_a_sample_of_the_digits_table_agrees_with_all_of_it() -> None:
    space = load_study(FOLDER / "digits.yaml").build_space()
    points = list(space.enumerate())
    rows = [row for row in read_table(FOLDER / "digits.jsonl") if row["seed"] == 0 and len(row["val_accuracy"]) == 12]
    true = main_effects(rows, ["enc_on", "rnn", "dropout", "lr"])
    ranked = sorted(true, key=lambda name: -true[name])
    sample = random.Random(0).sample(rows, 80)
    found = what_mattered([record_of(row, points[row["point"]]) for row in sample], space)
    assert set(found.parameters[:2]) == set(ranked[:2])
    assert [share.parameter for share in found.variance.shares][:2] == ranked[:2]
    for share in found.variance.shares:
        assert abs(share.share - true[share.parameter]) < 0.2
