"""Estimate the duration of an epoch from one training step."""

from __future__ import annotations

import time

import torch

from hybrid_models.build import build
from hybrid_models.objective import objective
from search.training.spec import TrialSpec


def time_epoch(spec: TrialSpec, num_train: int) -> float:
    """Measure a training step on random images, after a warm-up step, and scale it to an epoch.

    Args:
        spec: The trial.
        num_train: Number of training images.

    Returns:
        Estimated seconds per epoch on one thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = build(spec.model, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
        size = min(spec.train.batch, num_train)
        shape = (size, spec.model.input_channels, spec.model.input_height, spec.model.input_width)
        images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(size, dtype=torch.int64)
        secs = 0.0
        for _ in range(2):
            start = time.perf_counter()
            loss, _ = objective(
                model, images, labels, label_smoothing=spec.train.label_smoothing, rnn_l2=spec.train.rnn_l2
            )
            loss.backward()  # type: ignore[no-untyped-call]
            secs = time.perf_counter() - start
        return secs * num_train / size
    finally:
        torch.set_num_threads(threads)
