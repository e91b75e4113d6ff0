"""Names and valid values of all model and training settings. Imports no torch."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from hybrid_models.config.model import ConfigError, ModelConfig
from search.text.explain import explain
from search.training.config import TRAIN_FIELDS, TrainConfig
from spaces.domains import Value
from spaces.space import Space

FROM_DATA = ("input_channels", "input_height", "input_width", "num_classes")
"""Model settings that are determined by the data."""
MODEL_SETTINGS = tuple(item.name for item in dataclasses.fields(ModelConfig) if item.name not in FROM_DATA)
MODEL_DEFAULTS = {
    item.name: item.default
    for item in dataclasses.fields(ModelConfig)
    if item.name in MODEL_SETTINGS and item.default is not None
}
"""Settings with defaults, which need not be given."""
REQUIRED = ("backbone", "rnn", "fc", "dropout")
"""Settings without defaults that every hybrid model requires."""
BINDS_TO = {"lr_adaptive": "lr", "lr_sgd": "lr"}
"""Parameters that are the same training setting: learning rates have different ranges per optimizer."""
COMMON = ("epochs", "validate_every", "keep")
"""Training settings that are common to all trials, whose scores are compared epoch by epoch."""
RECIPE_SETTINGS = (*(name for name in TRAIN_FIELDS if name not in COMMON), *BINDS_TO)
_NO_IMAGE = dict.fromkeys(FROM_DATA, 0)
"""Invalid on purpose, so that only single settings are checked and not their combination."""
_RECIPE = TypeAdapter(TrainConfig)


def name_fault(name: str, *, recipe: bool = True) -> str | None:
    """Return the fault of a setting's name, or None.

    Args:
        name: A parameter of a space or point, or a key of `model`.
        recipe: Whether training settings are allowed.
    """
    if name in MODEL_SETTINGS or (recipe and name in RECIPE_SETTINGS):
        return None
    if name in FROM_DATA:
        return "expected no such setting, because the data determines it; remove it"
    if name in COMMON:
        return f"expected no {name} here, because it is the same for all trials; set train.{name}"
    if name in RECIPE_SETTINGS:
        return f"expected a setting of the model; {name} belongs in train"
    known = (*MODEL_SETTINGS, *RECIPE_SETTINGS) if recipe else MODEL_SETTINGS
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"expected a setting of the model{' or of train' if recipe else ''}, found an unknown name; {hint}"


def value_fault(name: str, value: Value) -> str | None:
    """Return the fault of a value of a known setting, or None, regardless of other settings."""
    if name in MODEL_SETTINGS:
        try:
            ModelConfig.from_dict({**_NO_IMAGE, name: value})
        except ConfigError as error:
            return next((line for line in error.faults if line.startswith(f"{name}: ")), None)
        return None
    setting = BINDS_TO.get(name, name)
    data = {"epochs": 1, setting: value}
    try:
        _RECIPE.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return name + next(explain(error, data, object, ())).removeprefix(setting)
    return None


def setting_faults(where: str, values: Mapping[str, Value], *, recipe: bool = True) -> Iterator[str]:
    """Yield the faults of names and values, checked one by one."""
    for name, value in values.items():
        wrong_name = name_fault(name, recipe=recipe)
        if wrong_name:
            yield f"{where}.{name}: {wrong_name}"
        elif fault := value_fault(name, value):
            yield f"{where}.{fault}"


def space_faults(space: Space, model: Mapping[str, Value]) -> Iterator[str]:
    """Yield the faults of a space: unknown parameters, invalid values and missing settings."""
    names = [parameter.name for parameter in space.parameters]
    faults = [f"space.{name}: {fault}" for name in names if (fault := name_fault(name))]
    faults += (
        f"space.{name}: expected either it or {setting}, found both; remove one"
        for name, setting in BINDS_TO.items()
        if name in names and setting in names
    )
    family = next((item.domain for item in space.parameters if item.name == "family"), None)
    if not faults and (family is None or family.contains("hybrid")):
        faults += (
            f"space.{name}: expected a parameter here or a value in model, found neither; add one"
            for name in REQUIRED
            if name not in names and name not in model
        )
    yield from faults
    for parameter in space.parameters:
        if name_fault(parameter.name):
            continue
        for value in parameter.domain.extremes:
            if fault := value_fault(parameter.name, value):
                yield f"space.{fault}"
                break
