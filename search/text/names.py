"""Validate names read from files (trial keys and relative paths), which must not lead out of a folder."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

MAX_CHARACTERS = 500
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_key(text: str) -> bool:
    """Return whether a text is a valid key of a trial or comparison, and so a safe folder name."""
    return _KEY.fullmatch(text) is not None


def is_relative_path(text: str) -> bool:
    """Return whether a text is a path below a folder, on any operating system.

    >>> is_relative_path("trials/a/weights.npy"), is_relative_path("../a")
    (True, False)
    """
    parts = text.replace("\\", "/").split("/")
    leads_away = not {"", ".", ".."}.isdisjoint(parts) or ":" in parts[0]
    return not leads_away and len(text) <= MAX_CHARACTERS and text.isprintable()


def _check_key(text: str) -> str:
    if not is_key(text):
        kind, words = "key", "be letters, digits, - and _, at most 64 of them"
        raise PydanticCustomError(kind, words)
    return text


def _check_path(text: str) -> str:
    if not is_relative_path(text):
        kind, words = "relative_path", "be a path below the study's folder, without .. and not starting with /"
        raise PydanticCustomError(kind, words)
    return text


Key = Annotated[str, AfterValidator(_check_key)]
"""Key of a trial or comparison, which is also its folder name."""
RelativePath = Annotated[str, AfterValidator(_check_path)]
"""Path of a file below a study's folder."""
