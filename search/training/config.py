"""What a training needs besides its model and data."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, fields
from pathlib import Path

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "cosine", "onecycle")
AUGMENTS = ("none", "hflip", "hvflip", "crop_hflip", "crop_hflip_cutout")
NORMALISES = ("global", "channel", "half", "unit")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe of one training."""

    epochs: int
    """Passes over the training part; at least 1. The fidelity of the search, never searched."""
    batch: int = 128
    """Images per step; at least 2."""
    optimizer: str = "adam"
    """One of adam, adamw, sgd, rmsprop."""
    lr: float = 1e-3
    """Learning rate at its highest; above 0."""
    momentum: float = 0.9
    """Used by sgd only; 0 to 1."""
    weight_decay: float = 0.0
    """L2 penalty (adamw: decoupled); 0 or more."""
    schedule: str = "constant"
    """Learning rate over time: constant, step (x0.1 at 1/2 and 3/4), cosine, onecycle."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 switches clipping off."""
    rnn_l2: float = 0.0
    """Weight of the sum of squares of every recurrence's input and recurrent kernels, added to the loss; 0 or more."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes; 0 to 1."""
    augment: str = "none"
    """One of none, hflip, hvflip, crop_hflip, crop_hflip_cutout."""
    normalise: str = "global"
    """global (one mean and deviation), channel, half ((x-.5)/.5), unit (/255); fitted on the training part."""
    validate_every: int = 1
    """Epochs from one validation to the next; 1 to `epochs`. The last epoch is always validated."""
    precision: str = "auto"
    """float32, bfloat16 (recurrences stay in float32), or auto: bfloat16 on GPUs and on CPUs that have it in hardware.

    auto is a word of the study file: `settled` replaces it by one of the others before anything is trained, so that
    trials of one key are computed alike on all nodes.
    """

    def __post_init__(self) -> None:
        """Refuse values that no training can have, all at once."""
        faults = [
            f"{name} must be {rule}, got {value!r}"
            for name, value, ok, rule in (
                ("epochs", self.epochs, self.epochs >= 1, "at least 1"),
                ("batch", self.batch, self.batch >= 2, "at least 2"),
                ("optimizer", self.optimizer, self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
                ("lr", self.lr, self.lr > 0, "above 0"),
                ("momentum", self.momentum, 0 <= self.momentum < 1, "from 0 to below 1"),
                ("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more"),
                ("schedule", self.schedule, self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
                ("clip", self.clip, self.clip >= 0, "0 or more"),
                ("rnn_l2", self.rnn_l2, self.rnn_l2 >= 0, "0 or more"),
                ("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "from 0 to below 1"),
                ("augment", self.augment, self.augment in AUGMENTS, f"one of {', '.join(AUGMENTS)}"),
                ("normalise", self.normalise, self.normalise in NORMALISES, f"one of {', '.join(NORMALISES)}"),
                (
                    "validate_every",
                    self.validate_every,
                    1 <= self.validate_every <= max(1, self.epochs),
                    f"from 1 to epochs ({self.epochs})",
                ),
                ("precision", self.precision, self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            )
            if not ok
        ]
        if faults:
            raise ValueError("\n".join(faults))


def settled(train: TrainConfig, *, gpus: float) -> TrainConfig:
    """The recipe with `auto` written out, by what a trial is given (`resources.gpus`) and the CPU of this machine.

    Called by the driver, once, so that no two nodes compute one trial's key in different arithmetic.
    """
    if train.precision != "auto":
        return train
    return dataclasses.replace(train, precision="bfloat16" if gpus or cpu_has_bfloat16() else "float32")


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; without it autocast is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


TRAIN_FIELDS = tuple(item.name for item in fields(TrainConfig))
