"""The study files that are part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import spaces


def shipped_studies() -> list[str]:
    """Return the paths of the study files that are part of the project."""
    return sorted(os.path.relpath(path) for path in _shipped().glob("*.yaml"))


def shipped_study(name: str) -> str:
    """Return the path of a study file that is part of the project."""
    return os.path.relpath(_shipped() / f"{name}.yaml")


def _shipped() -> Path:
    return Path(spaces.__file__).parent / "studies"
