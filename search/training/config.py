"""Training hyperparameters."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "cosine", "onecycle")
AUGMENTS = ("none", "hflip", "hvflip", "crop_hflip", "crop_hflip_cutout")
NORMALISES = ("global", "channel", "half", "unit")
PRECISIONS = ("auto", "float32", "bfloat16")
CLASS_WEIGHTS = ("none", "balanced")
KEEPS = ("last", "best")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The hyperparameters of one training run."""

    epochs: int
    """Passes over the training images; at least 1. The fidelity of the search, so never searched itself."""
    batch: int = 128
    """Images per optimizer step; at least 2."""
    optimizer: str = "adam"
    """One of adam, adamw, sgd, rmsprop."""
    lr: float = 1e-3
    """Peak learning rate; above 0."""
    momentum: float = 0.9
    """Momentum of sgd, unused otherwise; at least 0 and below 1."""
    weight_decay: float = 0.0
    """L2 penalty (adamw: decoupled); 0 or more."""
    schedule: str = "constant"
    """Learning rate schedule: constant, step (x0.1 at 1/2 and 3/4 of the training), cosine or onecycle."""
    clip: float = 0.0
    """Maximum gradient norm; 0 disables clipping."""
    rnn_l2: float = 0.0
    """Weight of the L2 penalty on the input and recurrent kernels of all recurrent layers, added to the loss; 0 or
    more."""
    label_smoothing: float = 0.0
    """Fraction of the target spread evenly over all classes; at least 0 and below 1."""
    augment: str = "none"
    """One of none, hflip, hvflip, crop_hflip, crop_hflip_cutout."""
    normalise: str = "global"
    """Normalisation: global (one mean and standard deviation), channel (one per channel), half ((x - 0.5) / 0.5) or
    unit (x / 255); fitted on the training images."""
    validate_every: int = 1
    """Number of epochs between validations; 1 to `epochs`. The last epoch is always validated."""
    precision: str = "auto"
    """float32, bfloat16 (recurrent layers use float32), or auto: bfloat16 on GPUs and on CPUs that support it in
    hardware.

    auto is decided before the first trial, so that trials with the same key use the same precision on all nodes.
    """
    class_weights: str = "none"
    """Weight of each image in the cross-entropy: none (1), or balanced: n / (k * n_c) for a class with n_c of the n
    training images, so that each of the k classes has the same total weight."""
    keep: str = "last"
    """Epoch whose weights count: last, or best: that of the highest validation accuracy, of equal ones the first."""

    def __post_init__(self) -> None:
        """Check the values and report all faults at once."""
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
                (
                    "class_weights",
                    self.class_weights,
                    self.class_weights in CLASS_WEIGHTS,
                    f"one of {', '.join(CLASS_WEIGHTS)}",
                ),
                ("keep", self.keep, self.keep in KEEPS, f"one of {', '.join(KEEPS)}"),
            )
            if not ok
        ]
        if faults:
            raise ValueError("\n".join(faults))

    def to_identity(self) -> dict[str, Any]:
        """Return the settings that determine a trial's key.

        A setting that was added later counts only if it differs from its default, so that earlier keys stay valid.
        """
        settings = dataclasses.asdict(self)
        return {name: value for name, value in settings.items() if name not in _ADDED or value != _ADDED[name]}


def resolve_precision(train: TrainConfig, *, gpus: float) -> TrainConfig:
    """Return the configuration with `precision: auto` resolved.

    The driver calls this once per study, so that all nodes train with the same precision.

    Args:
        train: The configuration.
        gpus: GPUs per trial (`resources.gpus`); with 0, this machine's CPU decides.
    """
    if train.precision != "auto":
        return train
    return dataclasses.replace(train, precision="bfloat16" if gpus or cpu_has_bfloat16() else "float32")


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Return whether this CPU supports bfloat16 in hardware; without it, autocast is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


TRAIN_FIELDS = tuple(item.name for item in fields(TrainConfig))
_ADDED = {item.name: item.default for item in fields(TrainConfig) if item.name in {"class_weights", "keep"}}
"""Settings that keys of earlier versions do not contain -> default."""
