"""One trial, epoch by epoch: yields metrics, checkpoints before it speaks, goes on bit for bit from where it stopped.

Shapes: C classes, N images, R blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search.data.store import ImageData
from search.errors import DivergedError
from search.records import EpochMetrics, Progress, TrialResult
from search.storage.disk import remove_leftovers, telling_disk_faults
from search.training.checkpoint import (
    drop_middle,
    load_checkpoint,
    load_newest,
    save_array,
    save_checkpoint,
    save_weights,
)
from search.training.files import DAMAGED_NAME, MIDDLE_NAME
from search.training.learner import Learner
from search.training.machine import describe_machine
from search.training.memory import BatchLimits, is_out_of_memory, keep_freed_memory, release_memory
from search.training.optim import learning_rate
from search.training.spec import TrialSpec
from search.training.ticks import Stopwatch, in_turn, ticking


def train(
    spec: TrialSpec, data: ImageData, folder: Path, *, device: str, num_known_epochs: int = 0
) -> Generator[Progress | None, None, None]:
    """Train a trial, or go on with it from its checkpoint.

    It may be closed wherever it yields. In the middle of an epoch that leaves a checkpoint of the middle, and the next
    call goes on at the very next step, bit for bit; a validation or a scoring that is cut off is begun again.

    Where memory does not suffice, the epoch is begun again from its checkpoint with micro-batches of half the size,
    down to one image (see `Learner`); that is told with the machine. Without that no result depends on memory.

    Args:
        spec: What to train. Its blocks go forward together, one epoch each in turn.
        data: The data set that the spec names.
        folder: Holds the checkpoint; in the end weights, confusion matrices, which validation images were right, and
            test predictions.
        device: `cpu`, `cuda` or `cuda:n`.
        num_known_epochs: Epochs that the caller has already been told of.

    Yields:
        One `Progress` per epoch that the caller does not know, after the checkpoint that holds it was written; between
        them None as a tick, at least every TICK_SECS.

    Raises:
        DivergedError: The loss is not finite. Of a repeat it carries what the last finite checkpoint scores, if there
            is one: a divergence is an outcome, and it is compared like any other.
        OutOfMemoryError: Not even one image at a time fits.
        StorageFaultError: The machine cannot write or read a file: nothing of the trial is lost.
    """
    keep_freed_memory()
    with telling_disk_faults(folder):
        folder.mkdir(exist_ok=True)  # not its parents: the folder of a study that was moved is not made again
        remove_leftovers(folder)
    training = _Training(spec, data, folder, torch.device(device))
    last = spec.train.epochs
    for metrics in training.curve[num_known_epochs:]:
        if metrics.epoch < last:
            yield training.tell(metrics)
    while len(training.curve) < last:
        no_memory = None
        try:
            yield from training.advance()
        except GeneratorExit:
            training.save_middle()
            raise
        except DivergedError as error:
            raise (yield from training.with_last_finite(error)) from None
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            no_memory = str(error)
        if no_memory is not None:  # the error is gone, and with it what it held of the device's memory
            training.begin_smaller(no_memory)
        elif len(training.curve) < last:
            yield training.tell(training.curve[-1])
    result = yield from training.finish()
    yield training.tell(training.curve[-1], result)


class _Training:
    """A trial's learners, and how far they have come."""

    def __init__(self, spec: TrialSpec, data: ImageData, folder: Path, device: torch.device) -> None:
        self._spec, self._data, self._folder, self._device = spec, data, folder, device
        self._limits = BatchLimits()
        checkpoint = load_newest(folder, spec.key)
        if checkpoint is not None:
            self._limits.load(checkpoint.get("limits", {}))
        self._begin(checkpoint)

    def _begin(self, checkpoint: dict[str, Any] | None) -> None:
        spec = self._spec
        self._learners = [Learner(spec, block, self._data, self._device, self._limits) for block in spec.blocks]
        self.curve: list[EpochMetrics] = []
        self._watch = Stopwatch()
        if checkpoint is not None:
            self.curve = [EpochMetrics.from_dict(item) for item in checkpoint["curve"]]
            self._watch.secs = checkpoint.get("elapsed_secs", 0.0)
            for learner, state in zip(self._learners, checkpoint["learners"], strict=True):
                learner.load(state)

    def begin_smaller(self, reason: str) -> None:
        """Go back to the last checkpoint, with half as many images at a time.

        Raises:
            OutOfMemoryError: It was one image already.
        """
        self._limits.halve_training(self._spec.train.batch, self._learners[0].model, reason)
        self._learners = []
        release_memory()
        self._begin(load_newest(self._folder, self._spec.key))

    def advance(self) -> Generator[None, None, None]:
        """Train the next epoch, or what is missing of it, and write its checkpoint."""
        steps = _train_epoch(self._spec, self._learners, len(self.curve) + 1)
        metrics = yield from ticking(steps, self._device, self._watch)
        self.curve.append(dataclasses.replace(metrics, elapsed_secs=self._watch.secs))
        self._watch = Stopwatch()
        save_checkpoint(self._folder, self._state())
        drop_middle(self._folder)

    def save_middle(self) -> None:
        """Write a checkpoint of the epoch as far as it has come, beside that of the last epoch."""
        state = {**self._state(in_middle=True), "elapsed_secs": self._watch.secs}
        save_checkpoint(self._folder, state, MIDDLE_NAME)

    def _state(self, *, in_middle: bool = False) -> dict[str, Any]:
        return {
            "key": self._spec.key,
            "epoch": len(self.curve),
            "curve": [dataclasses.asdict(item) for item in self.curve],
            "learners": [learner.state(in_middle=in_middle) for learner in self._learners],
            "limits": self._limits.to_dict(),
        }

    def with_last_finite(self, error: DivergedError) -> Generator[None, None, DivergedError]:
        """Give the error what the checkpoint of the last epoch scores; not in a sweep, nor before the first has ended.

        Such a checkpoint is finite, as an epoch that is not never gets one.
        """
        checkpoint = load_checkpoint(self._folder, self._spec.key) if self._spec.score_test else None
        if checkpoint is None:
            return error
        for learner, state in zip(self._learners, checkpoint["learners"], strict=True):
            learner.load(state)
        scoring = _score(self._learners, self._data, self._folder)
        try:
            result = yield from ticking(scoring, self._device, Stopwatch())
        except DivergedError:
            return error
        return DivergedError(error.epoch, error.loss, result)

    def finish(self) -> Generator[None, None, TrialResult]:
        """Leave weights and what the last validation saw; score the test set, if the spec asks for it."""
        steps = _finish(self._spec, self._learners, self._data, self._folder)
        return (yield from ticking(steps, self._device, Stopwatch()))

    def tell(self, metrics: EpochMetrics, result: TrialResult | None = None) -> Progress:
        """Say an epoch, with what it was computed on: absent what never had to be halved or set aside."""
        machine = describe_machine(self._device, self._spec.train.precision) | self._limits.to_dict()
        if (self._folder / DAMAGED_NAME).exists():
            machine["damaged_checkpoint"] = True
        return Progress(metrics=metrics, machine=machine, result=result)


def _train_epoch(spec: TrialSpec, learners: list[Learner], epoch: int) -> Generator[None, None, EpochMetrics]:
    """Train and score one epoch of every block; it is the caller who keeps the time."""
    trained = yield from in_turn(learner.train_epoch(epoch) for learner in learners)
    due = epoch % spec.train.validate_every == 0 or epoch == spec.train.epochs
    scored = yield from in_turn(learner.validate() for learner in learners if due and learner.has_validation)
    for val_loss, _ in scored:
        if not math.isfinite(val_loss):
            raise DivergedError(epoch, val_loss)
    num_blocks = len(learners)
    return EpochMetrics(
        epoch=epoch,
        train_loss=sum(item[0] for item in trained) / num_blocks,
        train_accuracy=sum(item[1] for item in trained) / num_blocks,
        val_loss=sum(item[0] for item in scored) / num_blocks if scored else None,
        val_accuracy=sum(item[1] for item in scored) / num_blocks if scored else None,
        learning_rate=learning_rate(spec.train, epoch - 1, spec.train.epochs),
        elapsed_secs=0.0,
        num_images=sum(item[2] for item in trained),
    )


def _finish(
    spec: TrialSpec, learners: list[Learner], data: ImageData, folder: Path
) -> Generator[None, None, TrialResult]:
    """Leave weights and what the last validation saw; score the test set, if the spec asks for it."""
    artifacts: dict[str, str] = {}
    if all(learner.has_validation for learner in learners):
        seen = yield from in_turn(_last_validation(learner) for learner in learners)
        save_array(folder / "confusion.npy", np.sum([confusion_CC for confusion_CC, _ in seen], axis=0))
        # In the order of the validation part, (R, N) in bits: all trials on one block have the same images.
        save_array(folder / "val_correct.npy", np.packbits([correct_N for _, correct_N in seen], axis=1))
        artifacts |= {"confusion": "confusion.npy", "val_correct": "val_correct.npy"}
    for position, learner in enumerate(learners):
        name = f"weights-{position}.safetensors"
        save_weights(folder / name, learner.model.state_dict())
        artifacts[f"weights-{position}"] = name
        yield
    if not spec.score_test:
        return TrialResult(test_accuracy=None, artifacts=artifacts)
    tested = yield from _score(learners, data, folder)
    return dataclasses.replace(tested, artifacts={**artifacts, **tested.artifacts})


def _score(learners: list[Learner], data: ImageData, folder: Path) -> Generator[None, None, TrialResult]:
    """Score the test set and leave predictions (R, N), their correctness in bits, and the confusion matrix (C, C)."""
    files = {name: f"{name}.npy" for name in ("predictions", "correct", "test_confusion")}
    path = folder / files["predictions"]
    if not path.is_file():  # once per repeat, even if the repeat was cut off right after
        save_array(path, np.stack((yield from in_turn(learner.score_test(data.test) for learner in learners))))
    predicted_RN: NDArray[np.uint16] = np.load(path, allow_pickle=False)
    correct_RN = predicted_RN == data.test.labels
    save_array(folder / files["correct"], np.packbits(correct_RN, axis=1))
    counts_CC = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)
    np.add.at(counts_CC, (np.broadcast_to(data.test.labels, predicted_RN.shape), predicted_RN), 1)
    save_array(folder / files["test_confusion"], counts_CC)
    return TrialResult(test_accuracy=float(correct_RN.mean()), artifacts=files)


def _last_validation(learner: Learner) -> Generator[None, None, tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Confusion matrix (C, C) and correctness (N,) of the last pass."""
    if learner.confusion is None:  # cut off after the last checkpoint
        yield from learner.validate()
    assert learner.confusion is not None
    assert learner.val_correct is not None
    return learner.confusion, learner.val_correct
