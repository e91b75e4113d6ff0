"""Names that are read from files: of trials, and of files below a folder. None of them leads out of that folder."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

MAX_CHARACTERS = 500
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_key(text: str) -> bool:
    """Whether a text may name a trial or a comparison, and so its folder."""
    return _KEY.fullmatch(text) is not None


def is_relative_path(text: str) -> bool:
    """Whether a text names a file below some folder, whatever system wrote it."""
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
        kind, words = "relative_path", "be a path below the study's folder, without .. and not beginning with /"
        raise PydanticCustomError(kind, words)
    return text


Key = Annotated[str, AfterValidator(_check_key)]
"""Key of a trial or of a comparison: the name of its folder, too."""
RelativePath = Annotated[str, AfterValidator(_check_path)]
"""Path of a file below a study's folder."""
