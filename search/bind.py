"""Joins what may vary to what is trained: point -> ModelConfig + TrainConfig -> TrialSpec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hybrid_models.config import ConfigError, ModelConfig
from search.errors import StudyError
from search.records import TrialSpec
from search.seeds import Block
from search.study import PointLike, StudyConfig
from search.training.config import TRAIN_FIELDS
from spaces.presets import load_preset


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a spec must know of the data without holding them."""

    key: str
    """Cheap digest of the data set."""
    classes: tuple[str, ...]
    height: int
    width: int
    num_train: int
    num_test: int


def bind(
    study: StudyConfig,
    point: Mapping[str, Any],
    facts: DataFacts,
    blocks: tuple[Block, ...],
    *,
    score_test: bool = False,
    number: int = 0,
    label: str = "",
) -> TrialSpec:
    """Make the complete description of one training.

    The point decides; where it is silent, the study's `model` and `train` sections do.

    Raises:
        StudyError: A setting that neither the model nor the recipe knows, or a combination that no model has.
    """
    train_values = {name: value for name, value in point.items() if name in TRAIN_FIELDS}
    model_values = {name: value for name, value in point.items() if name not in TRAIN_FIELDS}
    try:
        train = dataclasses.replace(study.train, **train_values)
        model = ModelConfig.from_dict(
            {
                **study.model,
                **model_values,
                "input_channels": 3,
                "input_height": facts.height,
                "input_width": facts.width,
                "num_classes": len(facts.classes),
            }
        )
    except ConfigError as error:
        raise StudyError(*(f"point {label or dict(point)}: {fault}" for fault in error.faults)) from None
    except ValueError as error:
        raise StudyError(f"point {label or dict(point)}: {error}") from None
    return TrialSpec(
        model=model,
        train=train,
        data=study.data,
        split=study.split,
        blocks=blocks,
        data_key=facts.key,
        score_test=score_test,
        number=number,
        label=label,
    )


def complete_point(study: StudyConfig, like: PointLike) -> dict[str, Any]:
    """Write out a preset or partial point: training settings that the space searches come from `train`."""
    values = load_preset(like) if isinstance(like, str) else dict(like)
    recipe = dataclasses.asdict(study.train)
    names = [parameter.name for parameter in study.build_space().parameters]
    return {**{name: recipe[name] for name in names if name in recipe}, **values}


def load_facts(
    study: StudyConfig, cache_dir: Path | None = None, on_progress: Callable[[int, int], None] | None = None
) -> DataFacts:
    """Decode the data set if this node has not yet, and say what a spec must know of it."""
    from search.data.store import open_data

    data = open_data(study.data, cache_dir, on_progress)
    height, width = data.image_size
    return DataFacts(
        key=data.digest,
        classes=data.classes,
        height=height,
        width=width,
        num_train=data.num_train,
        num_test=data.num_test,
    )
