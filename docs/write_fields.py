"""Write the reference of the study file, docs/fields.md, and its JSON schema: `python docs/write_fields.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from hybrid_models.settings import ModelSettings
from search.study.fields import FieldDoc, study_fields, study_schema, texts_of

PAGE = Path(__file__).with_name("fields.md")
SCHEMA = PAGE.parents[1] / "spaces" / "studies" / "schema.json"
"""Named in the first line of the study files beside it, so that editors complete and check them."""
EXAMPLES = Path(__file__).with_name("examples") / "fields.yaml"
HEAD = """# Fields of a study file

Written by `docs/write_fields.py` from the code. `hybrid-search schema > study.schema.json` prints the same as a JSON
schema; with `# yaml-language-server: $schema=study.schema.json` as the first line of a study file, editors complete and
check its fields. The parameters of `space`, `fix` and `model` are described at the end.
"""
SETTINGS = """## Settings of a model

Names for `space`, `fix` and `model`, beside those of `train`. A setting that does not apply has no value.

| setting | meaning |
|---|---|"""


def page() -> str:
    """Return the page."""
    parts, sections, shown = [HEAD], dict[str, list[FieldDoc]](), examples()
    for field in study_fields():
        section, _, _ = field.name.rpartition(".")
        sections.setdefault(section, []).append(field)
    for section, found in sections.items():
        parts.append(f"## `{section}`\n" if section else "## The study\n")
        parts.append("| field | values | default | example | meaning |\n|---|---|---|---|---|")
        parts += [_row(item, shown[item.name]) for item in found]
        parts.append("")
    parts += [SETTINGS, *(f"| `{name}` | {_cell(text)} |" for name, text in texts_of(ModelSettings).items()), ""]
    return "\n".join(parts)


def examples() -> dict[str, str]:
    """Return the example of each field, in YAML's flow style."""
    found: dict[str, str] = {}
    for key, value in yaml.safe_load(EXAMPLES.read_text(encoding="utf-8")).items():
        is_section = any(field.name.startswith(f"{key}.") for field in study_fields())
        inner = {f"{key}.{name}": item for name, item in value.items()} if is_section else {key: value}
        found |= {name: _written(item) for name, item in inner.items()}
    return found


def _written(value: Any) -> str:  # noqa: ANN401
    return yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).removesuffix("...\n").strip()


def _row(field: FieldDoc, example: str) -> str:
    values, default, text = map(_cell, (field.values, field.default, field.text))
    return f"| `{field.name}` | {values} | {default} | `{example}` | {text} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;")


def schema() -> str:
    """Return the JSON schema."""
    return json.dumps(study_schema(), indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
