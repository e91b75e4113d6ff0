"""Base class and types of the sections of a study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, ValidationInfo

from search.uris import Uri, redacted

Scalar = bool | int | float | str
PointLike = str | dict[str, Scalar]
"""Name of a preset, or a point as a mapping."""


def _to_uri(text: str, info: ValidationInfo) -> Uri:
    return Uri(text, fill=(info.context or {}).get("fill", True))


UriText = Annotated[
    str,
    AfterValidator(_to_uri),
    PlainSerializer(lambda uri: uri.written if isinstance(uri, Uri) else redacted(uri), return_type=str),
]
"""An address that may contain a password; serialised without it."""


class Section(BaseModel):
    """A section of the study file: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
