"""Fields of a study that searches an own model: its source, its constants, and the names of its parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search.errors import StudyError
from search.journal.measures import MEASURES
from search.own_models.source import DISTRIBUTION, collect, parse_factory
from search.study.config import StudyConfig
from search.study.settings import BINDS_TO, COMMON, FROM_DATA, RECIPE_SETTINGS, value_fault
from search.text.names import is_relative_path
from spaces.parse import text_fault
from spaces.space import Space

BUILT_IN = "family"
"""A point of a study with an own model that has this setting is a built-in model, such as a preset among the baselines;
no parameter of an own model may have this name."""
RESERVED = {
    BUILT_IN: "it marks the points of built-in models",
    "factory": "it names the function that builds the model",
    "image_size": "the function receives it as an argument of its own",
    "source": "it stands for the source of the model where studies are compared",
    **dict.fromkeys(
        (*MEASURES, "test_accuracy", "number", "state", "secs", "block", "configuration"),
        "a column of `trials` or `repeats` has it",
    ),
    **dict.fromkeys(FROM_DATA, "the data determines it"),
}


def is_built_in(study: StudyConfig, point: Mapping[str, Any]) -> bool:
    """Return whether a point of a study is a built-in model."""
    return not study.is_own or BUILT_IN in point


def with_source(study: StudyConfig, folder: Path) -> StudyConfig:
    """Return the study with the source of its own model; nothing is run.

    Args:
        study: A study, with or without an own model.
        folder: The folder of the study file, from which the factory is found unless the file contains its source.

    Raises:
        StudyError: The factory cannot be found, or there is source without a factory.
    """
    if not study.is_own:
        if study.code:
            raise StudyError("code: expected none without model.factory, whose source it is; remove it")
        return study
    if study.code:
        for path in study.code:
            if not path.startswith(DISTRIBUTION) and not is_relative_path(path):
                raise StudyError(f"code: expected a path below the study's folder, found {path!r}; remove it")
        factory = parse_factory(study.model["factory"])
        if factory.is_file and factory.module not in study.code:
            raise StudyError(f"code: expected {factory.module} of model.factory, found {', '.join(study.code)}")
        return study
    return study.model_copy(update={"code": collect(study.model["factory"], folder)})


def own_faults(study: StudyConfig) -> Iterator[str]:
    """Yield the faults of names and values in `model`, `space`, `search.enqueue` and `compare.baselines`."""
    for name, value in study.model.items():
        if fault := text_fault(value):
            yield f"model.{name}: {fault}"
        if name != "factory":
            yield from _name_faults(f"model.{name}", name)
            if name in RECIPE_SETTINGS:
                yield f"model.{name}: expected a constant of the own model; {name} belongs in train"
    if isinstance(study.space, str):
        yield (
            f"space: expected the parameters of the own model, written out, found the name {study.space}; replace it "
            "by a mapping"
        )
        return


def own_space_faults(space: Space, model: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults of the searched parameters."""
    names = [parameter.name for parameter in space.parameters]
    for parameter in space.parameters:
        name = parameter.name
        yield from _name_faults(f"space.{name}", name)
        if name in model:
            yield f"space.{name}: expected either it or model.{name}, found both; remove one"
        if name in BINDS_TO and BINDS_TO[name] in names:
            yield f"space.{name}: expected either it or {BINDS_TO[name]}, found both; remove one"
        if name in RECIPE_SETTINGS:
            fault = next((fault for value in parameter.domain.extremes if (fault := value_fault(name, value))), None)
            if fault:
                yield f"space.{fault}"


def own_point_faults(where: str, point: Mapping[str, Any], space: Space, fix: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults of the names of a point that the study file gives, in a space with some parameters fixed."""
    known = [parameter.name for parameter in space.parameters]
    for name, value in point.items():
        if fault := text_fault(value):
            yield f"{where}.{name}: {fault}"
        if name in RECIPE_SETTINGS:
            if fault := value_fault(name, value):
                yield f"{where}.{fault}"
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
            yield f"{where}.{name}: expected a parameter of the space, found an unknown name; {hint}"
    lacking = [
        item.name
        for item in space.parameters
        if item.name not in {*point, *fix} and not item.when and item.domain.size != 1
    ]
    if missing := [name for name in lacking if name not in RECIPE_SETTINGS]:
        yield f"{where}: expected a value of every parameter of the own model, found none of {', '.join(missing)}"


def _name_faults(where: str, name: str) -> Iterator[str]:
    if name in RESERVED:
        yield f"{where}: expected another name, because {RESERVED[name]}; rename it"
    elif name in COMMON:
        yield f"{where}: expected no {name} here, because it is the same for all trials; set train.{name}"
