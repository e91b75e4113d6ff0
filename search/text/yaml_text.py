"""Parse YAML text and `--set` assignments into plain data; duplicate keys and other silent errors are reported."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Place = tuple[int | str, ...]
"""Keys and positions that lead to a value."""

MAX_CHARACTERS = 250_000
"""Size limit of a study file; the predefined ones have about 2,000 characters."""
MAX_VALUES = 50_000
"""Limit of values in a study file with aliases expanded; nested aliases can expand to billions of values."""
MAX_SHOWN = 20
"""Maximum number of duplicate keys to report."""
MAX_NUMBER = 2**63 - 1

_EXPONENT = re.compile(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)")
"""Numbers in exponential notation, which YAML 1.1 reads as text unless they have a dot and a signed exponent."""


class YamlError(ValueError):
    """The text is not valid YAML, or a key occurs twice.

    Attributes:
        faults: Line number (from 1; None if unknown) and description of each fault.
    """

    def __init__(self, *faults: tuple[int | None, str]) -> None:
        super().__init__("; ".join(words for _, words in faults))
        self.faults = faults


class _Loader(yaml.SafeLoader):
    """Detects duplicate keys, of which PyYAML would silently use the last one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[tuple[int | None, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                words = f"key {key.value!r} occurs twice, first in line {first[name]}; remove one"
                self.twice.append((line, words))
            first.setdefault(name, line)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:  # noqa: ANN401
    """Parse one YAML document.

    Returns:
        The data as Python objects.

    Raises:
        YamlError: The text is not YAML or too large, or a key occurs twice in a mapping.
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlError((None, f"expected at most {MAX_CHARACTERS:,} characters, found more"))
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is not None and _count(root, {}) > MAX_VALUES:
            raise YamlError((None, f"expected at most {MAX_VALUES:,} values, counting aliases in full, found more"))
        data = None if root is None else loader.construct_document(root)
    except yaml.reader.ReaderError as error:
        words = f"not YAML: the character {chr(error.character)!r} is not allowed; remove it"
        raise YamlError((text.count("\n", 0, error.position) + 1, words)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error).replace("\n", " ")
        raise YamlError((mark.line + 1 if mark else None, f"not YAML: {problem}")) from None
    except YamlError:
        raise
    except (ValueError, RecursionError) as error:  # 2024-99-99 is parsed as a date; brackets may be nested too deeply
        raise YamlError((None, f"not YAML: {str(error).splitlines()[0]}")) from None
    if loader.twice:
        raise YamlError(*loader.twice[:MAX_SHOWN])
    return data


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values below a node with aliases expanded; recursive aliases are reported elsewhere."""
    if id(node) not in known:
        known[id(node)] = 1
        parts = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else ()
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_count(child, known) for child in children)
    return known[id(node)]


def to_plain(value: object, faults: dict[Place, str], path: Place = ()) -> Any:  # noqa: ANN401
    """Copy data, replacing values that JSON cannot represent by None and collecting them as faults.

    Args:
        value: The data.
        faults: Receives the faults: place -> what was expected and found.
        path: Place of the value.
    """
    if len(path) > 50:
        faults[path[:1]] = "expected at most 50 levels of mappings and lists, found more"
        return None
    if isinstance(value, Mapping):
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                faults[(*path, str(key))] = f"expected a key of text, found {key!r}; put it in quotes"
                continue
            copy[key] = to_plain(item, faults, (*path, key))
        return copy
    if isinstance(value, list | tuple):
        return [to_plain(item, faults, (*path, position)) for position, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        faults[path] = f"expected a finite number, got {value!r}"
        return None
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        faults[path] = f"expected a number of at most 64 bits, got one of {value.bit_length()}"
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    shown = str(value)[:MAX_SHOWN]
    faults[path] = f"expected text, a number, true or false, got {shown} ({type(value).__name__}); put text in quotes"
    return None


def assign(data: dict[str, Any], assignment: str) -> str | None:
    """Apply an assignment `path.to.key=value` in place.

    Returns:
        The fault of the assignment, or None.
    """
    path, separator, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        return f"--set {assignment}: expected path.to.key=value, such as train.epochs=3"
    try:
        # 1e-3 is a number on the command line; text of this form can be quoted.
        # A dash is a value, `fc: "-"`, and no list of nothing.
        value = float(text) if _EXPONENT.fullmatch(text.strip()) else "-" if text.strip() == "-" else read_yaml(text)
    except YamlError:
        return f"--set {assignment}: the value is not YAML"
    node = data
    for key in keys[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            return f"--set {assignment}: {key} is not a section, its value is {child!r}"
        node = child
    node[keys[-1]] = value
    return None


def hint_at_numbers(fault: str, data: object) -> str:
    """Append the correct notation to a fault that is caused by a number that YAML reads as text."""
    for text in _numbers_as_text(data):
        match = _EXPONENT.fullmatch(text)
        if match and text in fault:
            whole, fraction, sign, exponent = match.groups()
            number = f"{whole}{fraction or '.0'}e{sign or '+'}{exponent}"
            return f"{fault}; YAML reads {text} as text: write {number}"
    return fault


def _numbers_as_text(data: object) -> Iterator[str]:
    if isinstance(data, Mapping):
        for item in data.values():
            yield from _numbers_as_text(item)
    elif isinstance(data, list):
        for item in data:
            yield from _numbers_as_text(item)
    elif isinstance(data, str) and _EXPONENT.fullmatch(data):
        yield data
