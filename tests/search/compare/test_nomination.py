"""A nominee's three scores, their words, and its state."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from search.compare.nomination import select
from search.console.scores import expected_line, score_rows
from search.journal.comparison import ComparisonDocument
from search.journal.nominee import CONFIRMED, NOMINATED, PROVISIONAL, state_of
from search.journal.selection import Correction
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord
from search.significance.declared import NEW_DATA, THIS_DATA
from search.significance.records import Comparison, Verdict
from search.study.config import StudyConfig

MakeStudy = Callable[..., StudyConfig]
MakeDocument = Callable[[dict[str, Any]], ComparisonDocument]


@pytest.fixture
def make_trial(
    make_study: MakeStudy, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> Callable[..., TrialRecord]:
    """Make a completed trial from what it got right of four validation images."""
    folder = make_study().folder
    folder.mkdir(parents=True)

    def make(number: int, right: str, **fields: Any) -> TrialRecord:
        bits = np.array([[int(bit) for bit in right]], dtype=bool)
        np.save(folder / f"{number}.npy", np.packbits(bits, axis=1))
        values = {
            "number": number,
            "point": {"rnn": "gru", "nodes": number},
            "curve": (make_epoch(1, float(bits.mean())),),
            "outcome": Completed(),
            "artifacts": {"val_correct": f"{number}.npy"},
        }
        return make_record(str(number), **{**values, **fields})

    return make


@pytest.fixture
def trials(make_trial: Callable[..., TrialRecord]) -> list[TrialRecord]:
    """Trial 1 is nominated with 0.75; the correction is 0.25."""
    return [make_trial(0, "0100"), make_trial(1, "1110"), make_trial(2, "1001")]


def contender(name: str, point: dict[str, Any], *scores: float | None) -> dict[str, Any]:
    """None: diverged, and left nothing."""
    repeats = [
        {"test_accuracy": score, "diverged_in_epoch": 1 if score is None else None, "state": "completed"}
        for score in scores
    ]
    return {"name": name, "point": point, "repeats": repeats}


def verdict(a: str, b: str, word: str, **fields: Any) -> dict[str, Any]:
    return {"a": a, "b": b, "verdict": word, "estimand": NEW_DATA, "family_size": 2, **fields}


def judged(items: list[dict[str, Any]]) -> list[Comparison]:
    usual = {"sentence": "", "num_blocks": 3, "adjust_method": "holm", "alpha": 0.05, "rope": 0.005}
    return [Comparison(**{**usual, **item, "verdict": Verdict(item["verdict"])}) for item in items]


def test_three_scores_of_the_nominee(
    make_study: MakeStudy, make_document: MakeDocument, trials: list[TrialRecord]
) -> None:
    scores = (0.6, 0.65, 0.7, 0.58)
    document = {
        "contenders": [contender("GRU", {"rnn": "gru", "nodes": 1}, *scores), contender("CNN", {"rnn": "none"}, 0.5)],
        "comparisons": [verdict("GRU", "CNN", "better")],
    }
    found = select(make_study(), trials, make_document(document), num_val=4, num_classes=10)
    assert found is not None
    assert (found.name, found.trial, found.sweep_rank, found.state) == ("GRU", 1, 1, CONFIRMED)
    assert (found.selection_score, found.corrected_score) == (0.75, 0.5)
    assert found.correction == Correction(bias=0.25, num_candidates=3, num_images=4)
    assert found.confirmed_score is not None
    assert found.confirmed_score.mean == pytest.approx(0.6325)
    low, high = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    plain = dataclasses.asdict(found)
    assert plain["confirmed_score"] == {
        "mean": pytest.approx(0.6325),
        "num_repeats": 4,
        "interval": {"low": pytest.approx(low), "high": pytest.approx(high), "level": 0.95},
    }
    assert (plain["correction"]["bias"], plain["correction_unknown"]) == (0.25, None)
    assert json.loads(json.dumps(plain)) == json.loads(json.dumps(plain, allow_nan=False))
    assert score_rows(found) == [
        ("selection score", "75.00 %", "validation accuracy of one run, selected for this score"),
        (
            "corrected score",
            "50.00 %",
            "25.00 pp less, for selection on 4 validation images among 3 candidates (Tibshirani, 4 folds); the effect "
            "of the seeds is not corrected",
        ),
        (
            "confirmed score",
            "63.25 %",
            "test accuracy, mean of 4 repeats on these test images; "
            f"95 % interval {100 * low:.2f} to {100 * high:.2f} %",
        ),
    ]


def test_without_its_comparison_nothing_is_confirmed(
    make_study: MakeStudy, make_document: MakeDocument, trials: list[TrialRecord]
) -> None:
    other = {"contenders": [contender("CNN", {"rnn": "none"}, 0.5, 0.6, 0.7)], "comparisons": []}
    lost = {"contenders": [contender("GRU", {"rnn": "gru", "nodes": 1})], "comparisons": []}
    for document, name, reason in (
        (None, "trial 1", "no comparison yet, run `hybrid-search compare`"),
        (other, "trial 1", "it is not in the newest comparison, run `hybrid-search compare`"),
        (lost, "GRU", "no repeat has a score, run `hybrid-search compare`"),
    ):
        found = select(make_study(), trials, document and make_document(document), num_val=4, num_classes=10)
        assert found is not None
        assert (found.name, found.state, found.confirmed_score) == (name, NOMINATED, None)
        assert found.confirmed_unknown == reason
        assert score_rows(found)[2] == ("score on fresh repeats", "-", f"unknown: {reason}")


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ([], NOMINATED),
        ([verdict("X", "Y", "better")], NOMINATED),
        ([verdict("A", "X", "better")], CONFIRMED),
        ([verdict("X", "A", "worse")], CONFIRMED),
        ([verdict("X", "A", "better")], NOMINATED),
        ([verdict("A", "X", "better"), verdict("A", "Y", "inconclusive")], NOMINATED),
        ([verdict("A", "X", "better"), verdict("A", "Y", "practically equivalent")], NOMINATED),
        ([verdict("A", "X", "better"), verdict("A", "Y", "better", provisional=True)], PROVISIONAL),
        ([verdict("A", "X", "better"), verdict("X", "Y", "better", provisional=True)], CONFIRMED),
    ],
)
def test_confirmed_is_who_won_every_comparison(verdicts: list[dict[str, Any]], state: str) -> None:
    assert state_of(judged(verdicts), "A", num_looks=1) == state


@pytest.mark.parametrize(
    ("fields", "num_looks", "state"),
    [
        ({"estimand": THIS_DATA}, 1, "confirmed on these images"),
        ({}, 2, "confirmed, at undeclared analysis 2"),
        ({"adjust_method": "bh"}, 1, "confirmed, but for false discoveries"),
        # Of one comparison it is the same error rate.
        ({"adjust_method": "bh", "family_size": 1}, 1, "confirmed"),
        ({"provisional": True}, 3, "confirmed, provisionally, at undeclared analysis 3"),
        (
            {"estimand": THIS_DATA, "provisional": True, "adjust_method": "bh"},
            2,
            "confirmed on these images, provisionally, but for false discoveries, at undeclared analysis 2",
        ),
    ],
)
def test_a_state_says_what_the_confirmation_lacks(fields: dict[str, Any], num_looks: int, state: str) -> None:
    own = [verdict("A", "X", "better"), verdict("A", "Y", "better", **fields)]
    assert state_of(judged(own), "A", num_looks=num_looks) == state
    lost = [*own, verdict("A", "Z", "worse", **fields)]
    assert state_of(judged(lost), "A", num_looks=num_looks) == NOMINATED
    others = [verdict("A", "X", "better"), verdict("X", "Y", "better", **fields)]
    assert state_of(judged(others), "A", num_looks=1) == CONFIRMED


def test_the_looks_of_a_document_are_in_the_state(
    make_study: MakeStudy, make_document: MakeDocument, trials: list[TrialRecord]
) -> None:
    contenders = [contender("GRU", {"rnn": "gru", "nodes": 1}, 0.6, 0.7), contender("CNN", {"rnn": "none"}, 0.5)]
    document = {"num_looks": 2, "contenders": contenders, "comparisons": [verdict("GRU", "CNN", "better")]}
    found = select(make_study(), trials, make_document(document), num_val=4, num_classes=10)
    assert found is not None
    assert found.state == "confirmed, at undeclared analysis 2"


@pytest.mark.parametrize(
    ("scores", "mean", "words"),
    [
        ((0.6,), "60.00 %", "test accuracy of one run"),
        ((0.6, 0.7), "65.00 %", "test accuracy, mean of 2 repeats on these test images; no interval from two"),
        (
            (0.6, 0.6, 0.6),
            "60.00 %",
            "test accuracy, mean of 3 repeats on these test images; no interval, as none varied",
        ),
        # A repeat that diverged and left nothing is an outcome: chance.
        ((0.6, None), "35.00 %", "test accuracy, mean of 2 repeats on these test images; no interval from two"),
    ],
)
def test_few_repeats_and_diverged_ones(
    make_study: MakeStudy,
    make_document: MakeDocument,
    trials: list[TrialRecord],
    scores: tuple[float | None, ...],
    mean: str,
    words: str,
) -> None:
    document = {"contenders": [contender("GRU", {"rnn": "gru", "nodes": 1}, *scores)], "comparisons": []}
    lost = {"test_accuracy": None, "diverged_in_epoch": None, "state": "failed"}
    document["contenders"][0]["repeats"].append(lost)
    found = select(make_study(), trials, make_document(document), num_val=4, num_classes=10)
    assert found is not None
    assert score_rows(found)[2] == ("score on fresh repeats", mean, words)


def test_another_nominee_and_a_baseline_have_no_correction(
    make_study: MakeStudy, make_document: MakeDocument, trials: list[TrialRecord]
) -> None:
    second = select(make_study(), trials, None, num_val=4, num_classes=10, point={"rnn": "gru", "nodes": 2})
    assert second is not None
    assert (second.trial, second.sweep_rank, second.selection_score, second.corrected_score) == (2, 2, 0.5, None)
    assert score_rows(second)[:2] == [
        ("selection score", "50.00 %", "validation accuracy of one run, nominee 2 of the sweep"),
        (
            "corrected score",
            "-",
            ("unknown: the correction applies to the sweep's first nominee, and this is nominee 2"),
        ),
    ]
    point = {"rnn": "none"}
    document = {"contenders": [contender("CNN", point, 0.5)], "comparisons": []}
    baseline = select(make_study(), trials, make_document(document), num_val=4, num_classes=10, point=point)
    assert baseline is not None
    assert (baseline.name, baseline.trial, baseline.selection_score) == ("CNN", None, None)
    assert score_rows(baseline)[:2] == [
        ("selection score", "-", "none: the sweep did not choose it"),
        ("corrected score", "-", "unknown: the sweep did not choose it"),
    ]


def test_odd_sweeps(
    make_study: MakeStudy, make_trial: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> None:
    study = make_study()
    assert select(study, [], None, num_val=4, num_classes=10) is None
    alone = select(study, [make_trial(0, "1100")], None, num_val=4, num_classes=10)
    assert alone is not None
    assert (alone.selection_score, alone.corrected_score) == (0.5, 0.5)
    assert score_rows(alone)[1] == ("corrected score", "50.00 %", "one candidate: no selection, so no correction")
    # Stopped ones competed: beside a single completed trial nothing is known, beside several it was at least so much.
    one = [make_trial(0, "1100"), make_trial(1, "1110", outcome=Stopped(epoch=1), artifacts={})]
    beside = select(study, one, None, num_val=4, num_classes=10)
    assert beside is not None
    assert beside.corrected_score is None
    assert score_rows(beside)[1][1:] == (
        "-",
        "unknown: a trial that was stopped early competed with it and left no correctness of the validation images",
    )
    several = select(study, [*one, make_trial(2, "1001")], None, num_val=4, num_classes=10)
    assert several is not None
    words = score_rows(several)[1][2]
    assert words.startswith("at least ")
    assert "among 2 candidates (Tibshirani, 4 folds; 1 stopped trials competed as well)" in words
    # Nothing completed: a trial that the scheduler stopped is nominated.
    stopped = select(study, [make_trial(0, "1100", outcome=Stopped(epoch=1))], None, num_val=4, num_classes=10)
    assert stopped is not None
    assert (stopped.selection_score, stopped.expected_highest) == (0.5, None)
    assert (stopped.correction, stopped.correction_unknown) == (None, "no trial was completed")
    # No validation part: nothing to choose by.
    never = select(study, [make_trial(0, "1", curve=(make_epoch(1, None),))], None, num_val=0, num_classes=10)
    assert never is not None
    assert never.expected_highest is None
    assert [row[1:] for row in score_rows(never)[:2]] == [
        ("-", "none: it was not validated"),
        ("-", "unknown: there is no validation part"),
    ]


def test_the_choice_of_the_epoch_and_several_blocks_are_said(
    make_study: MakeStudy, make_trial: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> None:
    curve = (make_epoch(1, 0.75), make_epoch(2, 0.5))
    trials = [make_trial(0, "1110", curve=curve, keep="best"), make_trial(1, "1001", keep="best")]
    found = select(make_study(), trials, None, num_val=4, num_classes=10)
    assert found is not None
    assert (found.trial, found.selection_score, found.kept_epoch) == (0, 0.75, 1)
    selected, corrected, _ = score_rows(found)
    assert selected[2] == "validation accuracy of one run after its best epoch, 1, selected for this score"
    assert corrected[2].startswith("at least 25.00 pp less")
    assert corrected[2].endswith(
        "4 folds; the selection of the epoch adds to it); the effect of the seeds is not corrected"
    )
    alone = select(make_study(), trials[:1], None, num_val=4, num_classes=10)
    assert alone is not None
    assert "although its epoch was selected on the validation images" in score_rows(alone)[1][2]
    blocks = ("sweep-0", "sweep-1")
    for record, rows in ((trials[0], ("1110", "1100")), (trials[1], ("0001", "1111"))):
        bits = np.array([[int(bit) for bit in row] for row in rows], dtype=bool)
        np.save(make_study().folder / f"{record.number}.npy", np.packbits(bits, axis=1))
    pair = [dataclasses.replace(record, blocks=blocks, keep="last", curve=(make_epoch(1, 0.625),)) for record in trials]
    found = select(make_study(), pair, None, num_val=4, num_classes=10)
    assert found is not None
    selected, corrected, _ = score_rows(found)
    assert selected[2] == "validation accuracy of 2 runs, selected for this score"
    # The second is ahead by 1/2 on the second block: 1/4 in the mean of both, over sqrt(2) - 1.
    assert corrected[2] == (
        "60.36 pp less, for selection on 8 validation images among 2 candidates (Tibshirani, blocks as 2 folds); the "
        "effect of the seeds is included"
    )
    fixed = select(make_study(), pair, None, num_val=4, num_classes=10, is_val_fixed=True)
    assert fixed is not None
    assert "for selection on 4 validation images among 2 candidates (Tibshirani, 4 folds)" in score_rows(fixed)[1][2]


def test_what_further_trials_would_buy(make_study: MakeStudy, make_trial: Callable[..., TrialRecord]) -> None:
    rights = ("1111", "1110", "1100", "1000", "0000", "1110", "0001", "1100", "1110", "1010", "0000", "1001")
    trials = [make_trial(number, right) for number, right in enumerate(rights)]
    scores = [right.count("1") / 4 for right in rights]
    study = make_study("search.sampler=random", "search.scheduler=none")
    found = select(study, trials, None, num_val=4, num_classes=10)
    assert found is not None
    assert found.expected_highest is not None
    assert found.expected_highest.num_trials == (1, 2, 5, 10, 12)
    by_hand = [np.mean([max(drawn) for drawn in itertools.combinations(scores, count)]) for count in (1, 2, 5, 10, 12)]
    assert found.expected_highest.val_accuracy == pytest.approx(by_hand)
    assert found.expected_highest.is_exact
    expected = found.expected_highest
    numbers = ", ".join(f"{100 * value:.2f}" for value in by_hand)
    line = f"highest validation accuracy expected of 1, 2, 5, 10, 12 trials: {numbers} %"
    assert expected_line(expected) == line
    hint = "; approximate: trials were stopped early, or are not independent random draws"
    assert expected_line(dataclasses.replace(expected, is_exact=False)) == line + hint


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("search.sampler=tpe", {}),
        ('search.enqueue=["ecrnn/cnn"]', {}),
        ("seed=3", {"outcome": Stopped(epoch=1)}),
        ("seed=3", {"outcome": Failed(reason="x")}),
        ("seed=3", {"outcome": None}),
    ],
)
def test_the_curve_is_exact_only_for_random_draws_trained_to_the_end(
    make_study: MakeStudy, make_trial: Callable[..., TrialRecord], override: str, change: dict[str, Any]
) -> None:
    trials = [make_trial(0, "1111"), make_trial(1, "1110", **change)]
    found = select(make_study("search.sampler=random", override), trials, None, num_val=4, num_classes=10)
    assert found is not None
    assert found.expected_highest is not None
    assert not found.expected_highest.is_exact


def test_no_row_calls_anything_best(make_study: MakeStudy, trials: list[TrialRecord], tmp_path: Path) -> None:
    for point in (None, {"rnn": "gru", "nodes": 2}, {"rnn": "none"}):
        found = select(make_study(), trials, None, num_val=4, num_classes=10, point=point)
        assert found is not None
        words = " ".join(itertools.chain(*score_rows(found), [expected_line(found.expected_highest)]))
        assert "best" not in words.lower()
