"""Base class and types of the sections of a study file."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, ValidationInfo

from search.uris import Uri, redacted

Scalar = bool | int | float | str
PointLike = str | dict[str, Scalar]
"""Name of a preset, or a point as a mapping."""
_TOP = re.compile(r"top-([1-9]\d{0,3}) of (\S.*)")


def _to_uri(text: str, info: ValidationInfo) -> Uri:
    return Uri(text, fill=(info.context or {}).get("fill", True))


UriText = Annotated[
    str,
    AfterValidator(_to_uri),
    PlainSerializer(lambda uri: uri.written if isinstance(uri, Uri) else redacted(uri), return_type=str),
]
"""An address that may contain a password; serialised without it."""


def top_of(like: PointLike) -> tuple[int, str] | None:
    """Return the number and the study of `top-5 of runs/digits`; None for a preset or a point.

    >>> top_of("top-5 of runs/digits"), top_of("ecrnn/cnn")
    ((5, 'runs/digits'), None)
    """
    found = _TOP.fullmatch(like) if isinstance(like, str) else None
    return None if found is None else (int(found[1]), found[2])


class Section(BaseModel):
    """A section of the study file: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
