"""The documentation: every link leads to a file and a heading, every command, option and field in it exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml
from blocks import read_page
from jsonschema import Draft202012Validator
from run_examples import PAGES as RUN

from search.compare.interim import INTERIM
from search.journal import events
from search.study.fields import study_fields, study_schema
from search.study.load import parse_study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
SCHEMA = study_schema()
WRITE_COMMANDS = runpy.run_path(str(DOCS / "write_commands.py"))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.S)


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_leads_to_every_page_of_the_documentation() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    index = (DOCS / "index.md").read_text()
    pages = {path.relative_to(DOCS).as_posix() for path in ROOT.glob("docs/**/*.md")} - {"index.md"}
    assert "docs/index.md" in readme
    assert pages <= set(LINK.findall(index))


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    known = {name: WRITE_COMMANDS["parameters"](run) for name, run in WRITE_COMMANDS["commands"]().items()}
    words = {"and", "is", "on", "study", "prints", "needs", "does", "offers"}
    for name, rest in re.findall(r"hybrid-search ([a-z]+)\b([^`\n]*)", page.read_text()):
        assert name in known.keys() | words, name
        options = {word for item in known.get(name, ()) for word in re.findall(r"--[a-z-]+", item.shown)} | {"--help"}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0])) <= options, f"{name}{rest}"


def test_the_page_of_commands_is_written_from_the_code() -> None:
    assert (DOCS / "commands.md").read_text() == WRITE_COMMANDS["page"](), "run `python docs/write_commands.py`"


def test_the_page_of_fields_has_one_row_with_an_example_for_each_field() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|.*?\|.*?\| `.+` \| .+ \|$", (DOCS / "fields.md").read_text(), re.M)
    assert sorted(rows) == sorted(field.name for field in study_fields())


def test_the_page_of_the_journal_has_every_event() -> None:
    page = (DOCS / "journal.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (?!.*meaning)", page, re.M)
    sources = "\n".join(path.read_text() for path in (ROOT / "search").rglob("*.py"))
    noted = set(re.findall(r"\.note\(\s*\"(\w+)\"", sources)) | {INTERIM}
    assert noted >= {"stop", "race", "exhausted"}
    assert set(rows) == events._KINDS | noted
    assert f"The format has version {events.VERSION}." in page


def _optional(schema: dict[str, object]) -> dict[str, object]:
    """The schema of an excerpt: nothing is required."""
    parts = {name: {**part, "required": []} for name, part in schema["$defs"].items()}  # type: ignore[union-attr]
    return {**schema, "required": [], "$defs": parts}


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_study_files_and_excerpts_have_known_fields(page: Path) -> None:
    for block in read_page(page).blocks:
        # The program reads 1.0e6 as a number; PyYAML, an older YAML, as text.
        text = re.sub(r"\b(\d+\.\d+e)(\d+)\b", r"\1+\2", block.text)
        data = yaml.safe_load(text) if block.language == "yaml" else None
        if isinstance(data, dict) and data.keys() <= SCHEMA["properties"].keys():
            is_whole = "name" in data and "data" in data
            Draft202012Validator(SCHEMA if is_whole else _optional(SCHEMA)).validate(data)


def test_examples_of_fields_are_valid() -> None:
    data = yaml.safe_load((DOCS / "examples" / "fields.yaml").read_text())
    Draft202012Validator(SCHEMA).validate(data)
    base = {"name": "a", "data": {"name": "digits"}, "space": "ecrnn", "search": {"trials": 1}}
    parse_study({**base, "split": data["split"], "train": data["train"]}, "the examples")  # ranges, which no schema has


def test_what_is_not_run_says_why() -> None:
    left_out = [(page, block, reason) for page in map(read_page, RUN) for block, reason in page.not_run()]
    assert 0 < len(left_out) < 30
    for page, block, reason in left_out:
        assert len(reason.split()) >= 2, f"{page.path}, line {block.line}: expected a reason, found {reason!r}"
