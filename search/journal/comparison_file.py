"""Read and write the record of a comparison: the only module that knows the form of `comparison.json`.

A file of an earlier version lacks some fields, which then have their defaults; unknown fields of a later version are
ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import InputError
from search.journal.comparison import ComparisonDocument
from search.journal.events import read_json
from search.journal.selection import selection_data
from search.significance.records import to_plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FOLDER = "comparison"
"""Subfolder of comparisons: one folder per comparison, named by its key, and copies of the latest comparison's
files."""
FILE_NAME = "comparison.json"
MAX_BYTES = 1 << 28
"""Size limit of a comparison file."""
_ALWAYS_STORED = ("provisional", "num_images", "estimate", "interval", "adjusted_p", "p_a_gt_b")
"""Fields of a comparison that have a default in memory, but that every version has stored: if one is missing, the file
is damaged."""


def to_dict(document: ComparisonDocument) -> dict[str, Any]:
    """Return a comparison as JSON-safe data, as `comparison.json` stores it."""
    plain = to_plain(document)
    if document.race is None:
        del plain["race"], plain["confirmed"]
    if document.selection is not None:
        plain["selection"] = selection_data(document.selection)
    for contender in plain["contenders"]:
        if not contender["counts"]:  # as earlier versions stored it
            del contender["counts"]
    return plain


def to_json(document: ComparisonDocument) -> str:
    """Return the content of `comparison.json`."""
    return json.dumps(to_dict(document), indent=1, allow_nan=False)


def from_json(content: bytes) -> ComparisonDocument:
    """Return the comparison that a `comparison.json` holds.

    Args:
        content: Content of the file, of this or another version.

    Returns:
        The comparison.

    Raises:
        ValueError: The content is no comparison; the message is one line.
    """
    from pydantic import ValidationError

    from search.text.explain import explain

    try:
        plain = read_json(content)
        document: ComparisonDocument = _adapter().validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(next(explain(error, plain, dict, ()))) from None
    except RecursionError as error:
        raise ValueError(str(error)) from None
    for fault in _faults(document, plain):
        raise ValueError(fault)
    return document


def _faults(document: ComparisonDocument, plain: Mapping[str, Any]) -> Iterator[str]:
    for position, item in enumerate(plain["comparisons"]):
        yield from (f"comparisons.{position}.{name}: missing; add it" for name in _ALWAYS_STORED if name not in item)
    for position, comparison in enumerate(document.comparisons):
        if comparison.components is not None and comparison.num_images is None:
            yield f"comparisons.{position}.num_images: expected a whole number beside components, got None"
    race = document.race
    if race is not None and race.survivor not in {item.name for item in race.contenders}:
        yield f"race.survivor: no configuration is called {race.survivor!r}"


@cache
def _adapter() -> TypeAdapter[ComparisonDocument]:
    from pydantic import TypeAdapter

    return TypeAdapter(ComparisonDocument)


def load_comparison(folder: Path) -> ComparisonDocument | None:
    """Return the latest comparison of a study, or None.

    Args:
        folder: The study's folder.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / FOLDER / FILE_NAME
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            return from_json(stream.read(MAX_BYTES))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); `hybrid-search compare` writes it again") from None
