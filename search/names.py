"""Names that are read from files: of trials, and of files below a folder. None of them leads out of that folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

MAX_CHARACTERS = 500

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
"""Key of a trial or of a comparison: the name of its folder, too."""


def relative_path(text: str) -> str:
    """Check the name of a file that lies below some folder, whatever system wrote it.

    Raises:
        ValueError: It leads elsewhere, or is no name.
    """
    parts = text.replace("\\", "/").split("/")
    if {"", ".", ".."}.intersection(parts) or len(text) > MAX_CHARACTERS or not text.isprintable() or ":" in parts[0]:
        msg = f"must be a path below the study's folder, without .. or a leading /, got {text[:80]!r}"
        raise ValueError(msg)
    return text


RelativePath = Annotated[str, AfterValidator(relative_path)]
"""Path of a file below a study's folder."""


def is_relative_path(text: str) -> bool:
    """Whether `relative_path` takes it."""
    try:
        relative_path(text)
    except ValueError:
        return False
    return True
