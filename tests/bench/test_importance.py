"""The importances of a few trials against the variance decomposition of the whole table that they are drawn from."""

from __future__ import annotations

import random

from bench.search_efficiency.importance import main_effects, record_of
from bench.search_efficiency.ours import metrics
from bench.search_table import FOLDER, read_table
from search.journal.importance import what_mattered
from search.records import Completed
from search.study.load import load_study


def test_a_sample_of_the_digits_table_agrees_with_all_of_it() -> None:
    space = load_study(FOLDER / "digits.yaml").build_space()
    points = list(space.enumerate())
    rows = [row for row in read_table(FOLDER / "digits.jsonl") if row["seed"] == 0 and len(row["val_accuracy"]) == 12]
    true = main_effects(
        {row["point"]: row["params"] for row in rows}, {row["point"]: row["val_accuracy"][-1] for row in rows}
    )
    ranked = list(true)
    sample = random.Random(0).sample(rows, 80)
    curves = {
        row["point"]: [metrics(epoch, value) for epoch, value in enumerate(row["val_accuracy"], start=1)]
        for row in sample
    }
    found = what_mattered(
        [record_of(point, points[point], curve, Completed()) for point, curve in curves.items()], space
    )
    assert set(found.parameters[:2]) == set(ranked[:2])
    assert [share.parameter for share in found.variance.shares][:2] == ranked[:2]
    for share in found.variance.shares:
        assert abs(share.share - true[share.parameter]) < 0.2
