"""Which epoch counts, which weights stay, and several blocks per trial: in whole sweeps."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.cli import app as cli
from search.errors import NothingToDoError, StudyError
from search.export.pick import Wanted, pick_winner
from search.export.write import export
from search.journal.reading import read_records
from search.journal.reconcile import state_in_optuna
from search.journal.summary import best_first, nominee
from search.records import Completed, Stopped, TrialRecord
from search.runners.checks import check_study
from search.study.config import StudyConfig
from search.sweep.schedulers import Asha
from search.sweep.sweep import Sweep
from search.training.learner import Learner

MakeStudy = Callable[..., StudyConfig]
FALLING = {1: 0.9, 2: 0.5, 3: 0.7}


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch is the best one of every trial; a wider model is better in all of them."""
    original = Learner.validate

    def scripted(self: Learner) -> Iterator[Any]:
        found = yield from original(self)
        if self._part is None:
            return found
        size = sum(value.numel() for value in self.model.parameters())
        return dataclasses.replace(found, accuracy=FALLING[self._part.epoch] - 1 / size)

    monkeypatch.setattr(Learner, "validate", scripted)


def told(records: list[TrialRecord]) -> list[Any]:
    """What must not depend on interruptions."""
    return [
        (
            record.key,
            record.number,
            record.blocks,
            record.outcome,
            record.keep,
            [(item.epoch, item.train_loss, item.val_loss, item.val_accuracy) for item in record.curve],
        )
        for record in records
    ]


def weights(study: StudyConfig) -> dict[str, bytes]:
    return {str(path.relative_to(study.folder)): path.read_bytes() for path in study.folder.glob("trials/*/weights-*")}


def sweep_with_kills(study: StudyConfig, driver: Any, killed: type[BaseException], every: int) -> list[TrialRecord]:
    """Kill the sweep after each `every` changes until it gets through."""
    for _ in range(100):
        changes = 0

        def kill(_: Sweep) -> None:
            nonlocal changes
            changes += 1
            if changes > every:
                raise killed

        try:
            records: list[TrialRecord] = driver.sweep(study, watch=kill)
        except killed:
            continue
        return records
    pytest.fail("the sweep never ends")


@pytest.mark.slow
@pytest.mark.usefixtures("falling")
def test_with_keep_best_the_best_epoch_counts_everywhere(make_study: MakeStudy, driver: Any) -> None:
    study = make_study("train.keep=best", "search.trials=3", "search.scheduler=none")
    records = driver.sweep(study)
    assert list(read_records(study.folder).values()) == records
    for record in records:
        assert record.keep == "best"
        assert record.kept is record.curve[0]
        assert record.val_accuracy == record.curve[0].val_accuracy == pytest.approx(0.9, abs=0.01)
        assert state_in_optuna(record) == ("COMPLETE", record.val_accuracy)
    best = nominee(records)
    assert best is not None
    assert best.val_accuracy == max(item.val_accuracy for record in records for item in record.curve)
    plain = driver.sweep(make_study("search.trials=3", "search.scheduler=none", name="plain"))
    assert {record.keep for record in plain} == {"last"}
    assert nominee(plain).val_accuracy == pytest.approx(0.7, abs=0.01)  # type: ignore[union-attr]
    assert not {record.key for record in plain} & {record.key for record in records}


@pytest.mark.usefixtures("falling")
def test_the_scheduler_and_the_sampler_see_the_best_so_far(
    make_study: MakeStudy, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, float]] = []
    observe = Asha.observe

    def watched(self: Asha, key: str, epoch: int, value: float | None) -> bool:
        assert value is not None
        seen.append((epoch, value))
        return observe(self, key, epoch, value)

    monkeypatch.setattr(Asha, "observe", watched)
    study = make_study("train.keep=best", "search.trials=2", "search.grace_epochs=2")
    sweeps: list[Sweep] = []
    records = driver.sweep(study, watch=sweeps.append)
    assert {epoch for epoch, _ in seen} >= {1, 2, 3}
    assert all(value == pytest.approx(0.9, abs=0.01) for _, value in seen)
    (trial, *_) = sweeps[-1]._sampler._study.trials
    assert trial.value == records[0].val_accuracy
    assert list(trial.intermediate_values.values()) == [records[0].val_accuracy] * len(records[0].curve)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["train.keep=best", "search.blocks=2"])
def test_a_sweep_that_is_killed_again_and_again_is_the_undisturbed_one(
    make_study: MakeStudy, driver: Any, killed: type[BaseException], option: str
) -> None:
    options = (option, "search.trials=4", "train.validate_every=2")
    calm = make_study(*options, name="calm")
    whole = driver.sweep(calm)
    cut = make_study(*options, name="cut")
    pieces = sweep_with_kills(cut, driver, killed, every=3)
    assert told(pieces) == told(whole)
    assert {type(record.outcome) for record in whole} == {Completed, Stopped}
    assert weights(cut) == weights(calm)


def test_the_best_epoch_takes_a_validation_part(make_study: MakeStudy) -> None:
    study = make_study("train.keep=best", "split.method=none", compare={"finalists": 2})
    with pytest.raises(StudyError, match=r"train\.keep: best expects a validation part, found split.method none"):
        check_study(study, "compare")
    with pytest.raises(StudyError, match="expected no keep here, because it is the same for all trials; set train"):
        make_study(space={**make_study().space, "keep": ["last", "best"]})  # type: ignore[dict-item]


def test_a_best_epoch_without_a_choice_is_said(make_study: MakeStudy) -> None:
    study = make_study("train.keep=best", "train.validate_every=3")
    words = "train.keep: best has no effect, because train.validate_every 3 validates the last epoch only"
    assert words in check_study(study, "plan").warnings
    assert not [line for line in check_study(make_study("train.keep=best"), "plan").warnings if "keep" in line]


@pytest.mark.parametrize(("which", "num"), [("none", 0), ("finalists", 3), ("all", 5)])
def test_the_weights_that_the_study_names_stay(make_study: MakeStudy, driver: Any, which: str, num: int) -> None:
    study = make_study(f"search.keep_checkpoints={which}", "search.trials=5", "search.scheduler=none", "train.epochs=1")
    records = driver.sweep(study)
    assert {Path(name).parent.name for name in weights(study)} == {record.key for record in best_first(records)[:num]}
    assert len(list(study.folder.glob("trials/*/val_correct.npy"))) == 5, "evidence stays in any case"
    fewer = make_study("search.keep_checkpoints=none", "search.trials=5", "search.scheduler=none", "train.epochs=1")
    driver.sweep(fewer)
    assert not weights(study), "a later start may keep fewer"


@pytest.mark.slow
@pytest.mark.usefixtures("copied_here")
def test_unkept_weights_say_in_one_line_how_to_get_them(
    make_study: MakeStudy, driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(
        "search.keep_checkpoints=none",
        "search.trials=3",
        "search.scheduler=none",
        "train.epochs=1",
        compare={"finalists": 1, "repeats": 2},
    )
    last = best_first(driver.sweep(study))[-1]
    with pytest.raises(NothingToDoError) as caught:
        export(study, tmp_path / "out", Wanted(trial=last.number))
    (line,) = caught.value.faults
    assert "were deleted (search.keep_checkpoints none: a sweep keeps none); train its point again: `" in line
    commands = [shlex.split(item) for item in line.split("`")[1::2]]
    assert [command[:2] for command in commands] == [["hybrid-search", "compare"], ["hybrid-search", "export"]]
    folder = tmp_path / "export"
    for command in commands:
        monkeypatch.setattr("sys.argv", [str(folder) if word == "FOLDER" else word for word in command])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
    assert (folder / "model.safetensors").is_file()
    winner = pick_winner(study, Wanted(config=commands[1][commands[1].index("--config") + 1]))
    assert winner.point == dict(last.point)


def test_each_point_is_trained_on_every_block_and_the_mean_counts(make_study: MakeStudy, driver: Any) -> None:
    options = ("search.trials=2", "search.sampler=random", "search.scheduler=none", "train.epochs=2")
    study = make_study("search.blocks=3", *options)
    records = driver.sweep(study)
    for record in records:
        assert record.blocks == ("sweep-0", "sweep-1", "sweep-2")
        assert record.curve[0].num_images == 3 * 70
        bits = np.unpackbits(np.load(study.folder / record.artifacts["val_correct"]), axis=1, count=30)
        assert bits.shape == (3, 30)
        assert record.val_accuracy == pytest.approx(bits.mean())
        assert len({row.tobytes() for row in bits}) == 3
        assert {name for name in record.artifacts if name.startswith("weights")} == {f"weights-{i}" for i in range(3)}
    one = driver.sweep(make_study(*options, name="one"))
    assert [record.point for record in one] == [record.point for record in records]
    assert not {record.key for record in one} & {record.key for record in records}
    assert one[0].curve[0].train_loss != records[0].curve[0].train_loss
    first = np.unpackbits(np.load(make_study(name="one").folder / one[0].artifacts["val_correct"]), axis=1, count=30)
    bits = np.unpackbits(np.load(study.folder / records[0].artifacts["val_correct"]), axis=1, count=30)
    assert np.array_equal(first[0], bits[0]), "the first block is that of a sweep with one"


def test_a_trial_of_several_blocks_is_exported_with_its_first_weights(
    make_study: MakeStudy, driver: Any, tmp_path: Path
) -> None:
    study = make_study("search.blocks=2", "search.trials=1", "train.keep=best", "train.class_weights=balanced")
    (record,) = driver.sweep(study)
    done = export(study, tmp_path / "out")
    assert (done.folder / "model.safetensors").read_bytes() == (
        study.folder / record.artifacts["weights-0"]
    ).read_bytes()
    card = " ".join((done.folder / "README.md").read_text().split())
    assert record.kept is not None
    assert f"weights are those after epoch {record.kept.epoch} of 3, which had the highest validation accuracy" in card
    assert "the sweep's nominee: the first of 2 runs, not selected by score" in card
    assert "the sweep selected it for its score in 2 runs." in card
    assert "trained with balanced class weights" in card


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("search.blocks=0", "search.blocks"),
        ("search.blocks=101", "search.blocks"),
        ("search.blocks=1.5", "search.blocks"),
        ("search.keep_checkpoints=some", "search.keep_checkpoints"),
        ("train.class_weights=balance", "train.class_weights must be one of none, balanced"),
    ],
)
def test_bad_values_are_one_line(make_study: MakeStudy, option: str, words: str) -> None:
    with pytest.raises(StudyError) as caught:
        make_study(option)
    (line,) = caught.value.faults
    assert line.startswith(f"study.yaml: {words}"), line
