"""Estimate the duration of epochs from single training steps."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

import torch
from torch import nn

from hybrid_models.objective import objective
from search.own_models.build import build_model
from search.own_models.model import OwnModel
from search.training.spec import Step


def time_epochs(steps: Sequence[Step], num_train: int) -> list[float]:
    """Measure training steps on random images, each after a warm-up step, and scale them to epochs.

    Args:
        steps: The steps.
        num_train: Number of training images.

    Returns:
        Estimated seconds per epoch on one core that does nothing else.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_time_epoch(step, num_train) for step in steps]
    finally:
        torch.set_num_threads(threads)


def _time_epoch(step: Step, num_train: int) -> float:
    # An own model may use `view`, which channels_last images do not allow.
    layout = torch.contiguous_format if isinstance(step.model, OwnModel) else torch.channels_last
    model: nn.Module = build_model(step.model, torch.Generator().manual_seed(0)).to(memory_format=layout)
    size = min(step.batch, num_train)
    shape = (size, step.model.input_channels, step.model.input_height, step.model.input_width)
    images = torch.rand(shape).contiguous(memory_format=layout)
    labels = torch.zeros(size, dtype=torch.int64)
    secs = 0.0
    for _ in range(2):
        start = time.thread_time()  # does not pass while other processes run
        loss, _ = objective(model, images, labels, label_smoothing=step.label_smoothing, rnn_l2=step.rnn_l2)
        loss.backward()  # type: ignore[no-untyped-call]
        secs = time.thread_time() - start
    return secs * num_train / size


def main(output: int) -> None:
    """Time the steps in a JSON object on standard input, and write the seconds as JSON.

    Args:
        output: File descriptor; standard output is where libraries may print.
    """
    given = json.load(sys.stdin)
    try:
        secs = time_epochs([Step.from_dict(step) for step in given["steps"]], given["num_train"])
    except Exception as error:  # noqa: BLE001  whatever it is, the user's process reports it in one line
        sys.exit(f"{type(error).__name__}: {error}".partition("\n")[0])
    with open(output, "w", encoding="ascii") as stream:
        json.dump(secs, stream)
