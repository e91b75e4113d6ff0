"""Write docs/fields.md, the reference of the study file: `python docs/write_fields.py`."""

from __future__ import annotations

from pathlib import Path

from hybrid_models.settings import ModelSettings
from search.study.fields import FieldDoc, study_fields, texts_of

PAGE = Path(__file__).with_name("fields.md")
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
    parts, sections = [HEAD], dict[str, list[FieldDoc]]()
    for field in study_fields():
        section, _, _ = field.name.rpartition(".")
        sections.setdefault(section, []).append(field)
    for section, found in sections.items():
        parts.append(f"## `{section}`\n" if section else "## The study\n")
        parts.append("| field | values | default | meaning |\n|---|---|---|---|")
        parts += [
            f"| `{item.name}` | {_cell(item.values)} | {_cell(item.default)} | {_cell(item.text)} |" for item in found
        ]
        parts.append("")
    parts += [SETTINGS, *(f"| `{name}` | {_cell(text)} |" for name, text in texts_of(ModelSettings).items()), ""]
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
