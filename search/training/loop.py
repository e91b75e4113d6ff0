"""One trial, epoch by epoch: yields metrics, checkpoints before it speaks, goes on bit for bit.

Shapes: B batch, H height, W width, C channels or classes, N images, R blocks.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from hybrid_models.build import build
from search.data.augment import Normaliser, augment, fit_normaliser, prepare
from search.data.batches import EvalBatches, TrainBatches
from search.data.splits import split
from search.data.store import ImageData, Images
from search.errors import DivergedError
from search.records import EpochMetrics, Progress, TrialResult, TrialSpec
from search.seeds import Block, derive
from search.training.checkpoint import load_checkpoint, save_array, save_checkpoint, save_weights
from search.training.memory import keep_freed_memory
from search.training.optim import learning_rate, make_optimizer, set_learning_rate

EVAL_BATCH = 512
"""Images per forward pass where no gradient is needed."""


class Learner:
    """One block of a trial: its model, optimizer and parts of the data.

    Everything random is a function of (block, epoch), so that block and epoch are all there is to store of it.
    """

    def __init__(self, spec: TrialSpec, block: Block, data: ImageData, device: torch.device) -> None:
        self.block = block
        self._train = spec.train
        self._device = device
        self._autocast = _wants_bfloat16(spec.train.precision, device)
        self._set = data.train
        self._train_rows, self._val_rows, self.normaliser = _parts(data, spec, block.split_seed)
        generator = torch.Generator().manual_seed(block.init_seed)
        self.model: nn.Module = build(spec.model, generator).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizer = make_optimizer((p for p in self.model.parameters() if p.requires_grad), spec.train)
        self._batches = TrainBatches(self._set, self._train_rows, spec.train.batch, device)
        self._num_steps = spec.train.epochs * len(self._batches)
        self.confusion: NDArray[np.int64] | None = None

    def train_epoch(self, epoch: int) -> tuple[float, float, int]:
        """Train one epoch (from 1).

        Returns:
            Mean loss, accuracy, and number of images.

        Raises:
            DivergedError: The loss is not finite.
        """
        torch.manual_seed(derive(self.block.init_seed, "dropout", epoch))
        order = torch.Generator().manual_seed(derive(self.block.order_seed, "order", epoch))
        changes = torch.Generator().manual_seed(derive(self.block.order_seed, "augment", epoch))
        self.model.train()
        # Sums stay on the device: reading them at every step would wait for it.
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        num_right = torch.zeros((), device=self._device, dtype=torch.int64)
        num_images = 0
        first_step = (epoch - 1) * len(self._batches)
        for step, (pixels, labels) in enumerate(self._batches.epoch(order)):
            set_learning_rate(self._optimizer, learning_rate(self._train, first_step + step, self._num_steps))
            images = augment(prepare(pixels, self.normaliser), self._train.augment, changes)
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
                logits = self.model(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self._train.label_smoothing)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self._train.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), self._train.clip)
            self._optimizer.step()
            with torch.no_grad():
                loss_sum += loss.double() * len(labels)
                num_right += (logits.argmax(dim=1) == labels).sum()
                num_images += len(labels)
        mean_loss = float(loss_sum) / num_images
        if not math.isfinite(mean_loss):
            raise DivergedError(epoch, mean_loss)
        return mean_loss, float(num_right) / num_images, num_images

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation part."""
        return len(self._val_rows) > 0

    def validate(self) -> tuple[float, float]:
        """Score the validation part and keep its confusion matrix (C, C), rows true.

        Returns:
            Mean cross-entropy, whatever training minimises, and accuracy.
        """
        logits, labels = self._forward(self._set, self._val_rows)
        loss = float(F.cross_entropy(logits, labels))
        num_classes = logits.shape[1]
        cells = torch.bincount(labels * num_classes + logits.argmax(dim=1), minlength=num_classes**2)
        self.confusion = cells.reshape(num_classes, num_classes).cpu().numpy()
        return loss, float(np.trace(self.confusion)) / len(labels)

    def score_test(self, test: Images) -> NDArray[np.bool_]:
        """Say for each image of the test set (N,) whether it is classified right."""
        logits, labels = self._forward(test, np.arange(len(test.labels)))
        return (logits.argmax(dim=1) == labels).cpu().numpy()

    @torch.no_grad()
    def _forward(self, images: Images, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        self.model.eval()
        parts, labels = [], []
        for pixels, truth in EvalBatches(images, rows, EVAL_BATCH, self._device):
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
                parts.append(self.model(prepare(pixels, self.normaliser)).float())
            labels.append(truth)
        return torch.cat(parts), torch.cat(labels)

    def state(self) -> dict[str, Any]:
        """Everything that training changes."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def train(
    spec: TrialSpec, data: ImageData, folder: Path, *, device: str, num_known_epochs: int = 0
) -> Iterator[Progress]:
    """Train a trial, or go on with it from its checkpoint.

    Args:
        spec: What to train. Its blocks go forward together, one epoch each in turn.
        data: The data set that the spec names.
        folder: Holds the checkpoint; in the end weights, confusion matrix and test correctness.
        device: `cpu`, `cuda` or `cuda:n`.
        num_known_epochs: Epochs that the caller has already been told of.

    Yields:
        One `Progress` per epoch that the caller does not know, after the checkpoint that holds it was written.

    Raises:
        DivergedError: The loss is not finite.
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
    for metrics in curve[num_known_epochs:]:
        if metrics.epoch < last:
            yield Progress(metrics=metrics)
    for epoch in range(len(curve) + 1, last + 1):
        curve.append(_train_epoch(spec, learners, epoch))
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
            yield Progress(metrics=curve[-1])
    result = _finish(spec, learners, data, folder)
    yield Progress(metrics=curve[-1], result=result)


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
    """Leave weights and the validation's confusion matrix; score the test set once, if the spec asks for it."""
    artifacts = {}
    if all(learner.has_validation for learner in learners):
        save_array(folder / "confusion.npy", np.sum([_confusion_of(learner) for learner in learners], axis=0))
        artifacts["confusion"] = "confusion.npy"
    for position, learner in enumerate(learners):
        name = f"weights-{position}.safetensors"
        save_weights(folder / name, learner.model.state_dict())
        artifacts[f"weights-{position}"] = name
    if not spec.score_test:
        return TrialResult(test_accuracy=None, artifacts=artifacts)
    path = folder / "correct.npy"
    num_images = len(data.test.labels)
    if not path.is_file():  # once per repeat, even if the repeat was cut off right after
        correct = np.stack([learner.score_test(data.test) for learner in learners])
        save_array(path, np.packbits(correct, axis=1))
    artifacts["correct"] = path.name
    bits = np.unpackbits(np.load(path), axis=1, count=num_images)
    return TrialResult(test_accuracy=float(bits.mean()), artifacts=artifacts)


def _confusion_of(learner: Learner) -> NDArray[np.int64]:
    if learner.confusion is None:  # cut off after the last checkpoint
        learner.validate()
    assert learner.confusion is not None
    return learner.confusion


@functools.lru_cache(maxsize=8)
def _parts_of(
    data: ImageData, method: object, normalise: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Normaliser]:
    train_rows, val_rows = split(data.train.labels, method, seed)  # type: ignore[arg-type]
    return train_rows, val_rows, fit_normaliser(data.train, train_rows, normalise)


def _parts(data: ImageData, spec: TrialSpec, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Normaliser]:
    """Split and normalisation, found once per process and block: trials of a sweep share them."""
    return _parts_of(data, spec.split, spec.train.normalise, seed)


def _wants_bfloat16(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _cpu_has_bfloat16()


@functools.cache
def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it autocast is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
