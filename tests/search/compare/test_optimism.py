"""The winner's curse, estimated from which validation images each trial got right."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.compare.selection_bias import NUM_FOLDS, Correction, Unknown, correct, load_val_correct
from search.journal.reading import FILE_NAME, read_records
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord

MakeTrials = Callable[..., list[TrialRecord]]


@pytest.fixture
def make_trials(
    tmp_path: Path, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> MakeTrials:
    """Make completed trials from what each got right: `make_trials("1101", "0010")`, blocks parted by a space."""

    def make(*rights: str | Sequence[int]) -> list[TrialRecord]:
        trials = []
        for number, right in enumerate(rights):
            rows = [[int(bit) for bit in row] for row in (right.split() if isinstance(right, str) else [right])]
            file = f"{number}.npy"
            np.save(tmp_path / file, np.packbits(np.array(rows, dtype=bool), axis=1))
            trials.append(
                make_record(
                    f"{number}",
                    number=number,
                    blocks=tuple(f"sweep-{index}" for index in range(len(rows))),
                    curve=(make_epoch(1, 0.99), make_epoch(2, float(np.mean(rows)))),
                    outcome=Completed(),
                    artifacts={"val_correct": file},
                )
            )
        return trials

    return make


def bias(folder: Path, trials: list[TrialRecord], num_images: int, seed: int = 0) -> float:
    found = correct(folder, trials, num_images=num_images, seed=seed)
    assert isinstance(found, Correction)
    return found.bias


def test_four_images_are_four_folds(tmp_path: Path, make_trials: MakeTrials) -> None:
    # One image per fold, whichever: somebody is right in each, the nominee (0.75) in three of four.
    found = correct(tmp_path, make_trials("0100", "1110", "1001"), num_images=4, seed=0)
    assert found == Correction(bias=0.25, num_candidates=3, num_images=4, num_folds=4)


def test_the_bias_is_the_mean_gap_over_the_folds(tmp_path: Path, make_trials: MakeTrials) -> None:
    # The nominee is ahead on four images, behind on three. Dealt in pairs, it is behind in a fold by 1 if two of the
    # three are in it, by 1/2 if one is, with the image that both get right; else not. In all 0 to 3/2, over four folds.
    trials = make_trials("11111000", "00001111")
    seen = {bias(tmp_path, trials, 8, seed) for seed in range(40)}
    assert seen == {0.0, 1 / 8, 2 / 8, 3 / 8}
    assert bias(tmp_path, trials, 8, 5) == bias(tmp_path, trials, 8, 5)


def test_who_is_right_wherever_anybody_is_owes_nothing_to_luck(tmp_path: Path, make_trials: MakeTrials) -> None:
    trials = make_trials("1111101111", "1101100000", "0000000111", "1111101111")
    found = correct(tmp_path, trials, num_images=10, seed=0)
    assert found == Correction(bias=0.0, num_candidates=4, num_images=10)


def test_one_candidate_was_not_chosen(tmp_path: Path, make_trials: MakeTrials) -> None:
    assert correct(tmp_path, make_trials("11010"), num_images=5, seed=0) == Correction(
        bias=0.0, num_candidates=1, num_images=5
    )


def test_several_blocks_are_the_folds(tmp_path: Path, make_trials: MakeTrials) -> None:
    # The nominee (2/3 and 2/3) is behind by 1/3 on the second block; two blocks show sqrt(2) - 1 times the bias.
    found = correct(tmp_path, make_trials("110 011", "000 111"), num_images=3, seed=0)
    assert found == Correction(
        bias=pytest.approx(1 / 6 / (np.sqrt(2) - 1)), num_candidates=2, num_images=6, num_folds=2, covers_seeds=True
    )
    bits = load_val_correct(tmp_path, make_trials("1100 0110")[0], 4)
    assert bits.tolist() == [1, 1, 0, 0, 0, 1, 1, 0]


def test_blocks_with_the_same_validation_images_are_dealt_by_image(tmp_path: Path, make_trials: MakeTrials) -> None:
    # By image the second (1/2, 1/2, 1/2, 1) leads, and the first (1/2, 1, 1/2, 0) is ahead by 1/2 on one of the four.
    trials = make_trials("1100 0110", "0001 1111")
    found = correct(tmp_path, trials, num_images=4, seed=0, is_val_fixed=True)
    assert found == Correction(bias=0.125, num_candidates=2, num_images=4)
    trials = make_trials("110 011", "000 111")
    assert isinstance(correct(tmp_path, trials, num_images=3, seed=0, is_val_fixed=True), Unknown)


@pytest.mark.parametrize("num_blocks", [2, 3, 6])
def test_blocks_take_off_what_lucky_seeds_and_images_put_on(
    tmp_path: Path, make_trials: MakeTrials, num_blocks: int
) -> None:
    # Ten equal candidates, of which each seed makes a somewhat better or worse one.
    rng = np.random.default_rng(0)
    lucks, found = [], []
    for _ in range(120):
        chances = rng.normal(0.7, 0.04, (10, num_blocks, 1))
        rights = (rng.random((10, num_blocks, 100)) < chances).astype(int)
        lucks.append(rights.mean(axis=(1, 2)).max() - 0.7)
        texts = (" ".join("".join(map(str, row)) for row in one) for one in rights)
        found.append(bias(tmp_path, make_trials(*texts), 100))
    assert np.mean(found) / np.mean(lucks) == pytest.approx(1, abs=0.12)


def test_only_completed_trials_are_candidates(tmp_path: Path, make_trials: MakeTrials) -> None:
    first, second, *others = make_trials("1110", "1001", "0001", "0001", "0001")
    outcomes = (Stopped(epoch=1), Failed(reason="x"), None)
    left = [
        dataclasses.replace(record, outcome=outcome, artifacts={})
        for record, outcome in zip(others, outcomes, strict=True)
    ]
    found = correct(tmp_path, [*left, first, second], num_images=4, seed=0)
    assert found == Correction(bias=0.25, num_candidates=2, num_images=4, num_stopped=1)


def test_four_folds_take_off_what_luck_put_on(tmp_path: Path, make_trials: MakeTrials) -> None:
    # Ten candidates that are right on every image with the same probability: what the highest has above it is luck.
    rng = np.random.default_rng(0)
    lucks, found = [], []
    for _ in range(150):
        rights = rng.random((10, 200)) < 0.7
        lucks.append(rights.mean(axis=1).max() - 0.7)
        found.append(bias(tmp_path, make_trials(*rights), 200))
    assert 0.04 < np.mean(lucks) < 0.06
    # With K folds it is (sqrt(K) - 1) times as much: 0.73 with three, 1.24 with five, 2.16 with ten.
    assert np.mean(found) / np.mean(lucks) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"artifacts": {}}, "1 of 2 completed trials were trained before the correctness of the validation images was"),
        ({"blocks": ("sweep-1",)}, "trained on different splits, so they share no validation images"),
        ({"artifacts": {"val_correct": "gone.npy"}}, r"the correctness of trial 1 cannot be read .*gone\.npy"),
        ({"artifacts": {"val_correct": "odd.npy"}}, r"cannot be read \(.*: expected rows of 5 uint8, found float64"),
        ({"artifacts": {"val_correct": "short.npy"}}, r"rows of 5 uint8, found uint8 of shape \(1, 4\)"),
        ({"artifacts": {"val_correct": "other.npy"}}, r"an accuracy of 0\.0000, but the trial reported 0\.2500"),
    ],
)
def test_what_cannot_be_known_is_said(
    tmp_path: Path, make_trials: MakeTrials, change: dict[str, Any], reason: str
) -> None:
    np.save(tmp_path / "odd.npy", np.zeros((1, 5)))
    np.save(tmp_path / "short.npy", np.zeros((1, 4), dtype=np.uint8))
    np.save(tmp_path / "other.npy", np.zeros((1, 5), dtype=np.uint8))
    good, other = make_trials("1110" * 10, "1000" * 10)
    found = correct(tmp_path, [good, dataclasses.replace(other, **change)], num_images=40, seed=0)
    assert isinstance(found, Unknown)
    assert re.search(reason, found.reason)


def test_without_bits_candidates_or_images_nothing_is_known(
    tmp_path: Path, make_trials: MakeTrials, make_record: Callable[..., TrialRecord]
) -> None:
    old = [dataclasses.replace(record, artifacts={}) for record in make_trials("1110", "1000")]
    for trials, num_images, reason in (
        (old, 4, "it was trained before the correctness of the validation images was recorded"),
        ([make_record("a")], 4, "no trial was completed"),
        (make_trials("111"), 3, "3 validation images are too few for 4 folds"),
        (old, 0, "there is no validation part"),
    ):
        assert correct(tmp_path, trials, num_images=num_images, seed=0) == Unknown(reason=reason)


def test_a_second_validation_on_another_device_may_see_one_image_otherwise(
    tmp_path: Path, make_trials: MakeTrials, make_epoch: Callable[..., EpochMetrics]
) -> None:
    (trial,) = make_trials("1" * 30 + "0" * 10)
    for told, known in ((31 / 40, True), (34 / 40, False)):
        record = dataclasses.replace(trial, curve=(make_epoch(1, told),))
        assert isinstance(correct(tmp_path, [record], num_images=40, seed=0), Correction) is known


@pytest.mark.slow
def test_a_thousand_trials_take_no_time(tmp_path: Path, make_trials: MakeTrials) -> None:
    rng = np.random.default_rng(0)
    trials = make_trials(*(rng.random((1000, 15_000)) < 0.7))
    start = time.process_time()
    bias(tmp_path, trials, 15_000)
    assert time.process_time() - start < 1


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change every event of a journal."""
    events = [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]
    for event in events:
        change(event)
    (folder / FILE_NAME).write_text("".join(f"{json.dumps(event)}\n" for event in events))


@pytest.mark.slow
def test_a_real_sweep_can_be_corrected(
    make_study: Callable[..., Any], driver: Any, killed: type[BaseException]
) -> None:
    """Four trials to their end; cut off and resumed it is the same correction."""
    study = make_study("search.trials=4", "search.scheduler=none", "search.sampler=random")
    trials = driver.sweep(study)
    found = correct(study.folder, trials, num_images=30, seed=study.seed)
    assert isinstance(found, Correction)
    assert (found.num_candidates, found.num_images, found.num_folds) == (4, 30, NUM_FOLDS)
    assert 0 <= found.bias < 0.5
    for record in trials:
        assert load_val_correct(study.folder, record, 30).mean() == record.val_accuracy
    other, changes = study.model_copy(update={"name": "cut"}), 0

    def kill(_: Any) -> None:
        nonlocal changes
        changes += 1
        if changes % 3 == 0:
            raise killed

    for _ in range(20):
        try:
            again = driver.sweep(other, watch=kill)
            break
        except killed:
            continue
    assert changes > 6
    assert correct(other.folder, again, num_images=30, seed=study.seed) == found

    # The same study, recorded before the bits were: it still reads.
    rewrite(study.folder, lambda event: event.get("artifacts", {}).pop("val_correct", None))
    old = list(read_records(study.folder).values())
    assert isinstance(correct(study.folder, old, num_images=30, seed=study.seed), Unknown)
