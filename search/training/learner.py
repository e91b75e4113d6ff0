"""One block of a trial: what is trained and scored.

Shapes: B batch, H height, W width, C channels or classes, N images.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from hybrid_models.build import build
from hybrid_models.objective import objective
from search.data.augment import Normaliser, augment, fit_normaliser, prepare
from search.data.batches import EvalBatches, TrainBatches
from search.data.splits import split
from search.data.store import ImageData, Images
from search.errors import DivergedError
from search.records import TrialSpec
from search.seeds import Block, derive
from search.training.machine import uses_bfloat16
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
        self._autocast = uses_bfloat16(spec.train.precision, device)
        self._set = data.train
        self._train_rows, self._val_rows, self.normaliser = _parts(data, spec, block.split_seed)
        generator = torch.Generator().manual_seed(block.init_seed)
        self.model: nn.Module = build(spec.model, generator).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizer = make_optimizer((p for p in self.model.parameters() if p.requires_grad), spec.train)
        self._batches = TrainBatches(self._set, self._train_rows, spec.train.batch, device)
        self._num_steps = spec.train.epochs * len(self._batches)
        self.confusion: NDArray[np.int64] | None = None
        self.val_correct: NDArray[np.bool_] | None = None

    def train_epoch(self, epoch: int) -> tuple[float, float, int]:
        """Train one epoch (from 1).

        Returns:
            Mean of what is minimised (see `objective`), accuracy, and number of images.

        Raises:
            DivergedError: The loss is not finite, or the weights are not after the last step.
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
                loss, logits = objective(
                    self.model,
                    images,
                    labels,
                    label_smoothing=self._train.label_smoothing,
                    rnn_l2=self._train.rnn_l2,
                )
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
        if not _all_finite(self.model):
            raise DivergedError(epoch, math.nan)
        return mean_loss, float(num_right) / num_images, num_images

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation part."""
        return len(self._val_rows) > 0

    def validate(self) -> tuple[float, float]:
        """Score the validation part; keep its confusion matrix (C, C), rows true, and which images were right (N,).

        Returns:
            Mean cross-entropy, whatever training minimises, and accuracy.
        """
        logits, labels = self._forward(self._set, self._val_rows)
        loss = float(F.cross_entropy(logits, labels))
        num_classes = logits.shape[1]
        predicted = logits.argmax(dim=1)
        cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
        self.confusion = cells.reshape(num_classes, num_classes).cpu().numpy()
        self.val_correct = (predicted == labels).cpu().numpy()
        return loss, float(np.trace(self.confusion)) / len(labels)

    def score_test(self, test: Images) -> NDArray[np.uint16]:
        """Classify every image of the test set: (N,).

        Raises:
            DivergedError: The model says nothing finite of some image.
        """
        logits, _ = self._forward(test, np.arange(len(test.labels)))
        if not bool(logits.isfinite().all()):
            raise DivergedError(self._train.epochs, math.nan)
        return logits.argmax(dim=1).cpu().numpy().astype(np.uint16)

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


def _all_finite(model: nn.Module) -> bool:
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


@functools.lru_cache(maxsize=8)
def _parts_of(
    data: ImageData, method: object, normalise: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Normaliser]:
    train_rows, val_rows = split(data.train.labels, method, seed)  # type: ignore[arg-type]
    return train_rows, val_rows, fit_normaliser(data.train, train_rows, normalise)


def _parts(data: ImageData, spec: TrialSpec, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Normaliser]:
    """Split and normalisation, found once per process and block: trials of a sweep share them."""
    return _parts_of(data, spec.split, spec.train.normalise, seed)
