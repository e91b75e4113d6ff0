"""The stored form of a comparison: files of this and of earlier versions are read, and are written byte for byte."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from search.journal.comparison_file import from_json, load_comparison, to_json
from search.significance.records import Comparison, Verdict

PLACE = Path(__file__).parent / "recorded"
OF_AN_EARLIER_VERSION = Path(__file__).parents[1] / "sampling" / "recorded" / "compared"


def test_a_family_may_have_the_name_of_a_field_that_is_not_stored() -> None:
    document = load_comparison(OF_AN_EARLIER_VERSION)
    assert document is not None
    assert document.declared is not None
    declared = dataclasses.replace(document.declared, family={"law": (("a", "b"),), "interim": (("a", "c"),)})
    plain = json.loads(to_json(dataclasses.replace(document, declared=declared)))
    assert plain["declared"]["family"] == {"law": [["a", "b"]], "interim": [["a", "c"]]}


@pytest.mark.parametrize("name", ["compared", "raced"])
def test_a_stored_file_is_written_again_byte_for_byte(name: str) -> None:
    content = (PLACE / f"{name}.json").read_bytes()
    document = from_json(content)
    assert to_json(document).encode() == content
    assert from_json(to_json(document).encode()) == document


def test_a_file_of_an_earlier_version_is_read() -> None:
    document = load_comparison(OF_AN_EARLIER_VERSION)
    assert document is not None
    (comparison,) = document.comparisons
    assert (document.num_looks, document.data.num_classes, document.race, document.choice) == (1, None, None, None)
    assert (comparison.verdict, comparison.equivalence_interval, comparison.own_unit) == (Verdict.BETTER, None, False)
    assert document.selection is not None
    assert document.selection.correction is not None
    assert document.selection.correction.num_stopped == 0
    plain = json.loads((OF_AN_EARLIER_VERSION / "comparison" / "comparison.json").read_bytes())
    again = json.loads(to_json(document))
    assert again["contenders"] == plain["contenders"]
    assert (
        plain["comparisons"][0].items()
        <= {**again["comparisons"][0], "check": plain["comparisons"][0]["check"]}.items()
    )


def test_fields_of_a_later_version_are_ignored() -> None:
    plain = json.loads((PLACE / "raced.json").read_bytes())
    later = {**plain, "later": 1, "comparisons": [{**item, "later": [2]} for item in plain["comparisons"]]}
    assert from_json(json.dumps(later).encode()) == from_json((PLACE / "raced.json").read_bytes())


def test_a_document_is_frozen_all_the_way_down() -> None:
    def check(value: Any) -> None:
        assert not isinstance(value, list | set)
        if dataclasses.is_dataclass(value):
            assert value.__dataclass_params__.frozen  # type: ignore[attr-defined]
            for field in dataclasses.fields(value):
                check(getattr(value, field.name))
        elif isinstance(value, tuple):
            for item in value:
                check(item)
        else:
            assert value is None or isinstance(value, bool | int | float | str | Mapping)

    for name in ("compared", "raced"):
        check(from_json((PLACE / f"{name}.json").read_bytes()))


def test_a_number_that_json_lacks_is_restored() -> None:
    plain = json.loads((PLACE / "compared.json").read_bytes())
    plain["comparisons"][0]["check"] |= {"t": None, "p": None}
    plain["comparisons"][0]["interval"] |= {"high": None}
    (comparison,) = from_json(json.dumps(plain).encode()).comparisons
    assert isinstance(comparison, Comparison)
    assert comparison.check is not None
    assert comparison.interval is not None
    assert comparison.check.t != comparison.check.t
    assert comparison.interval.high != comparison.interval.high
    assert comparison.to_dict()["interval"] == plain["comparisons"][0]["interval"]
