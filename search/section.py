"""What every section of a study file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Scalar = bool | int | float | str
PointLike = str | dict[str, Scalar]
"""A preset's name, or a point written out."""


class Section(BaseModel):
    """A part of the study file: immutable, and no key is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
