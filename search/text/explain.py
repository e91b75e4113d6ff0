"""Convert pydantic's validation errors to one line each: where, what was expected, what was found, how to fix it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Container, Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from search.text.yaml_text import Place

EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "dataclass_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_pattern_mismatch": "letters, digits, dots, _ and -, starting with a letter or a digit",
}
"""pydantic's error type -> description of a valid value."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
MAX_SHOWN = 80
"""Maximum number of characters shown of an invalid value."""


def explain(error: ValidationError, data: object, root: type, known: Container[Place]) -> Iterator[str]:
    """Yield one line per fault, in the order of the file's sections.

    Args:
        error: The error raised by pydantic.
        data: The validated data.
        root: The schema, to suggest similar keys.
        known: Places whose faults have been reported already.
    """
    places: dict[Place, list[Any]] = {}
    for item in error.errors(include_url=False):
        path = _locate(item["loc"], data, keep_last=item["type"] == "missing")
        if path not in known:
            places.setdefault(path, []).append(item)
    for path, items in places.items():
        # Of the alternatives of a union, the one that matched most was probably intended.
        if len(items) > 1 or items[0]["type"] in {*EXPECTED, "literal_error"}:
            if not any(len(other) > len(path) and other[: len(path)] == path for other in places):
                yield f"{_join(path)}: {_describe(items)}"
        else:
            yield from _explain_one(path, items[0], root)


def _explain_one(path: Place, item: Any, root: type) -> Iterator[str]:  # noqa: ANN401
    where = _join(path)
    if item["type"] in UNKNOWN:
        names = _known_keys(path[:-1], root)
        near = difflib.get_close_matches(str(path[-1]), names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(names)}"
        yield f"{where}: unknown key; {hint}"
    elif item["type"] == "missing":
        yield f"{where}: missing; add it"
    elif item["type"] == "value_error":
        for line in str(item["ctx"]["error"]).splitlines():
            yield f"{where}.{line}" if where else line
    else:
        yield f"{where}: {_describe([item])}"


def _describe(items: list[Any]) -> str:
    expected: dict[str, None] = {}
    for item in items:
        message = item["msg"].removeprefix("Input should ")
        expected[EXPECTED.get(item["type"]) or message[:1].lower() + message[1:]] = None
    if any(words in EXPECTED.values() for words in expected):  # "a mapping" needs another phrase than "be one of"
        expected = {words.removeprefix("be "): None for words in expected}
    *others, last = expected
    words = f"{', '.join(others)} or {last}" if others else last
    rule = "expected" if last in EXPECTED.values() else "must" if last.startswith(("be ", "have ", "match ")) else ""
    return f"{rule} {words}, got {_show(items[0]['input'])}".strip() + _near_choice(items)


def _near_choice(items: list[Any]) -> str:
    """Return a suggestion if the value resembles one of the valid choices, else an empty text."""
    value = items[0]["input"]
    choices = [
        name
        for item in items
        if item["type"] == "literal_error"
        for name in re.findall(r"'([^']*)'", item["ctx"]["expected"])
    ]
    near = difflib.get_close_matches(value, choices, n=2) if isinstance(value, str) else []
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _show(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _join(path: Place) -> str:
    return ".".join(str(step) for step in path)


def _locate(loc: Place, data: object, *, keep_last: bool) -> Place:
    """Return the path through the data, without the steps that pydantic adds to distinguish alternatives."""
    path: list[int | str] = []
    node: Any = data
    for step in loc:
        children = dict(enumerate(node)) if isinstance(node, list) else node
        if isinstance(children, dict) and step in children:
            node = children[step]
        elif not (keep_last and step == loc[-1]):
            continue
        path.append(step)
    return tuple(path)


def _known_keys(path: Place, root: type) -> list[str]:
    """Return the valid keys at the place of an unknown key."""
    node: Any = root
    for step in path:
        if isinstance(step, int):  # one of a list
            node = next((item for item in get_args(node) if item is not Ellipsis), None)
            node = get_args(node)[0] if get_origin(node) is Annotated else node
            continue
        annotation = node.model_fields[step].annotation if _is_model(node) and step in node.model_fields else None
        if annotation is None:
            return []
        node = next((item for item in get_args(annotation) if _is_model(item)), annotation)  # of `Section | None`
    if _is_model(node):
        return list(node.model_fields)
    return [item.name for item in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []


def _is_model(node: object) -> bool:
    return isinstance(node, type) and issubclass(node, BaseModel)
