"""What is to be trained: one point on one or more blocks, complete and small enough to send to a worker."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property

from hybrid_models.config.model import ModelConfig
from search.data.datasets import DataConfig
from search.data.splits import SplitConfig
from search.records import digest_of
from search.seeds import Block
from search.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """A training, complete: a worker needs this and the data, nothing else."""

    model: ModelConfig
    train: TrainConfig
    data: DataConfig
    split: SplitConfig
    blocks: tuple[Block, ...]
    """What is random; one model is trained per block."""
    data_key: str
    """Cheap digest of the data set, so that changed data is another trial."""
    score_test: bool = False
    """Score the last weights once on the test set: repeats only, never in the sweep."""
    number: int = field(default=0, compare=False)
    """Position in the sweep; not part of the identity."""
    label: str = field(default="", compare=False)
    """What a reader calls it; not part of the identity."""

    @cached_property
    def key(self) -> str:
        """The trial's key everywhere: folder, Optuna attribute, MLflow tag.

        Leaves out what cannot change the result: where the data lie, the label, the number.
        """
        identity = {
            "model": dataclasses.asdict(self.model),
            "train": dataclasses.asdict(self.train),
            "split": dataclasses.asdict(self.split),
            "blocks": [dataclasses.asdict(block) for block in self.blocks],
            "data": self.data_key,
            "score_test": self.score_test,
        }
        return digest_of(identity)
