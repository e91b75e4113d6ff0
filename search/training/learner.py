"""Train and evaluate one model on one block (seed and split) of a trial.

Shapes: B batch, H height, W width, C channels or classes, N images.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from hybrid_models.objective import objective
from search.data.augment import Normaliser, augment, fit_normaliser, prepare
from search.data.batches import EvalBatches, TrainBatches
from search.data.store import ImageData, Images
from search.errors import DivergedError
from search.own_models.build import Logits, build_model
from search.own_models.model import OwnModel
from search.seeds import Block, derive
from search.training.machine import uses_bfloat16
from search.training.memory import EVAL_BATCH, BatchLimits, is_out_of_memory, release_memory
from search.training.optim import learning_rate, make_optimizer, set_learning_rate
from search.training.scores import auroc, balanced_accuracy, macro_f1
from search.training.spec import TrialSpec
from search.training.ticks import random_state, set_random_state

NUM_WARM_UP, NUM_TIMED = 5, 50
"""Forward passes of one image before and during the measurement of the latency."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The scores of a model on the validation images of one block."""

    loss: float
    """Mean cross-entropy, all images alike, whatever the training loss."""
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    auroc: float | None


@dataclass(kw_only=True)
class _EpochProgress:
    """Progress within an epoch."""

    epoch: int
    step: int
    """Steps completed."""
    changes: torch.Generator
    """Generator of the augmentation."""
    # Sums are kept on the device: reading them at every step would wait for it.
    loss_sum: torch.Tensor
    num_right: torch.Tensor
    num_images: int


class Learner:
    """The model, optimizer and data of one block of a trial.

    All randomness is a function of (block, epoch), so checkpoints at the end of an epoch contain no random state; those
    within an epoch contain the state of torch's generators.

    Long-running methods are generators: they yield between steps, where they may be closed, and return their result.
    Not thread-safe, as torch's global generators are used.

    Args:
        spec: The trial.
        block: The seeds.
        data: The data set that the spec names.
        device: Device of the training.
        limits: Largest number of images computed at once. Gradients of micro-batches are summed to that of the whole
            batch, so only batch normalisation, which normalises over each micro-batch, changes the result.
    """

    def __init__(
        self,
        spec: TrialSpec,
        block: Block,
        data: ImageData,
        device: torch.device,
        limits: BatchLimits | None = None,
    ) -> None:
        self.block = block
        self._train = spec.train
        self._device = device
        self._limits = limits or BatchLimits()
        self._autocast = uses_bfloat16(spec.train.precision, device)
        self._set = data.train
        self._train_rows, self._val_rows, self.normaliser = _split_rows(data, spec, block.split_seed)
        generator = torch.Generator().manual_seed(block.init_seed)
        # An own model may use `view`, which channels_last images do not allow.
        self._is_own = isinstance(spec.model, OwnModel)
        layout = torch.contiguous_format if self._is_own else torch.channels_last
        self.model: nn.Module = build_model(spec.model, generator).to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self._logits = Logits(self.model) if self._is_own else self.model
        self._optimizer = make_optimizer((p for p in self.model.parameters() if p.requires_grad), spec.train)
        self._weights = (
            balanced_weights(self._set.labels[self._train_rows], len(data.classes)).to(device)
            if spec.train.class_weights == "balanced"
            else None
        )
        self._batches = TrainBatches(self._set, self._train_rows, spec.train.batch, device)
        self._num_steps = spec.train.epochs * len(self._batches)
        self._part: _EpochProgress | None = None
        self._random: dict[str, torch.Tensor] | None = None
        self.confusion: NDArray[np.int64] | None = None
        self.val_correct: NDArray[np.bool_] | None = None

    def train_epoch(self, epoch: int) -> Generator[None, None, tuple[float, float, int]]:
        """Train one epoch, or the rest of it after resuming.

        Args:
            epoch: Number of the epoch, from 1.

        Returns:
            Mean training loss (see `objective`), accuracy, and number of images.

        Raises:
            DivergedError: The loss is not finite, or the weights are not finite at the end.
        """
        order = torch.Generator().manual_seed(derive(self.block.order_seed, "order", epoch))
        part = self._begin(epoch)
        self.model.train()
        first_step = (epoch - 1) * len(self._batches)
        for pixels, labels in self._batches.epoch(order, first=part.step):
            set_learning_rate(self._optimizer, learning_rate(self._train, first_step + part.step, self._num_steps))
            images = augment(prepare(pixels, self.normaliser), self._train.augment, part.changes)
            self._descend(images.contiguous() if self._is_own else images, labels, part)
            part.step += 1
            yield
        mean_loss = float(part.loss_sum) / part.num_images
        if not math.isfinite(mean_loss):
            raise DivergedError(epoch, mean_loss)
        if not _all_finite(self.model):
            raise DivergedError(epoch, math.nan)
        return mean_loss, float(part.num_right) / part.num_images, part.num_images

    def _begin(self, epoch: int) -> _EpochProgress:
        """Return the progress of the epoch: from its first step, or from a loaded state."""
        if self._part is None or self._part.epoch != epoch:
            torch.manual_seed(derive(self.block.init_seed, "dropout", epoch))
            self._part = _EpochProgress(
                epoch=epoch,
                step=0,
                changes=torch.Generator().manual_seed(derive(self.block.order_seed, "augment", epoch)),
                loss_sum=torch.zeros((), device=self._device, dtype=torch.float64),
                num_right=torch.zeros((), device=self._device, dtype=torch.int64),
                num_images=0,
            )
        elif self._random is not None:
            set_random_state(self._random, self._device)
        self._random = None
        return self._part

    def _descend(self, images: torch.Tensor, labels: torch.Tensor, part: _EpochProgress) -> None:
        """Update the weights with one batch, whose gradient is computed in micro-batches if memory is short."""
        self._optimizer.zero_grad(set_to_none=True)
        num_parts = self._limits.num_parts(len(labels), self.model)
        for some, truth in zip(images.tensor_split(num_parts), labels.tensor_split(num_parts), strict=True):
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
                loss, logits = objective(
                    self.model,
                    some,
                    truth,
                    label_smoothing=self._train.label_smoothing,
                    rnn_l2=self._train.rnn_l2,
                    class_weights_K=self._weights,
                )
            weighted = loss if num_parts == 1 else loss * (len(truth) / len(labels))
            weighted.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                part.loss_sum += loss.double() * len(truth)
                part.num_right += (logits.argmax(dim=1) == truth).sum()
        part.num_images += len(labels)
        if self._train.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._train.clip)
        self._optimizer.step()

    @property
    def has_validation(self) -> bool:
        """Whether there are validation images."""
        return len(self._val_rows) > 0

    def validate(self) -> Generator[None, None, Validation]:
        """Evaluate the validation images; stores the confusion matrix (C, C), rows true, and the correctness (N,)."""
        logits, labels = yield from self._forward(self._set, self._val_rows)
        loss = float(F.cross_entropy(logits, labels))
        num_classes = logits.shape[1]
        predicted = logits.argmax(dim=1)
        cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
        self.confusion = cells.reshape(num_classes, num_classes).cpu().numpy()
        self.val_correct = (predicted == labels).cpu().numpy()
        return Validation(
            loss=loss,
            accuracy=float(np.trace(self.confusion)) / len(labels),
            balanced_accuracy=balanced_accuracy(self.confusion),
            macro_f1=macro_f1(self.confusion),
            auroc=auroc(logits, labels),
        )

    def latency_ms(self) -> float:
        """Measure the time for the logits of one image: the median of 50, after a warm-up.

        Returns:
            Milliseconds.
        """
        self.model.eval()
        pixels, _ = next(iter(EvalBatches(self._set, self._train_rows[:1], 1, self._device)))
        secs = []
        for _ in range(NUM_WARM_UP + NUM_TIMED):
            start = time.perf_counter()
            with torch.no_grad(), torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
                self._logits(prepare(pixels, self.normaliser))
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            secs.append(time.perf_counter() - start)
        return 1000 * statistics.median(secs[NUM_WARM_UP:])

    def score_test(self, test: Images) -> Generator[None, None, NDArray[np.uint16]]:
        """Predict the class of every test image.

        Returns:
            Class indices, (N,).

        Raises:
            DivergedError: The model returns a value that is not finite.
        """
        logits, _ = yield from self._forward(test, np.arange(len(test.labels)))
        if not bool(logits.isfinite().all()):
            raise DivergedError(self._train.epochs, math.nan)
        return logits.argmax(dim=1).cpu().numpy().astype(np.uint16)

    def _forward(
        self, images: Images, rows: NDArray[np.int64]
    ) -> Generator[None, None, tuple[torch.Tensor, torch.Tensor]]:
        """Return the logits (N, C) and labels (N,) of images; halves the batch size if memory is short.

        Raises:
            OutOfMemoryError: A single image does not fit into memory.
        """
        while True:
            try:
                return (yield from self._forward_once(images, rows))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._limits.halve_eval(str(error))
            release_memory()

    def _forward_once(
        self, images: Images, rows: NDArray[np.int64]
    ) -> Generator[None, None, tuple[torch.Tensor, torch.Tensor]]:
        self.model.eval()
        parts, labels = [], []
        for pixels, truth in EvalBatches(images, rows, self._limits.eval_batch or EVAL_BATCH, self._device):
            # Not around a yield: gradients must stay enabled for the caller's code.
            with torch.no_grad(), torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
                parts.append(self._logits(prepare(pixels, self.normaliser)).float())
            labels.append(truth)
            yield
        return torch.cat(parts), torch.cat(labels)

    def state(self, *, in_middle: bool = False) -> dict[str, Any]:
        """Return the state for a checkpoint.

        Args:
            in_middle: Include the progress within the epoch and the state of torch's generators.
        """
        state: dict[str, Any] = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        if in_middle and self._part is not None:
            part = self._part
            state["part"] = {
                "epoch": part.epoch,
                "step": part.step,
                "changes": part.changes.get_state(),
                "loss_sum": part.loss_sum,
                "num_right": part.num_right,
                "num_images": part.num_images,
                "random": random_state(self._device),
            }
        return state

    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Replace the weights by those of another epoch, which are not validated yet."""
        self.model.load_state_dict(weights)
        self.confusion = self.val_correct = None

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state`."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._part, self._random = None, None
        if part := state.get("part"):
            changes = torch.Generator()
            changes.set_state(part["changes"])
            self._part = _EpochProgress(
                epoch=part["epoch"],
                step=part["step"],
                changes=changes,
                loss_sum=part["loss_sum"].to(self._device),
                num_right=part["num_right"].to(self._device),
                num_images=part["num_images"],
            )
            self._random = part["random"]


def balanced_weights(labels_N: NDArray[np.int64], num_classes: int) -> torch.Tensor:
    """Return the weight of each class, n / (k * n_c), so that all classes with images have the same total weight.

    >>> balanced_weights(np.array([0, 0, 0, 1]), 3).tolist()
    [0.6666666865348816, 2.0, 0.0]

    Args:
        labels_N: Class index of each training image.
        num_classes: Number of classes; one without images has the weight 0.

    Returns:
        Shape (C,), float32. The mean over the images is 1.
    """
    counts_C = np.bincount(labels_N, minlength=num_classes)
    num_there = np.count_nonzero(counts_C)
    weights_C = [len(labels_N) / (num_there * count) if count else 0.0 for count in counts_C]
    return torch.tensor(weights_C, dtype=torch.float32)


def _all_finite(model: nn.Module) -> bool:
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


@functools.lru_cache(maxsize=8)
def _parts_of(
    data: ImageData, method: object, normalise: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Normaliser]:
    train_rows, val_rows = data.divide(method, seed)  # type: ignore[arg-type]
    return train_rows, val_rows, fit_normaliser(data.train, train_rows, normalise)


def _split_rows(data: ImageData, spec: TrialSpec, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Normaliser]:
    """Return training rows, validation rows and normalisation; cached per process, as trials share blocks."""
    return _parts_of(data, spec.split, spec.train.normalise, seed)
