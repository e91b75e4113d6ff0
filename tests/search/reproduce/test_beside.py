"""Theirs and ours side by side, from outcomes made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search.reproduce.beside import cell_rows, family_tables
from search.reproduce.outcomes import Outcome
from search.reproduce.paper import load_paper
from search.reproduce.table import to_table
from search.study.config import StudyConfig

NUM_IMAGES = 200
DATA = ("cifar10", "caltech101", "tiny5")
MakeOutcome = Callable[..., Outcome]


@pytest.fixture
def make_outcome() -> MakeOutcome:
    """Make an outcome: `make_outcome([.7, .8])`; test bits follow the same accuracies."""

    def make(accuracies: list[float | None], *, diverged: tuple[int, ...] = (), seed: int = 0) -> Outcome:
        rng = np.random.default_rng(seed)
        scores = np.array([np.nan if value is None else value for value in accuracies])
        correct = tuple(
            None if np.isnan(value) else (rng.permutation(NUM_IMAGES) < round(value * NUM_IMAGES)).astype(np.uint8)
            for value in scores
        )
        blocks = tuple(f"compare-{index}" for index in range(len(scores)))
        return Outcome(
            blocks=blocks,
            records=(None,) * len(scores),
            scores={"train": scores, "validation": scores, "test": scores},
            correct=correct,
            diverged=frozenset(blocks[place] for place in diverged),
        )

    return make


def rows_of(outcomes: dict[str, Outcome], paper: str = "ecrnn", data: str = "cifar10") -> dict[str, dict[str, Any]]:
    found = cell_rows(load_paper(paper), data, outcomes, num_classes=10)
    return {f"{row['cell']} {row['score']}": row for row in found}


def tables_of(study: StudyConfig, outcomes: dict[str, Outcome], paper: str = "ecrnn") -> dict[str, dict[str, Any]]:
    found = family_tables(load_paper(paper), "cifar10", study, outcomes, num_classes=10, num_validation=15_000)
    return {table["title"]: table for table in found}


def test_theirs_inside_and_outside(make_outcome: MakeOutcome) -> None:
    near, far = [0.7305, 0.7315, 0.7320, 0.7330, 0.7350], [0.760, 0.761, 0.762]
    rows = rows_of({"cnn": make_outcome(near), "crnn-lstm-16": make_outcome(far)})
    assert rows["cnn validation"]["inside"] is True
    assert rows["cnn validation"]["theirs"] == pytest.approx(0.7325)
    assert rows["cnn validation"]["difference"] == pytest.approx(np.mean(near) - 0.7325)
    assert rows["crnn-lstm-16 validation"]["inside"] is False
    assert rows["crnn-lstm-16 validation"]["difference"] > 0.01


@pytest.mark.parametrize("side", [1, -1])
def test_a_number_printed_in_whole_per_cent_is_given_its_rounding(make_outcome: MakeOutcome, side: int) -> None:
    near, far = ([0.8 + side * (shift + step) for step in (0.0, 1e-4, 2e-4)] for shift in (0.0040, 0.0060))
    row = rows_of({"cnn": make_outcome(near)}, "yilmaz")["cnn test"]
    assert not row["interval"]["low"] < 0.8 < row["interval"]["high"]
    assert row["inside"] is True
    assert rows_of({"cnn": make_outcome(far)}, "yilmaz")["cnn test"]["inside"] is False


def test_the_error_of_their_images_is_the_binomial_one(make_outcome: MakeOutcome) -> None:
    # As worked out beside the report's Table I: 91 % of 676 images is 88.8 to 93.2, 64 % of 500 is 59.8 to 68.2.
    found = [cell_rows(load_paper("yilmaz"), data, {"cnn": make_outcome([0.9])}, num_classes=10) for data in DATA]
    assert [100 * row["their_error"] for (row,) in found] == pytest.approx([0.8, 2.2, 4.2], abs=0.05)


def test_further_runs_spread_more_than_their_mean(make_outcome: MakeOutcome) -> None:
    row = rows_of({"cnn": make_outcome([0.735, 0.738, 0.740, 0.743, 0.735])})["cnn validation"]
    assert row["inside"] is False
    assert row["expected"]["low"] < row["interval"]["low"] < row["interval"]["high"] < row["expected"]["high"]
    assert row["expected_holds"] is True


def test_other_test_images_are_no_further_runs(make_outcome: MakeOutcome) -> None:
    outcome = {"cnn": make_outcome([0.90, 0.91, 0.92])}
    fixed, drawn = (cell_rows(load_paper("yilmaz"), data, outcome, num_classes=10)[0] for data in DATA[:2])
    assert fixed["expected_holds"] is False  # 80 % on the official test images
    assert (drawn["inside"], drawn["expected_holds"]) == (True, None)


def test_images_that_were_trained_on_leave_no_sampling_error(make_outcome: MakeOutcome) -> None:
    rows = {
        row["score"]: row
        for row in cell_rows(load_paper("yin"), "cifar10", {"cnn": make_outcome([0.9])}, num_classes=10)
    }
    assert rows["train"]["their_error"] is None
    assert rows["test"]["their_error"] > 0


def test_a_single_run_has_no_interval(make_outcome: MakeOutcome) -> None:
    row = rows_of({"cnn": make_outcome([0.74])})["cnn validation"]
    assert (row["ours"], row["interval"], row["inside"], row["runs"]) == (0.74, None, None, 1)


def test_a_diverged_run_counts_with_what_it_left_or_as_chance_and_a_lost_one_not_at_all(
    make_outcome: MakeOutcome,
) -> None:
    row = rows_of({"cnn": make_outcome([0.7, None, None, 0.4], diverged=(1, 3))})["cnn validation"]
    assert row["scores"] == [0.7, 0.1, 0.4]  # the last one left a finite checkpoint
    assert (row["runs"], row["diverged"]) == (3, 2)


def test_a_cell_that_left_nothing_keeps_its_row(make_outcome: MakeOutcome) -> None:
    row = rows_of({"cnn": make_outcome([None, None])})["cnn validation"]
    assert (row["ours"], row["runs"], row["theirs"]) == (None, 0, 0.7325)


def test_training_and_test_accuracy_are_rows_of_their_own(make_outcome: MakeOutcome) -> None:
    rows = rows_of({"vgg9+irnn": make_outcome([0.8, 0.82])}, "yin")
    assert (rows["vgg9+irnn train"]["theirs"], rows["vgg9+irnn test"]["theirs"]) == (0.929, 0.782)


def test_marks_of_the_paper_beside_a_valid_test(
    make_study: Callable[..., StudyConfig], make_outcome: MakeOutcome
) -> None:
    # One percentage point apart on average, and runs that differ by several: the pooled test is sure, a valid one not.
    first, second = [0.76, 0.70, 0.75, 0.71, 0.755], [0.72, 0.73, 0.72, 0.73, 0.725]
    study = make_study(split={"method": "random", "fraction": 0.3})
    outcomes = {"crnn-bilstm-32": make_outcome(first), "cnn": make_outcome(second, seed=1)}
    (table,) = tables_of(study, outcomes).values()
    (pair,) = table["pairs"]
    assert (table["size"], table["of"]) == (1, 8)
    assert (pair["theirs"], pair["their_stars"]) == (pytest.approx(0.0127), 3)
    assert pair["as_published"]["stars"] == 3
    assert (pair["as_published"]["runs"], pair["as_published"]["images"]) == (5, 15_000)
    assert pair["tests"]["validation"]["stars"] == 0
    comparison = pair["tests"]["validation"]["comparison"]
    assert comparison["test"] == "corrected resampled t"
    assert comparison["estimate"] == pytest.approx(0.01)
    diff = np.subtract(first, second)
    assert comparison["se"] == pytest.approx(np.std(diff, ddof=1) * np.sqrt(1 / 5 + 3 / 7))
    assert pair["tests"]["test"]["comparison"]["test"] == "crossed repeats x images"


def test_the_family_is_what_was_trained(make_study: Callable[..., StudyConfig], make_outcome: MakeOutcome) -> None:
    names = ("cnn", "crnn-lstm-16", "crnn-lstm-32", "control")
    outcomes = {
        name: make_outcome(list(0.7 + 0.01 * place + 0.001 * np.arange(5) * (-1) ** np.arange(5)), seed=place)
        for place, name in enumerate(names)
    }
    tables = tables_of(make_study(), outcomes)
    assert [(table["size"], table["of"]) for table in tables.values()] == [(2, 8), (1, 9)]
    for pair in tables["Table 2: CRNN minus CNN"]["pairs"]:
        assert pair["tests"]["validation"]["comparison"]["family_size"] == 2


def test_a_paper_without_marks_gets_differences_of_its_accuracies(
    make_study: Callable[..., StudyConfig], make_outcome: MakeOutcome
) -> None:
    outcomes = {name: make_outcome([0.7, 0.71, 0.72], seed=seed) for seed, name in enumerate(("cnn", "cnn-lstm-skip"))}
    (table,) = tables_of(make_study(), outcomes, "yilmaz").values()
    (pair,) = table["pairs"]
    assert (pair["theirs"], pair["their_stars"], pair["as_published"]) == (pytest.approx(-0.02), None, None)
    assert list(pair["tests"]) == ["test"]


def test_the_table_in_words(make_study: Callable[..., StudyConfig], make_outcome: MakeOutcome) -> None:
    outcomes = {"crnn-bilstm-16": make_outcome([0.75, 0.76, 0.745]), "cnn": make_outcome([0.73, None, 0.72], seed=1)}
    study = make_study()
    text = to_table(
        {
            "title": "T",
            "data": "cifar10",
            "images": {"training": 35_000, "validation": 15_000, "test": 10_000},
            "epochs": 1,
            "precision": "float32",
            "repeats": 3,
            "changes": [{"field": "data.limit", "shipped": None, "here": 600}],
            "marks": [0.05, 0.005, 0.0001],
            "cells": cell_rows(load_paper("ecrnn"), "cifar10", outcomes, num_classes=10),
            "families": list(tables_of(study, outcomes).values()),
            "missing": ["the moon"],
            "num_looks": 2,
        }
    )
    assert "35,000 training, 15,000 validation, 10,000 test images; 1 epoch in float32; 3 runs per cell" in text
    assert "**Not the paper's setting:** data.limit 600 instead of unset." in text
    assert "| CRNN, BiLSTM 16 | 2, 4, 5 | validation | 73.40 ±0.4 | 75.17 (73.27 to 77.06) | 3    | +1.77" in text
    assert "+2.25, no test" in text
    assert "2 paired runs; Holm over 1 (of 8 in the whole table)." in text
    assert "No test: the corrected resampled t needs at least 5 paired repeats, got 2." in text
    assert "* p < .05, ** p < .005, *** p < .0001" in text
    assert "Not drawn: the moon." in text
    assert "this is analysis 2 of these runs, undeclared" in text
    lines = [line for line in text.splitlines() if line.startswith("| C")]
    assert len({len(line) for line in lines[:2]}) == 1
