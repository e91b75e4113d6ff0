"""The description of an own model: what a worker needs to build it. Imports no torch and runs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hybrid_models.config.model import ModelConfig
from search.own_models.source import Factory, parse_factory
from search.records import digest_of

Value = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """A point of an own model, with its source."""

    factory: str
    """`my_models.py:build` or `package.module:build`."""
    code: tuple[tuple[str, str], ...]
    """Its source, as `source.collect` returns it."""
    point: tuple[tuple[str, Value], ...]
    """Name -> value, sorted by name: the constants of the study and the parameters of the point."""
    num_classes: int
    input_height: int
    input_width: int
    input_channels: int = 3

    @cached_property
    def parsed(self) -> Factory:
        """The factory's module and function."""
        return parse_factory(self.factory)

    @cached_property
    def digest(self) -> str:
        """Digest of the source."""
        return digest_of(dict(self.code))

    def identity(self) -> dict[str, Any]:
        """Return what determines the model, for the trial's key: the digest stands for the source."""
        return {**dataclasses.asdict(self), "code": self.digest, "point": dict(self.point)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OwnModel:
        """Create the description from the output of `dataclasses.asdict`, also after it was JSON."""
        pairs = {name: tuple((str(key), value) for key, value in data[name]) for name in ("code", "point")}
        return cls(**{**data, **pairs})


AnyModel = ModelConfig | OwnModel
"""A built-in model or an own one."""


def model_from_dict(data: Mapping[str, Any]) -> AnyModel:
    """Create the description of a model from the output of `dataclasses.asdict`."""
    return OwnModel.from_dict(data) if "factory" in data else ModelConfig.from_dict(data)
