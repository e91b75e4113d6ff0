"""One trial, epoch by epoch: yields metrics, checkpoints before it speaks, goes on bit for bit.

Shapes: C classes, N images, R blocks.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from search.data.store import ImageData
from search.errors import DivergedError
from search.records import EpochMetrics, Progress, TrialResult, TrialSpec
from search.training.checkpoint import load_checkpoint, save_array, save_checkpoint, save_weights
from search.training.learner import Learner
from search.training.machine import describe_machine, deterministic_cudnn
from search.training.memory import keep_freed_memory
from search.training.optim import learning_rate


def train(
    spec: TrialSpec, data: ImageData, folder: Path, *, device: str, num_known_epochs: int = 0
) -> Iterator[Progress]:
    """Train a trial, or go on with it from its checkpoint.

    Args:
        spec: What to train. Its blocks go forward together, one epoch each in turn.
        data: The data set that the spec names.
        folder: Holds the checkpoint; in the end weights, confusion matrices, which validation images were right, and
            test predictions.
        device: `cpu`, `cuda` or `cuda:n`.
        num_known_epochs: Epochs that the caller has already been told of.

    Yields:
        One `Progress` per epoch that the caller does not know, after the checkpoint that holds it was written.

    Raises:
        DivergedError: The loss is not finite. Of a repeat it carries what the last finite checkpoint scores, if there
            is one: a divergence is an outcome, and it is compared like any other.
    """
    place = torch.device(device)
    keep_freed_memory()
    learners = [Learner(spec, block, data, place) for block in spec.blocks]
    curve: list[EpochMetrics] = []
    checkpoint = load_checkpoint(folder, spec.key)
    if checkpoint is not None:
        curve = [EpochMetrics.from_dict(item) for item in checkpoint["curve"]]
        for learner, state in zip(learners, checkpoint["learners"], strict=True):
            learner.load(state)
    last = spec.train.epochs
    machine = describe_machine(place, spec.train.precision)
    for metrics in curve[num_known_epochs:]:
        if metrics.epoch < last:
            yield Progress(metrics=metrics, machine=machine)
    for epoch in range(len(curve) + 1, last + 1):
        try:
            with deterministic_cudnn():
                curve.append(_train_epoch(spec, learners, epoch))
        except DivergedError as error:
            raise _with_last_finite(error, spec, learners, data, folder) from None
        save_checkpoint(
            folder,
            {
                "key": spec.key,
                "epoch": epoch,
                "curve": [dataclasses.asdict(item) for item in curve],
                "learners": [learner.state() for learner in learners],
            },
        )
        if epoch < last:
            yield Progress(metrics=curve[-1], machine=machine)
    with deterministic_cudnn():
        result = _finish(spec, learners, data, folder)
    yield Progress(metrics=curve[-1], machine=machine, result=result)


def _train_epoch(spec: TrialSpec, learners: list[Learner], epoch: int) -> EpochMetrics:
    start = time.perf_counter()
    trained = [learner.train_epoch(epoch) for learner in learners]
    due = epoch % spec.train.validate_every == 0 or epoch == spec.train.epochs
    scored = [learner.validate() for learner in learners if due and learner.has_validation]
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
        elapsed_secs=time.perf_counter() - start,
        num_images=sum(item[2] for item in trained),
    )


def _finish(spec: TrialSpec, learners: list[Learner], data: ImageData, folder: Path) -> TrialResult:
    """Leave weights and what the last validation saw; score the test set, if the spec asks for it."""
    artifacts: dict[str, str] = {}
    if all(learner.has_validation for learner in learners):
        seen = [_last_validation(learner) for learner in learners]
        save_array(folder / "confusion.npy", np.sum([confusion_CC for confusion_CC, _ in seen], axis=0))
        # In the order of the validation part, (R, N) in bits: all trials on one block have the same images.
        save_array(folder / "val_correct.npy", np.packbits([correct_N for _, correct_N in seen], axis=1))
        artifacts |= {"confusion": "confusion.npy", "val_correct": "val_correct.npy"}
    for position, learner in enumerate(learners):
        name = f"weights-{position}.safetensors"
        save_weights(folder / name, learner.model.state_dict())
        artifacts[f"weights-{position}"] = name
    if not spec.score_test:
        return TrialResult(test_accuracy=None, artifacts=artifacts)
    tested = _score(learners, data, folder)
    return dataclasses.replace(tested, artifacts={**artifacts, **tested.artifacts})


def _score(learners: list[Learner], data: ImageData, folder: Path) -> TrialResult:
    """Score the test set and leave predictions (R, N), their correctness in bits, and the confusion matrix (C, C)."""
    files = {name: f"{name}.npy" for name in ("predictions", "correct", "test_confusion")}
    path = folder / files["predictions"]
    if not path.is_file():  # once per repeat, even if the repeat was cut off right after
        save_array(path, np.stack([learner.score_test(data.test) for learner in learners]))
    predicted_RN: NDArray[np.uint16] = np.load(path, allow_pickle=False)
    correct_RN = predicted_RN == data.test.labels
    save_array(folder / files["correct"], np.packbits(correct_RN, axis=1))
    counts_CC = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)
    np.add.at(counts_CC, (np.broadcast_to(data.test.labels, predicted_RN.shape), predicted_RN), 1)
    save_array(folder / files["test_confusion"], counts_CC)
    return TrialResult(test_accuracy=float(correct_RN.mean()), artifacts=files)


def _with_last_finite(
    error: DivergedError, spec: TrialSpec, learners: list[Learner], data: ImageData, folder: Path
) -> DivergedError:
    """Give the error what the last checkpoint scores; as it is in a sweep, and before the first epoch has ended.

    Every checkpoint is finite, as an epoch that is not never gets one.
    """
    checkpoint = load_checkpoint(folder, spec.key) if spec.score_test else None
    if checkpoint is None:
        return error
    for learner, state in zip(learners, checkpoint["learners"], strict=True):
        learner.load(state)
    try:
        return DivergedError(error.epoch, error.loss, _score(learners, data, folder))
    except DivergedError:
        return error


def _last_validation(learner: Learner) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Confusion matrix (C, C) and correctness (N,) of the last pass."""
    if learner.confusion is None:  # cut off after the last checkpoint
        learner.validate()
    assert learner.confusion is not None
    assert learner.val_correct is not None
    return learner.confusion, learner.val_correct
