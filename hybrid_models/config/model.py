"""The validated configuration of a model. Imports no torch, so that commands such as `plan` start fast."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from hybrid_models.config.rules import activity_faults, combination_faults, shape_faults, value_faults
from hybrid_models.settings import ModelSettings


class ConfigError(ValueError):
    """A model configuration is invalid.

    Attributes:
        faults: One line per fault: setting, what was expected, what was found.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults: tuple[str, ...] = faults

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, ...]]:
        """Support pickling with all faults."""
        return type(self), self.faults


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ModelSettings):
    """A validated configuration of one classifier.

    Raises:
        ConfigError: The settings are invalid; holds every fault of the first kind of check that fails.
    """

    def __post_init__(self) -> None:
        """Raise all faults of the first kind of check that fails; later kinds assume that the earlier ones pass."""
        for check in (value_faults, activity_faults, combination_faults, shape_faults):
            if faults := list(check(self)):
                raise ConfigError(*faults)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Create a configuration from plain values.

        Raises:
            ConfigError: Settings are unknown, missing or invalid.
        """
        known = {field.name: field for field in fields(cls)}
        faults = []
        for name in data:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=2)
                hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
                faults.append(f"{name}: expected a setting of a model, found an unknown name ({hint})")
        faults += [
            f"{name}: expected a value, found none"
            for name, field in known.items()
            if field.default is MISSING and name not in data
        ]
        if faults:
            raise ConfigError(*faults)
        return cls(**data)
