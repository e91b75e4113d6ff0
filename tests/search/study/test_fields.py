"""The reference page names every field of a study file, as the code has it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from search.cli.app import app
from search.data.datasets import DataConfig
from search.data.splits import SplitConfig
from search.study.config import StudyConfig
from search.study.fields import RULES, study_fields, study_schema
from search.training.config import TrainConfig

DOCS = Path(__file__).parents[3] / "docs"
STUDIES = sorted((DOCS.parent / "spaces" / "studies").glob("*.yaml"))


def names() -> set[str]:
    found = set()
    for key, field in StudyConfig.model_fields.items():
        kind = field.annotation
        if dataclasses.is_dataclass(kind):
            found |= {f"{key}.{item.name}" for item in dataclasses.fields(kind)}
        elif hasattr(kind, "model_fields"):
            found |= {f"{key}.{name}" for name in kind.model_fields}
        else:
            found.add(key)
    return found


def test_every_field_is_documented() -> None:
    documented = {field.name: field for field in study_fields()}
    assert set(documented) == names()
    assert [name for name, field in documented.items() if not field.text] == []


def test_the_page_is_written_from_the_code() -> None:
    page = runpy.run_path(str(DOCS / "write_fields.py"))["page"]
    assert (DOCS / "fields.md").read_text() == page(), "run `python docs/write_fields.py`"


def test_the_schema_of_the_shipped_studies_is_written_from_the_code() -> None:
    written = runpy.run_path(str(DOCS / "write_fields.py"))
    assert written["SCHEMA"].read_text() == written["schema"](), "run `python docs/write_fields.py`"
    for path in STUDIES:
        named = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / named) == written["SCHEMA"], path


SECTIONS: dict[str, Callable[..., object]] = {
    "data": functools.partial(DataConfig, name="digits"),
    "split": SplitConfig,
    "train": functools.partial(TrainConfig, epochs=1),
}


@pytest.mark.parametrize("field", RULES)
def test_the_schema_has_the_rules_that_the_sections_check(field: str) -> None:
    """Allowed values pass, and values just outside fail, in both."""
    section, _, name = field.partition(".")
    rules = RULES[field]
    good: list[object] = list(rules.get("enum", ()))
    bad: list[object] = ["nonsense"] if "enum" in rules else []
    if "minimum" in rules:
        good.append(rules["minimum"])
        bad.append(rules["minimum"] - 1)
    if "maximum" in rules:
        good.append(rules["maximum"])
        bad.append(rules["maximum"] + 1)
    if "exclusiveMinimum" in rules:
        good.append(0.5)
        bad.append(rules["exclusiveMinimum"])
    if "exclusiveMaximum" in rules:
        bad.append(rules["exclusiveMaximum"])
    study: dict[str, Any] = {
        "name": "a",
        "data": {"name": "digits"},
        "space": "ecrnn",
        "train": {"epochs": 1},
        "search": {"trials": 1},
    }
    schema = Draft202012Validator(study_schema())
    for value in [*good, *bad]:
        whole = study | {section: {**study.get(section, {}), name: value}}
        is_good = value in good
        assert schema.is_valid(whole) is is_good, value
        with contextlib.nullcontext() if is_good else pytest.raises(ValueError, match=name):
            SECTIONS[section](**{name: value})


def test_defaults_and_ranges() -> None:
    documented = {field.name: field for field in study_fields()}
    assert documented["search.objectives"].default == "val_accuracy: max"
    assert documented["search.trials"].default == "required"
    assert documented["compare.alpha"].values == "number, above 0, below 0.5"
    assert documented["search.time_budget_mins"].default == "unset"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_schema_accepts_the_shipped_studies(path: Path) -> None:
    Draft202012Validator(study_schema()).validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("value", ["runs/first", ["runs/first"], [{"study": "runs/first", "rename": {"a": "b"}}]])
def test_the_schema_accepts_every_form_of_earlier_studies(value: object) -> None:
    data = yaml.safe_load(STUDIES[0].read_text())
    data["search"]["learn_from"] = value
    Draft202012Validator(study_schema()).validate(data)


def test_the_schema_refuses_an_unknown_field() -> None:
    data = yaml.safe_load(STUDIES[0].read_text())
    data["search"]["trails"] = 3
    (error,) = Draft202012Validator(study_schema()).iter_errors(data)
    assert "trails" in error.message


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    app(["schema"], standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed["$defs"]["SearchSection"]["properties"]["trials"]["description"].startswith("Number of trials")
