from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hybrid_models.build import build
from search.data.augment import fit_normaliser, prepare
from search.data.splits import SplitConfig, split
from search.data.store import ImageData
from search.errors import DivergedError
from search.records import EpochMetrics, Progress
from search.seeds import make_block
from search.training import loop
from search.training.loop import Learner, train
from search.training.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]

FILES = ("confusion.npy", "val_correct.npy", "weights-0.safetensors")


def run(spec: TrialSpec, data: ImageData, folder: Path, **options: Any) -> list[Progress]:
    folder.mkdir(exist_ok=True)
    return [item for item in train(spec, data, folder, device="cpu", **options) if item is not None]


def told(progress: list[Progress]) -> list[dict[str, Any]]:
    """The metrics without the clock."""
    return [{**dataclasses.asdict(item.metrics), "elapsed_secs": 0.0, "peak_memory_gib": 0.0} for item in progress]


def assert_same_files(one: Path, two: Path) -> None:
    names = sorted(path.name for path in one.iterdir() if path.name != "checkpoint.pt")
    assert names == sorted(path.name for path in two.iterdir() if path.name != "checkpoint.pt")
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def weights_of(spec: TrialSpec, data: ImageData, folder: Path) -> dict[str, torch.Tensor]:
    run(spec, data, folder)
    return load_file(folder / "weights-0.safetensors")


def test_a_training_tells_each_epoch_once_and_leaves_its_files(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    progress = run(make_spec(epochs=3, schedule="cosine"), digits, tmp_path)
    assert [item.metrics.epoch for item in progress] == [1, 2, 3]
    assert [item.metrics.num_images for item in progress] == [70, 70, 70]
    assert progress[0].metrics.learning_rate > progress[2].metrics.learning_rate > 0
    assert [item.result is None for item in progress] == [True, True, False]
    result = progress[-1].result
    assert result is not None
    assert result.test_accuracy is None
    assert sorted(result.artifacts.values()) == sorted(FILES)
    confusion = np.load(tmp_path / "confusion.npy")
    assert confusion.shape == (10, 10)
    assert confusion.sum(axis=1).tolist() == [3] * 10
    assert np.trace(confusion) / 30 == progress[-1].metrics.val_accuracy


def test_it_leaves_which_validation_images_the_last_weights_get_right(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    original = Learner.validate

    def counted(self: Learner) -> tuple[float, float]:
        passes.append(self.block.index)
        return original(self)

    monkeypatch.setattr(Learner, "validate", counted)
    spec = make_spec(epochs=6, validate_every=4, lr=0.01, blocks=BLOCKS)
    progress = run(spec, digits, tmp_path)
    assert passes == [0, 1, 0, 1]  # in epochs 4 and 6: no pass for the bits alone
    packed = np.load(tmp_path / "val_correct.npy", allow_pickle=False)
    assert (packed.shape, packed.dtype) == ((2, 4), np.uint8)
    bits = np.unpackbits(packed, axis=1, count=30)
    assert 0 < bits.mean() < 1
    assert bits.mean() == pytest.approx(progress[-1].metrics.val_accuracy)
    for position, block in enumerate(BLOCKS):
        model = build(spec.model, torch.Generator().manual_seed(0))
        model.load_state_dict(load_file(tmp_path / f"weights-{position}.safetensors"))
        train_rows, val_rows = split(digits.train.labels, spec.split, block.split_seed)
        normaliser = fit_normaliser(digits.train, train_rows, spec.train.normalise)
        images = prepare(torch.from_numpy(np.array(digits.train.pixels[val_rows])), normaliser)
        with torch.no_grad():
            said = model.eval()(images).argmax(dim=1).numpy()
        assert np.array_equal(said == digits.train.labels[val_rows], bits[position])


@pytest.mark.parametrize(("epochs", "every", "validated"), [(5, 2, [2, 4, 5]), (3, 3, [3]), (2, 1, [1, 2])])
def test_validation_every_so_many_epochs_and_after_the_last(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, epochs: int, every: int, validated: list[int]
) -> None:
    progress = run(make_spec(epochs=epochs, validate_every=every), digits, tmp_path / "gaps")
    assert [item.metrics.epoch for item in progress if item.metrics.val_loss is not None] == validated
    assert [item.metrics.epoch for item in progress if item.metrics.val_accuracy is not None] == validated
    # Validation is looking: what is trained does not depend on it.
    often = run(make_spec(epochs=epochs), digits, tmp_path / "all")
    assert told(often)[-1] == told(progress)[-1]
    assert_same_files(tmp_path / "gaps", tmp_path / "all")


def test_without_a_validation_part_every_image_trains(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    spec = dataclasses.replace(make_spec(epochs=2, score_test=True), split=SplitConfig(method="none"))
    progress = run(spec, digits, tmp_path)
    assert [item.metrics.num_images for item in progress] == [100, 100]
    assert {(item.metrics.val_loss, item.metrics.val_accuracy) for item in progress} == {(None, None)}
    result = progress[-1].result
    assert result is not None
    assert result.test_accuracy is not None
    assert not {"confusion", "val_correct"} & set(result.artifacts)
    # Cut off before its end was told, it finds its way without validation, too.
    assert run(spec, digits, tmp_path, num_known_epochs=2)[-1].result == result


def test_it_learns(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    last = run(make_spec(epochs=10, lr=0.005), digits, tmp_path)[-1].metrics
    assert last.train_accuracy > 0.8
    assert last.val_accuracy is not None
    assert last.val_accuracy > 0.4


BLOCKS = (make_block(0, "sweep", 0), make_block(0, "sweep", 1))
HARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout and augmentation": {"dropout": 0.5, "cnn_dropout": 0.2, "augment": "crop_hflip_cutout"},
    "momentum and schedule": {"optimizer": "sgd", "lr": 0.02, "schedule": "onecycle", "clip": 1.0},
    "two blocks": {"dropout": 0.5, "augment": "hflip", "blocks": BLOCKS},
    "bfloat16": {"precision": "bfloat16", "dropout": 0.25},
}


@pytest.mark.parametrize("case", HARD)
def test_cut_after_each_epoch_it_goes_on_bit_for_bit(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, case: str
) -> None:
    spec = make_spec(epochs=3, score_test=True, **HARD[case])
    whole = run(spec, digits, tmp_path / "whole")
    pieces: list[Progress] = []
    (tmp_path / "cut").mkdir()
    for _ in range(3):
        torch.manual_seed(len(pieces))
        cut = train(spec, digits, tmp_path / "cut", device="cpu", num_known_epochs=len(pieces))
        pieces.append(next(cut))
        cut.close()
    assert told(pieces) == told(whole)
    assert pieces[-1].result == whole[-1].result
    assert_same_files(tmp_path / "whole", tmp_path / "cut")


def test_two_blocks_are_two_trainings_averaged(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    both = run(make_spec(epochs=2, dropout=0.5, augment="hflip", blocks=BLOCKS), digits, tmp_path / "both")
    alone = [
        run(make_spec(epochs=2, dropout=0.5, augment="hflip", blocks=(block,)), digits, tmp_path / block.name)
        for block in BLOCKS
    ]
    for epoch, item in enumerate(both):
        for field in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            values = [getattr(progress[epoch].metrics, field) for progress in alone]
            assert getattr(item.metrics, field) == pytest.approx(np.mean(values), abs=1e-12)
        assert item.metrics.num_images == 140
    for position, block in enumerate(BLOCKS):
        one = (tmp_path / "both" / f"weights-{position}.safetensors").read_bytes()
        assert one == (tmp_path / block.name / "weights-0.safetensors").read_bytes()
    parts = [np.load(tmp_path / block.name / "confusion.npy") for block in BLOCKS]
    assert np.array_equal(np.load(tmp_path / "both" / "confusion.npy"), sum(parts))


ACCURACIES = {1: 0.2, 2: 0.6, 3: 0.6, 4: 0.1}
"""The best epoch is the second, and the first of two."""


@pytest.fixture
def weights_by_epoch(monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, torch.Tensor]]:
    """Accuracies follow ACCURACIES; the weights of the first block are collected after each epoch."""
    seen: dict[int, dict[str, torch.Tensor]] = {}
    original = Learner.validate

    def scripted(self: Learner) -> Any:
        found = yield from original(self)
        if self._part is None:  # resumed after the last epoch
            return found
        epoch = self._part.epoch
        if self.block.index == 0:
            seen.setdefault(epoch, {name: value.clone() for name, value in self.model.state_dict().items()})
        return dataclasses.replace(found, accuracy=ACCURACIES[epoch])

    monkeypatch.setattr(Learner, "validate", scripted)
    return seen


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_weights_of_the_best_epoch_are_kept_and_scored(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, weights_by_epoch: Any, blocks: int
) -> None:
    options = {"epochs": 4, "lr": 0.01, "score_test": True, "blocks": BLOCKS[:blocks]}
    last = run(make_spec(**options), digits, tmp_path / "last")
    best = run(make_spec(keep="best", **options), digits, tmp_path / "best")
    assert told(best) == told(last), "what is trained is the same"
    for name, epoch in (("last", 4), ("best", 2)):
        kept = load_file(tmp_path / name / "weights-0.safetensors")
        assert all(torch.equal(kept[key], value) for key, value in weights_by_epoch[epoch].items()), name
    spec = make_spec(**{**options, "epochs": 2})
    model = build(spec.model, torch.Generator().manual_seed(0)).eval()
    model.load_state_dict(weights_by_epoch[2])
    train_rows, val_rows = split(digits.train.labels, spec.split, spec.blocks[0].split_seed)
    normaliser = fit_normaliser(digits.train, train_rows, spec.train.normalise)
    with torch.no_grad():
        said = model(prepare(torch.from_numpy(np.array(digits.test.pixels)), normaliser)).argmax(dim=1).numpy()
        seen = model(prepare(torch.from_numpy(np.array(digits.train.pixels[val_rows])), normaliser)).argmax(dim=1)
    assert np.array_equal(np.load(tmp_path / "best" / "predictions.npy")[0], said)
    right = np.unpackbits(np.load(tmp_path / "best" / "val_correct.npy"), axis=1, count=30)[0]
    assert np.array_equal(right, seen.numpy() == digits.train.labels[val_rows])
    assert not np.array_equal(np.load(tmp_path / "last" / "predictions.npy")[0], said)


@pytest.mark.parametrize("blocks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_best_epoch_survives_a_stop_at_any_step(
    make_spec: MakeSpec,
    digits: ImageData,
    tmp_path: Path,
    weights_by_epoch: Any,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
) -> None:
    spec = make_spec(epochs=4, keep="best", batch=40, lr=0.01, score_test=True, blocks=BLOCKS[:blocks])
    whole = run(spec, digits, tmp_path / "whole")
    monkeypatch.setattr("search.training.ticks.TICK_SECS", 0.0)
    (tmp_path / "cut").mkdir()
    pieces: list[Progress] = []
    num_cuts = 0
    while not pieces or pieces[-1].result is None:
        cut = train(spec, digits, tmp_path / "cut", device="cpu", num_known_epochs=len(pieces))
        for _ in range(2 + num_cuts // 4):  # more and more, as the end of a training is not resumed in its middle
            item = next(cut)
            if item is not None:
                pieces.append(item)
                break
        cut.close()
        num_cuts += 1
    assert num_cuts > 5
    assert told(pieces) == told(whole)
    assert pieces[-1].result == whole[-1].result
    assert_same_files(tmp_path / "whole", tmp_path / "cut")
    kept = load_file(tmp_path / "cut" / "weights-0.safetensors")
    assert all(torch.equal(kept[key], value) for key, value in weights_by_epoch[2].items())


def test_of_a_diverged_repeat_the_best_epoch_is_scored(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, weights_by_epoch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Learner.train_epoch

    def diverging(self: Learner, epoch: int) -> Any:
        if epoch == 4:
            raise DivergedError(epoch, float("nan"))
        return (yield from original(self, epoch))

    monkeypatch.setattr(Learner, "train_epoch", diverging)
    scored: list[dict[str, torch.Tensor]] = []
    score = Learner.score_test

    def watched(self: Learner, test: Any) -> Any:
        scored.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return (yield from score(self, test))

    monkeypatch.setattr(Learner, "score_test", watched)
    with pytest.raises(DivergedError) as caught:
        run(make_spec(epochs=4, keep="best", lr=0.01, score_test=True), digits, tmp_path)
    assert caught.value.result is not None
    assert all(torch.equal(scored[0][name], value) for name, value in weights_by_epoch[2].items())


def test_epochs_that_the_caller_does_not_know_are_told_again(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    spec = make_spec(epochs=3)
    whole = run(spec, digits, tmp_path)
    trained: list[int] = []
    original = Learner.train_epoch

    def counted(self: Learner, epoch: int) -> tuple[float, float, int]:
        trained.append(epoch)
        return original(self, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "train_epoch", counted)
        assert told(run(spec, digits, tmp_path, num_known_epochs=0)) == told(whole)
        assert told(run(spec, digits, tmp_path, num_known_epochs=2)) == told(whole[2:])
        again = run(spec, digits, tmp_path, num_known_epochs=3)
    assert trained == []
    assert told(again) == told(whole[2:])
    assert again[0].result == whole[-1].result


def test_a_lost_checkpoint_costs_time_only(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    spec = make_spec(epochs=3, dropout=0.5)
    whole = run(spec, digits, tmp_path / "whole")
    (tmp_path / "lost").mkdir()
    begun = train(spec, digits, tmp_path / "lost", device="cpu")
    next(begun)
    next(begun)
    begun.close()
    path = tmp_path / "lost" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    again = run(spec, digits, tmp_path / "lost", num_known_epochs=2)
    assert told(again)[-1] == told(whole)[-1]
    (tmp_path / "lost" / "checkpoint.damaged").unlink()
    assert_same_files(tmp_path / "whole", tmp_path / "lost")


@pytest.mark.parametrize("seed", ["split_seed", "init_seed", "order_seed"])
def test_each_seed_of_the_block_changes_the_result(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, seed: str
) -> None:
    block = make_block(0, "sweep", 0)
    other = dataclasses.replace(block, **{seed: getattr(block, seed) + 1})
    same, first, second = (
        weights_of(make_spec(epochs=1, blocks=(item,)), digits, tmp_path / str(index))
        for index, item in enumerate((block, block, other))
    )
    assert all(torch.equal(same[name], tensor) for name, tensor in first.items())
    assert not all(torch.equal(second[name], tensor) for name, tensor in first.items())


def test_dropout_masks_come_from_the_init_seed_and_augmentation_from_the_order_seed(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    # Without dropout and augmentation the global generator has no say; with them it still has none.
    for name, recipe in {"a": {"dropout": 0.5}, "b": {"augment": "crop_hflip_cutout"}}.items():
        torch.manual_seed(1)
        first = weights_of(make_spec(epochs=1, **recipe), digits, tmp_path / f"{name}1")
        torch.manual_seed(2)
        second = weights_of(make_spec(epochs=1, **recipe), digits, tmp_path / f"{name}2")
        plain = weights_of(make_spec(epochs=1), digits, tmp_path / f"{name}3")
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert not all(torch.equal(first[key], plain[key]) for key in first)


@pytest.mark.parametrize("batch", [16, 70], ids=["many steps", "one step per epoch"])
def test_divergence_is_an_outcome_with_its_epoch(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, batch: int
) -> None:
    spec = make_spec(epochs=3, optimizer="sgd", lr=1e30, batch=batch)
    with pytest.raises(DivergedError, match=r"diverged in epoch 1: .*loss was (nan|inf)") as caught:
        run(spec, digits, tmp_path)
    assert caught.value.epoch == 1
    assert not np.isfinite(caught.value.loss)
    assert not (tmp_path / "checkpoint.pt").exists()


def diverge_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From this epoch on the weights are not finite."""
    original = Learner.train_epoch

    def spoiled(self: Learner, at: int) -> tuple[float, float, int]:
        if at >= epoch:
            next(self.model.parameters()).data.fill_(torch.nan)
        return original(self, at)

    monkeypatch.setattr(Learner, "train_epoch", spoiled)


def test_a_diverged_repeat_counts_with_its_last_finite_checkpoint(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing in the recipe depends on the number of epochs: two epochs of four are two of two.
    calm = run(make_spec(epochs=2, score_test=True, lr=0.01), digits, tmp_path / "calm")[-1].result
    diverge_in(3, monkeypatch)
    spec = make_spec(epochs=4, score_test=True, lr=0.01)
    with pytest.raises(DivergedError, match="diverged in epoch 3") as caught:
        run(spec, digits, tmp_path / "diverged")
    result = caught.value.result
    assert calm is not None
    assert result is not None
    assert result.test_accuracy == calm.test_accuracy
    assert sorted(result.artifacts) == ["correct", "predictions", "test_confusion"]
    for file in result.artifacts.values():
        assert (tmp_path / "diverged" / file).read_bytes() == (tmp_path / "calm" / file).read_bytes()
    # Cut off before it was told: the same, and the test set is not scored again.
    monkeypatch.setattr(Learner, "score_test", lambda *_: pytest.fail("scored again"))
    with pytest.raises(DivergedError) as again:
        run(spec, digits, tmp_path / "diverged", num_known_epochs=2)
    assert (again.value.epoch, again.value.result) == (3, result)
    arrived = pickle.loads(pickle.dumps(caught.value))
    assert (arrived.epoch, arrived.result, str(arrived)) == (3, result, str(caught.value))


def test_a_repeat_that_diverged_at_once_and_a_trial_of_the_sweep_leave_nothing(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch, score_test in ((1, True), (3, False)):
        with monkeypatch.context() as patch:
            diverge_in(epoch, patch)
            forbid_test_set(patch)
            with pytest.raises(DivergedError) as caught:
                run(make_spec(epochs=4, score_test=score_test), digits, tmp_path / str(epoch))
        assert (caught.value.epoch, caught.value.result) == (epoch, None)


def test_weights_that_are_not_finite_after_the_last_step_are_divergence_even_unvalidated(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    # One step per epoch: its loss is that of the first weights, and finite.
    spec = make_spec(epochs=3, optimizer="sgd", lr=1e300, batch=70, momentum=0.0, validate_every=3, score_test=True)
    with pytest.raises(DivergedError, match="diverged in epoch 1") as caught:
        run(spec, digits, tmp_path)
    assert caught.value.result is None


def test_outputs_that_are_not_finite_are_never_scored(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    # Finite weights, but so large that the outputs are not.
    spec = make_spec(epochs=1, optimizer="sgd", lr=1e38, batch=70, momentum=0.0, score_test=True)
    recipe = dataclasses.replace(spec.train, batch=100)
    spec = dataclasses.replace(spec, split=SplitConfig(method="none"), train=recipe)
    with pytest.raises(DivergedError):
        run(spec, digits, tmp_path)
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "weights-0.safetensors").values())
    assert not (tmp_path / "predictions.npy").exists()


class Touched(Exception):
    """The test set was opened."""


def forbid_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(self: ImageData) -> None:
        raise Touched

    monkeypatch.setattr(ImageData, "test", property(touch))


def test_the_sweep_never_touches_the_test_set(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_test_set(monkeypatch)
    run(make_spec(epochs=2), digits, tmp_path / "sweep")
    assert not (tmp_path / "sweep" / "correct.npy").exists()
    with pytest.raises(Touched):
        run(make_spec(epochs=2, score_test=True), digits, tmp_path / "repeat")


def test_a_repeat_scores_the_test_set_exactly_once(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    original = Learner.score_test

    def counted(self: Learner, test: Any) -> Any:
        scored.append(len(test.labels))
        return original(self, test)

    monkeypatch.setattr(Learner, "score_test", counted)
    spec = make_spec(epochs=2, score_test=True, lr=0.01)
    result = run(spec, digits, tmp_path)[-1].result
    assert scored == [50]
    assert run(spec, digits, tmp_path, num_known_epochs=2)[-1].result == result
    assert scored == [50]
    assert result is not None
    bits = np.unpackbits(np.load(tmp_path / "correct.npy"), axis=1, count=50)
    assert bits.shape == (1, 50)
    assert result.test_accuracy == bits.mean()


def test_predictions_tell_what_was_wrong(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    result = run(make_spec(epochs=2, score_test=True, lr=0.01, blocks=BLOCKS), digits, tmp_path)[-1].result
    assert result is not None
    predictions = np.load(tmp_path / result.artifacts["predictions"])
    assert (predictions.dtype, predictions.shape) == (np.uint16, (2, 50))
    bits = np.unpackbits(np.load(tmp_path / "correct.npy"), axis=1, count=50)
    assert np.array_equal(predictions == digits.test.labels, bits)
    confusion = np.load(tmp_path / result.artifacts["test_confusion"])
    by_hand = np.zeros((10, 10), dtype=int)
    for row in predictions:
        for truth, said in zip(digits.test.labels, row, strict=True):
            by_hand[truth, said] += 1
    assert np.array_equal(confusion, by_hand)
    assert 0 < np.trace(confusion) / 100 == result.test_accuracy < 1


def test_cut_off_while_scoring_it_scores_no_second_time(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(epochs=1, score_test=True, lr=0.01)
    whole = run(spec, digits, tmp_path / "whole")[-1].result
    original = loop.save_array

    def cut(path: Path, array: Any) -> None:
        if path.name == "correct.npy":
            raise KeyboardInterrupt
        original(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_array", cut)
        with pytest.raises(KeyboardInterrupt):
            run(spec, digits, tmp_path / "cut")
    monkeypatch.setattr(Learner, "score_test", lambda *_: pytest.fail("scored again"))
    assert run(spec, digits, tmp_path / "cut")[-1].result == whole
    assert_same_files(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_every_precision_runs(make_spec: MakeSpec, digits: ImageData, tmp_path: Path, precision: str) -> None:
    weights = weights_of(make_spec(epochs=1, precision=precision), digits, tmp_path / precision)
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_bfloat16_is_another_arithmetic(make_spec: MakeSpec, digits: ImageData, tmp_path: Path) -> None:
    exact, rounded = (
        weights_of(make_spec(epochs=1, precision=precision), digits, tmp_path / precision)
        for precision in ("float32", "bfloat16")
    )
    assert not all(torch.equal(exact[name], rounded[name]) for name in exact)


def test_the_checkpoint_is_written_before_the_epoch_is_told(
    make_spec: MakeSpec, digits: ImageData, tmp_path: Path
) -> None:
    spec = make_spec(epochs=2)
    for progress in train(spec, digits, tmp_path, device="cpu"):
        checkpoint = loop.load_checkpoint(tmp_path, spec.key)
        assert checkpoint is not None
        assert EpochMetrics.from_dict(checkpoint["curve"][-1]) == progress.metrics
