"""What every section of a study file has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, ValidationInfo

from search.uris import Uri, redacted

Scalar = bool | int | float | str
PointLike = str | dict[str, Scalar]
"""A preset's name, or a point written out."""


def _to_uri(text: str, info: ValidationInfo) -> Uri:
    return Uri(text, fill=(info.context or {}).get("fill", True))


UriText = Annotated[
    str,
    AfterValidator(_to_uri),
    PlainSerializer(lambda uri: uri.written if isinstance(uri, Uri) else redacted(uri), return_type=str),
]
"""An address that may hold a password; written out, it holds none."""


class Section(BaseModel):
    """A part of the study file: immutable, and no key is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
