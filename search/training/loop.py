"""Train one trial epoch by epoch: yields metrics after each checkpoint and resumes bit for bit.

Shapes: C classes, N images, R blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search.data.store import ImageData
from search.errors import DivergedError
from search.records import EpochMetrics, Progress, TrialResult, kept_epoch
from search.storage.disk import raising_storage_faults, remove_leftovers
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
from search.training.memory import (
    BatchLimits,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory_gib,
    release_memory,
    reset_peak_memory,
    trim_memory,
)
from search.training.optim import learning_rate
from search.training.spec import TrialSpec
from search.training.ticks import Stopwatch, in_turn, ticking


def train(
    spec: TrialSpec, data: ImageData, folder: Path, *, device: str, num_known_epochs: int = 0
) -> Generator[Progress | None, None, None]:
    """Train a trial, resuming from its checkpoint if there is one.

    The generator may be closed at any yield. Within an epoch this writes a checkpoint, and the next call resumes at the
    next step, bit for bit; an interrupted validation or test evaluation is repeated.

    If memory is insufficient, the epoch restarts from its checkpoint with micro-batches of half the size, down to one
    image (see `Learner`), and the reported machine shows this. Otherwise results do not depend on memory.

    Only one process may train in a folder at a time.

    Args:
        spec: The trial. Its blocks are trained in turn, one epoch each.
        data: The data set that the spec names.
        folder: The trial's folder, which receives the checkpoint and in the end weights, confusion matrices, the
            correctness per validation image, and test predictions, all of the epoch that `spec.train.keep` selects.
        device: `cpu`, `cuda` or `cuda:n`.
        num_known_epochs: Number of epochs that the caller has received before.

    Yields:
        One `Progress` per new epoch, after its checkpoint is written; in between, None at least every TICK_SECS.

    Raises:
        DivergedError: The loss is not finite. For a repeat it carries the result of the last finite checkpoint, if
            there is one, as divergence is an outcome that is compared like others.
        OutOfMemoryError: A single image does not fit into memory.
        StorageFaultError: A file cannot be written or read; the trial can be resumed.
    """
    keep_freed_memory()
    trim_memory()
    with raising_storage_faults(folder):
        folder.mkdir(exist_ok=True)  # without parents: if the study's folder was moved, it must not be created again
        remove_leftovers(folder)
    training = _Training(spec, data, folder, torch.device(device))
    last = spec.train.epochs
    for metrics in training.curve[num_known_epochs:]:
        if metrics.epoch < last:
            yield training.report_epoch(metrics)
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
        if no_memory is not None:  # outside of `except`, so that the error no longer holds device memory
            training.restart_smaller(no_memory)
        elif len(training.curve) < last:
            yield training.report_epoch(training.curve[-1])
    result = yield from training.finish()
    yield training.report_epoch(training.curve[-1], result)


class _Training:
    """The learners of a trial and their progress."""

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
        self._best: list[dict[str, torch.Tensor]] = []
        """Weights of the best epoch, one state per block; empty if the last epoch counts or none was validated."""
        if checkpoint is not None:
            self._best = checkpoint.get("best", [])
            self.curve = [EpochMetrics.from_dict(item) for item in checkpoint["curve"]]
            self._watch.secs = checkpoint.get("elapsed_secs", 0.0)
            for learner, state in zip(self._learners, checkpoint["learners"], strict=True):
                learner.load(state)

    def restart_smaller(self, reason: str) -> None:
        """Return to the last checkpoint and halve the number of images computed at once.

        Raises:
            OutOfMemoryError: It was one image already.
        """
        self._limits.halve_training(self._spec.train.batch, self._learners[0].model, reason)
        self._learners = []
        release_memory()
        self._begin(load_newest(self._folder, self._spec.key))

    def advance(self) -> Generator[None, None, None]:
        """Train the next epoch, or the rest of it, and write its checkpoint."""
        reset_peak_memory(self._device)
        steps = _train_epoch(self._spec, self._learners, len(self.curve) + 1)
        metrics = yield from ticking(steps, self._device, self._watch)
        memory = peak_memory_gib(self._device)
        latency_ms = self._learners[0].latency_ms() if self._spec.times_latency and not self.curve else None
        self.curve.append(
            dataclasses.replace(metrics, elapsed_secs=self._watch.secs, peak_memory_gib=memory, latency_ms=latency_ms)
        )
        self._watch = Stopwatch()
        if self._spec.train.keep == "best" and kept_epoch(self.curve, "best") is self.curve[-1]:
            self._best = [_copy_of(learner.model.state_dict()) for learner in self._learners]
        save_checkpoint(self._folder, self._state())
        drop_middle(self._folder)

    def save_middle(self) -> None:
        """Write a checkpoint within the epoch, beside that of the last epoch."""
        state = {**self._state(in_middle=True), "elapsed_secs": self._watch.secs}
        save_checkpoint(self._folder, state, MIDDLE_NAME)

    def _state(self, *, in_middle: bool = False) -> dict[str, Any]:
        return {
            "key": self._spec.key,
            "epoch": len(self.curve),
            "curve": [dataclasses.asdict(item) for item in self.curve],
            "learners": [learner.state(in_middle=in_middle) for learner in self._learners],
            "limits": self._limits.to_dict(),
            **({"best": self._best} if self._best else {}),
        }

    def with_last_finite(self, error: DivergedError) -> Generator[None, None, DivergedError]:
        """Add the result of the last epoch's checkpoint to a divergence error, for repeats with at least one epoch.

        The checkpoint is finite, as epochs with values that are not finite are never saved. With `keep: best`, its best
        epoch counts.
        """
        checkpoint = load_checkpoint(self._folder, self._spec.key) if self._spec.score_test else None
        if checkpoint is None:
            return error
        for learner, state in zip(self._learners, checkpoint["learners"], strict=True):
            learner.load(state)
        self._take_best()
        scoring = _score(self._learners, self._data, self._folder)
        try:
            result = yield from ticking(scoring, self._device, Stopwatch())
        except DivergedError:
            return error
        return DivergedError(error.epoch, error.loss, result)

    def finish(self) -> Generator[None, None, TrialResult]:
        """Write weights and validation results; evaluate the test set if the spec requests it."""
        self._take_best()
        steps = _finish(self._spec, self._learners, self._data, self._folder)
        return (yield from ticking(steps, self._device, Stopwatch()))

    def _take_best(self) -> None:
        """Load the weights of the best epoch, if that is not the last one."""
        if self._best and kept_epoch(self.curve, "best") is not self.curve[-1]:
            for learner, weights in zip(self._learners, self._best, strict=True):
                learner.load_weights(weights)

    def report_epoch(self, metrics: EpochMetrics, result: TrialResult | None = None) -> Progress:
        """Return the report of an epoch. The machine shows reduced batch sizes and damaged checkpoints, if any."""
        machine = describe_machine(self._device, self._spec.train.precision) | self._limits.to_dict()
        if (self._folder / DAMAGED_NAME).exists():
            machine["damaged_checkpoint"] = True
        return Progress(metrics=metrics, machine=machine, result=result)


def _copy_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def _train_epoch(spec: TrialSpec, learners: list[Learner], epoch: int) -> Generator[None, None, EpochMetrics]:
    """Train and validate one epoch of every block; the caller sets `elapsed_secs`."""
    trained = yield from in_turn(learner.train_epoch(epoch) for learner in learners)
    due = epoch % spec.train.validate_every == 0 or epoch == spec.train.epochs
    scored = yield from in_turn(learner.validate() for learner in learners if due and learner.has_validation)
    for validation in scored:
        if not math.isfinite(validation.loss):
            raise DivergedError(epoch, validation.loss)
    num_blocks = len(learners)
    return EpochMetrics(
        epoch=epoch,
        train_loss=sum(item[0] for item in trained) / num_blocks,
        train_accuracy=sum(item[1] for item in trained) / num_blocks,
        val_loss=_mean(item.loss for item in scored),
        val_accuracy=_mean(item.accuracy for item in scored),
        val_balanced_accuracy=_mean(item.balanced_accuracy for item in scored),
        val_macro_f1=_mean(item.macro_f1 for item in scored),
        val_auroc=_mean(item.auroc for item in scored),
        learning_rate=learning_rate(spec.train, epoch - 1, spec.train.epochs),
        elapsed_secs=0.0,
        num_images=sum(item[2] for item in trained),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean over the blocks; None without blocks, or if one of them has no value."""
    known = list(values)
    return None if not known or None in known else sum(value for value in known if value is not None) / len(known)


def _finish(
    spec: TrialSpec, learners: list[Learner], data: ImageData, folder: Path
) -> Generator[None, None, TrialResult]:
    """Write weights and validation results; evaluate the test set if the spec requests it."""
    artifacts: dict[str, str] = {}
    if all(learner.has_validation for learner in learners):
        seen = yield from in_turn(_last_validation(learner) for learner in learners)
        save_array(folder / "confusion.npy", np.sum([confusion_CC for confusion_CC, _ in seen], axis=0))
        # Bits (R, N) in the order of the validation images, which is the same for all trials on a block.
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
    """Evaluate the test set; write predictions (R, N), correctness as bits and the confusion matrix (C, C)."""
    files = {name: f"{name}.npy" for name in ("predictions", "correct", "test_confusion")}
    path = folder / files["predictions"]
    if not path.is_file():  # evaluated once per repeat, even if the repeat is interrupted afterwards
        save_array(path, np.stack((yield from in_turn(learner.score_test(data.test) for learner in learners))))
    predicted_RN: NDArray[np.uint16] = np.load(path, allow_pickle=False)
    correct_RN = predicted_RN == data.test.labels
    save_array(folder / files["correct"], np.packbits(correct_RN, axis=1))
    counts_CC = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)
    np.add.at(counts_CC, (np.broadcast_to(data.test.labels, predicted_RN.shape), predicted_RN), 1)
    save_array(folder / files["test_confusion"], counts_CC)
    return TrialResult(test_accuracy=float(correct_RN.mean()), artifacts=files)


def _last_validation(learner: Learner) -> Generator[None, None, tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Return the confusion matrix (C, C) and correctness (N,) of the last validation."""
    if learner.confusion is None:  # resumed after the last checkpoint
        yield from learner.validate()
    assert learner.confusion is not None
    assert learner.val_correct is not None
    return learner.confusion, learner.val_correct
