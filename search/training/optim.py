"""Optimizer and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from search.training.config import TrainConfig


def make_optimizer(parameters: Iterable[nn.Parameter], train: TrainConfig) -> torch.optim.Optimizer:
    """Create the optimizer.

    Adam's eps is 1e-7 as in Keras, which two of the reproduced papers use; torch's default is 1e-8. Fused kernels
    update all tensors in one pass on CPU and GPU.
    """
    params = list(parameters)
    match train.optimizer:
        case "adam":
            return torch.optim.Adam(params, lr=train.lr, weight_decay=train.weight_decay, eps=1e-7, fused=True)
        case "adamw":
            return torch.optim.AdamW(params, lr=train.lr, weight_decay=train.weight_decay, eps=1e-7, fused=True)
        case "sgd":
            return torch.optim.SGD(
                params, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay, fused=True
            )
        case _:
            return torch.optim.RMSprop(params, lr=train.lr, weight_decay=train.weight_decay)


def learning_rate(train: TrainConfig, step: int, num_steps: int) -> float:
    """Return the learning rate of a step.

    `onecycle` rises from lr/25 to lr in the first 30 % and falls to lr/2.5e5, both along a half cosine.

    Args:
        train: The training hyperparameters.
        step: Number of the step, from 0.
        num_steps: Total number of steps.

    >>> learning_rate(TrainConfig(epochs=1, lr=1.0, schedule="step"), 50, 100)
    0.1
    """
    progress = step / max(1, num_steps)
    schedules: dict[str, Callable[[], float]] = {
        "constant": lambda: 1.0,
        "step": lambda: 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01,
        "cosine": lambda: 0.5 * (1 + math.cos(math.pi * progress)),
        "onecycle": lambda: _onecycle(progress),
    }
    return train.lr * schedules[train.schedule]()


def _onecycle(progress: float) -> float:
    warm = 0.3
    if progress < warm:
        start, end, part = 1 / 25, 1.0, progress / warm
    else:
        start, end, part = 1.0, 1 / 2.5e5, (progress - warm) / (1 - warm)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
