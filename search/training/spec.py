"""Specification of a trial: one point on one or more blocks, small enough to send to a worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from search.data.datasets import DataConfig
from search.data.splits import SplitConfig
from search.own_models.model import AnyModel, OwnModel, model_from_dict
from search.records import digest_of
from search.seeds import Block
from search.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """A complete specification of a trial: with the data set, all that a worker needs."""

    model: AnyModel
    train: TrainConfig
    data: DataConfig
    split: SplitConfig
    blocks: tuple[Block, ...]
    """Seeds and splits; one model is trained per block."""
    data_key: str
    """Digest of the data set, so that changed data gives another trial."""
    score_test: bool = False
    """Whether to evaluate the final weights on the test set; for repeats only, never in a sweep."""
    number: int = field(default=0, compare=False)
    """Number of the trial in the sweep; not part of the key."""
    times_latency: bool = field(default=False, compare=False)
    """Whether to measure the latency after the first epoch; not part of the key."""
    label: str = field(default="", compare=False)
    """Displayed name; not part of the key."""

    @cached_property
    def key(self) -> str:
        """The trial's identifier, used as folder name, Optuna attribute and MLflow tag.

        Excludes everything that cannot change the result: location of the data, label and number.
        """
        identity = {
            "model": self.model.identity() if isinstance(self.model, OwnModel) else dataclasses.asdict(self.model),
            "train": self.train.to_identity(),
            "split": dataclasses.asdict(self.split),
            "blocks": [dataclasses.asdict(block) for block in self.blocks],
            "data": self.data_key,
            "score_test": self.score_test,
        }
        return digest_of(identity)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What determines the duration of a training step."""

    model: AnyModel
    batch: int
    label_smoothing: float
    rnn_l2: float

    @classmethod
    def of(cls, spec: TrialSpec) -> Step:
        """Return the step of a trial."""
        train = spec.train
        return cls(model=spec.model, batch=train.batch, label_smoothing=train.label_smoothing, rnn_l2=train.rnn_l2)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Step:
        """Create the step from the output of `to_dict`."""
        return cls(**{**data, "model": model_from_dict(data["model"])})

    def to_dict(self) -> dict[str, Any]:
        """Return the step as plain data."""
        return dataclasses.asdict(self)
