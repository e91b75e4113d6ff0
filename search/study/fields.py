"""The fields of a study file, described from the code: for the reference page and for editors."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search.data.datasets import MAX_SIDE, TESTS
from search.data.splits import METHODS
from search.study.config import StudyConfig
from search.training.config import CLASS_WEIGHTS, KEEPS, NORMALISES, OPTIMIZERS, PRECISIONS, SCHEDULES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WORDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "unset"}
RULES: Mapping[str, Mapping[str, Any]] = {
    "data.image_size": {"minimum": 1, "maximum": MAX_SIDE},
    "data.limit": {"minimum": 2},
    "data.top_classes": {"minimum": 2},
    "data.test": {"enum": TESTS},
    "data.test_fraction": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "split.method": {"enum": METHODS},
    "train.epochs": {"minimum": 1},
    "train.batch": {"minimum": 2},
    "train.optimizer": {"enum": OPTIMIZERS},
    "train.lr": {"exclusiveMinimum": 0},
    "train.momentum": {"minimum": 0, "exclusiveMaximum": 1},
    "train.weight_decay": {"minimum": 0},
    "train.schedule": {"enum": SCHEDULES},
    "train.clip": {"minimum": 0},
    "train.rnn_l2": {"minimum": 0},
    "train.label_smoothing": {"minimum": 0, "exclusiveMaximum": 1},
    "train.normalise": {"enum": NORMALISES},
    "train.validate_every": {"minimum": 1},
    "train.precision": {"enum": PRECISIONS},
    "train.class_weights": {"enum": CLASS_WEIGHTS},
    "train.keep": {"enum": KEEPS},
}
"""What the dataclasses of these sections check themselves, in the words of JSON schema."""
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


@dataclass(frozen=True, kw_only=True)
class FieldDoc:
    """One field of a study file.

    Attributes:
        name: Its name with that of its section: `search.trials`.
        values: Its type and range, in words.
        default: Its default as it would be written; "required" if it has none.
        text: What it means.
    """

    name: str
    values: str
    default: str
    text: str


def study_fields() -> list[FieldDoc]:
    """Return every field of a study file, section by section.

    >>> next(field for field in study_fields() if field.name == "search.reduction").values
    'integer, at least 2'
    """
    return list(_walk(study_schema()))


def study_schema() -> dict[str, Any]:
    """Return the JSON schema of a study file, with the description of each field, for editors that complete YAML."""
    schema = StudyConfig.model_json_schema()
    sections = {key: _definition(entry) for key, entry in schema["properties"].items()}
    for field, rules in RULES.items():
        group, _, key = field.partition(".")
        entry = schema["$defs"][sections[group]]["properties"][key]
        given = next((item for item in entry.get("anyOf", ()) if item["type"] != "null"), entry)
        given |= {word: list(value) if word == "enum" else value for word, value in rules.items()}
    for name, section in _sections().items():
        described = schema["$defs"].get(name, schema)
        texts = texts_of(section)
        for key, entry in described["properties"].items():
            if key in texts:
                entry["description"] = texts[key]
            made = getattr(section, "model_fields", {}).get(key)
            if made is not None and made.default_factory is not None:
                entry["default"] = made.get_default(call_default_factory=True)
            entry.pop("title", None)
    return {"$schema": DIALECT, **schema}


def _sections() -> dict[str, type]:
    found: dict[str, type] = {StudyConfig.__name__: StudyConfig}
    for field in StudyConfig.model_fields.values():
        if isinstance(field.annotation, type) and field.annotation.__module__.startswith("search."):
            found[field.annotation.__name__] = field.annotation
    return found


def texts_of(section: type) -> dict[str, str]:
    """Return the docstring below each field of a class, as one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(inspect.cleandoc(str(following.value.value)).split())
    return found


def _walk(schema: Mapping[str, Any]) -> Iterator[FieldDoc]:
    for key, entry in schema["properties"].items():
        section = _definition(entry)
        if section is None:
            yield _field(key, entry, schema)
            continue
        inner = schema["$defs"][section]
        for name, item in inner["properties"].items():
            yield _field(f"{key}.{name}", item, inner)


def _definition(entry: Mapping[str, Any]) -> str | None:
    reference = entry.get("$ref", "")
    return reference.rsplit("/", 1)[-1] if reference else None


def _field(name: str, entry: Mapping[str, Any], parent: Mapping[str, Any]) -> FieldDoc:
    key = name.rsplit(".", 1)[-1]
    default = "required" if key in parent.get("required", ()) else _written(entry.get("default"))
    return FieldDoc(name=name, values=_values(entry), default=default, text=entry.get("description", ""))


def _written(value: Any) -> str:  # noqa: ANN401
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case dict() | list() | tuple() if not value:
            return "none"
        case float():
            return f"{value:.4g}"
        case dict():
            return ", ".join(f"{key}: {_written(item)}" for key, item in value.items())
        case _:
            return str(value)


def _values(entry: Mapping[str, Any]) -> str:
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(_values(item) for item in entry["anyOf"] if item.get("type") != "null"))
    if "$ref" in entry:
        return "mapping"
    if "enum" in entry:
        return ", ".join(map(str, entry["enum"]))
    if "const" in entry:
        return str(entry["const"])
    kind = entry.get("type", "any value")
    if kind == "array":
        return f"list of {_plain_items(entry)}"
    if kind == "object":
        items = entry.get("additionalProperties")
        return f"mapping to {_values(items)}" if isinstance(items, dict) else "mapping"
    bounds = [f"{word} {entry[key]:g}" for key, word in _BOUNDS.items() if key in entry]
    return ", ".join([_WORDS.get(kind, kind), *bounds])


def _plain_items(entry: Mapping[str, Any]) -> str:
    items = entry.get("items")
    return re.sub(r"mapping( to .*)?", "mappings", _values(items)) if isinstance(items, dict) else "values"
