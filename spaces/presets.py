"""Shipped spaces and presets (named points), read from `papers/*.yaml`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from spaces.errors import UnknownPreset
from spaces.space import Space

__all__ = ["UnknownPreset", "load_preset", "load_space", "preset_names"]


@cache
def _papers() -> Mapping[str, Mapping[str, Any]]:
    folder = resources.files("spaces") / "papers"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): yaml.safe_load(item.read_text(encoding="utf-8")) for item in files}


def _section(section: str) -> dict[str, Any]:
    return {paper: content[section] for paper, content in _papers().items() if section in content}


def _presets() -> dict[str, Any]:
    return {name: point for presets in _section("presets").values() for name, point in presets.items()}


def _pick(kind: str, name: str, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what the YAML holds
    if name not in known:
        raise UnknownPreset(kind, name, tuple(known))
    return copy.deepcopy(known[name])


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets, grouped by paper."""
    return tuple(_presets())


def load_preset(name: str) -> dict[str, Any]:
    """Return the model settings of a preset, such as `ecrnn/ecrnn-bilstm-16`.

    Raises:
        UnknownPreset: There is no preset of this name.
    """
    point: dict[str, Any] = _pick("preset", name, _presets())
    return point


@cache
def load_space(name: str) -> Space:
    """Return a shipped space, such as `ecrnn`.

    Raises:
        UnknownPreset: There is no space of this name.
    """
    return Space.from_dict(name, _pick("space", name, _section("space")))
