"""A study's folder that somebody else wrote: nothing outside it is touched, and every fault is a line of plain text."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.cli.terminal import show
from search.errors import InputError, StoreError
from search.journal.comparison_file import load_comparison
from search.journal.comparison_file import to_dict as comparison_to_dict
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME
from search.records import TrialRecord
from search.report.overview import make_overview
from search.report.status_lines import to_lines
from search.storage.store import Store
from search.storage.synced import STATE, Synced
from search.storage.working_copy import STATE as COPY_STATE
from search.storage.working_copy import _arrays, uri_of_copy
from search.study.config import StudyConfig, to_dict
from search.study.load import find_study

MakeStudy = Callable[..., StudyConfig]
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e"


@pytest.fixture
def begun(make_study: MakeStudy, make_record: Callable[..., TrialRecord]) -> StudyConfig:
    """A study whose journal has one trial."""
    study = make_study("search.trials=2")
    study.folder.mkdir(parents=True)
    (study.folder / "study.yaml").write_text(yaml.safe_dump(to_dict(study), sort_keys=False))
    with Journal(study.folder) as journal:
        journal.begin(make_record("a", number=0))
    return study


def append(study: StudyConfig, **event: Any) -> None:
    with (study.folder / FILE_NAME).open("a") as stream:
        stream.write(json.dumps({"at": 1.0, **event}) + "\n")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("checkpoint.pt", "weights-0.safetensors", "thesis.tex"):
        (folder / name).write_text("precious")
    return folder


@pytest.mark.parametrize("word", ["completed", "failed"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_key_that_leads_elsewhere_costs_nothing_there(
    begun: StudyConfig, victim: Path, driver: Any, word: str, absolute: bool
) -> None:
    trials = begun.folder / "trials"
    key = str(victim) if absolute else os.path.relpath(victim, trials)
    begin = {"number": 1, "label": "", "kind": "trial", "point": {}, "blocks": []}
    append(begun, event="begin", key=key, **begin)
    append(begun, event="end", key=key, outcome={"word": word, "reason": "x"})
    with pytest.raises(InputError, match=rf"{FILE_NAME}:2: begin: key: must be letters, digits, - and _"):
        driver.sweep(begun)
    assert len(list(victim.iterdir())) == 3


def test_a_trial_that_is_a_link_costs_nothing_behind_it(begun: StudyConfig, victim: Path, driver: Any) -> None:
    append(begun, event="end", key="a", outcome={"word": "completed"})
    (begun.folder / "trials").mkdir()
    (begun.folder / "trials" / "a").symlink_to(victim)
    with pytest.raises(
        InputError, match=("trials/a: expected a folder, found a link; remove it, as only files inside the study")
    ):
        driver.sweep(begun)
    assert len(list(victim.iterdir())) == 3


def test_what_a_terminal_acts_on_is_shown_escaped(begun: StudyConfig, capsys: pytest.CaptureFixture[str]) -> None:
    append(begun, event="end", key="a", outcome={"word": "failed", "reason": f"a{ESCAPES}b"})
    lines = to_lines(make_overview(begun))
    show(False, dict, lambda: lines)
    printed = capsys.readouterr().out
    assert "1 x a\\x1b[2J\\x1b]0;owned\\x07\\u202eb" in printed
    assert all(line.isprintable() for line in printed.splitlines())
    assert str(InputError(f"{ESCAPES}: no such file")) == "\\x1b[2J\\x1b]0;owned\\x07\\u202e: no such file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "expected a mapping"),
        ("[" * 100_000, "recursion"),
        ('{"comparisons": [{"sentence": NaN}]}', "NaN"),
        ('{"key": "../x"}', "be letters"),
        (
            '{"key": "k", "data": {"digest": "d"}, "contenders": [], "comparisons": 3}',
            "comparisons: expected a list, got 3",
        ),
        ("\x00", "Expecting value"),
    ],
)
def test_a_comparison_that_is_none_is_a_line(begun: StudyConfig, content: str, words: str) -> None:
    folder = begun.folder / "comparison"
    folder.mkdir()
    (folder / "comparison.json").write_text(content)
    with pytest.raises(InputError, match=rf"comparison\.json: damaged \(.*{words}") as caught:
        load_comparison(begun.folder)
    assert str(caught.value).isprintable()


def compared() -> dict[str, Any]:
    """A comparison after a race, with every field that is read beside the report's numbers."""
    raced = {"key": "r", "block": "compare-0"}
    run = {"key": "k", "block": "confirm-0", "state": "completed", "diverged_in_epoch": None, "test_accuracy": 0.5}
    contender: dict[str, Any] = {"name": "a", "point": {"rnn": "none"}}
    return {
        "key": "k",
        "data": {"digest": "d"},
        "race": {"sentences": [""], "survivor": "a", "contenders": [contender | {"repeats": [raced]}]},
        "contenders": [contender | {"finalist": True, "repeats": [run]}],
        "comparisons": [
            {
                "a": "a",
                "b": "b",
                "verdict": "better",
                "sentence": "",
                "estimand": "",
                "provisional": False,
                "adjust_method": "holm",
                "family_size": 1,
                "num_blocks": 6,
                "num_images": 500,
                "estimate": 0.1,
                "interval": None,
                "adjusted_p": 0.01,
                "p_a_gt_b": 1.0,
                "alpha": 0.05,
                "rope": 0.005,
            }
        ],
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value of a document stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def test_a_whole_comparison_is_read(begun: StudyConfig) -> None:
    (begun.folder / "comparison").mkdir()
    (begun.folder / "comparison" / "comparison.json").write_text(json.dumps(compared()))
    document = load_comparison(begun.folder)
    assert document is not None
    assert comparison_to_dict(document)["comparisons"][0].items() >= compared()["comparisons"][0].items()


@pytest.mark.parametrize("damage", ["lost", "another type", "another name"])
def test_every_field_of_a_comparison_is_checked_where_it_is_read(begun: StudyConfig, damage: str) -> None:
    (begun.folder / "comparison").mkdir()
    file = begun.folder / "comparison" / "comparison.json"
    found = [place for place in places(compared()) if isinstance(place[-1], str) and place[-1] != "rnn"]
    assert len(found) > 30
    for *path, last in found if damage != "another name" else [("race", "survivor"), ("comparisons", 0, "verdict")]:
        document = compared()
        holder: Any = document
        for step in path:
            holder = holder[step]
        if damage == "lost":
            del holder[last]
            if path == [] and last == "race":
                continue
        else:
            holder[last] = "nobody" if damage == "another name" else {"x": [3]} if last == "repeats" else [[3]]
        file.write_text(json.dumps(document))
        with pytest.raises(InputError, match=r"comparison\.json: damaged \(.*; `hybrid-search compare`") as caught:
            load_comparison(begun.folder)
        assert last in str(caught.value)


@pytest.mark.parametrize("way", ["link", ".", "..", "link to the storage"])
def test_a_study_is_the_same_by_every_path_to_it(
    begun: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "mine").symlink_to(begun.folder)
    (tmp_path / "runs-here").symlink_to(begun.folder.parent)
    (begun.folder / "trials").mkdir()
    monkeypatch.chdir(begun.folder / "trials" if way == ".." else begun.folder)
    paths = {"link": tmp_path / "mine", "link to the storage": tmp_path / "runs-here" / begun.name}
    found = find_study(paths.get(way, way))
    assert (found.name, found.folder) == (begun.name, begun.folder.resolve())


def test_names_in_a_working_copy_lead_nowhere_else(tmp_path: Path, victim: Path) -> None:
    journal = tmp_path / FILE_NAME
    names = ["trials/a/correct.npy", "../victim/x.npy", "/victim/x.npy", 7]
    lines = [json.dumps({"artifacts": dict(enumerate(names))}), '["artifacts"]', '{"artifacts":' + "[" * 100_000]
    journal.write_text("\n".join(lines))
    assert _arrays(journal) == ["trials/a/correct.npy"]
    copy = tmp_path / "copy"
    copy.mkdir()
    stamp = [(victim / "thesis.tex").stat().st_mtime_ns, (victim / "thesis.tex").stat().st_size]
    known = {"../victim/thesis.tex": {"here": stamp, "there": [0, 0]}}
    (copy / STATE).write_text(json.dumps({"files": known}))
    store = tmp_path / "store"
    store.mkdir()
    (store / "report.html").write_text("new")
    Synced(copy, Store(f"file://{store}")).pull()
    assert (copy / "report.html").read_text() == "new"
    assert len(list(victim.iterdir())) == 3
    here = json.dumps(str(copy))
    for state in ("[]", '{"folder": 3}', "[" * 100_000, f'{{"folder": {here}}}', '{"uri": "x", "folder": "\\u0000"}'):
        (copy / COPY_STATE).write_text(state)
        assert uri_of_copy(copy) is None


def test_a_store_that_lists_names_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.npy").touch()
    store = Store(f"file://{tmp_path}")
    monkeypatch.setattr("search.storage.store.is_relative_path", lambda name: name != "a.npy")
    with pytest.raises(StoreError, match=r"expected names of files below it, found 'a\.npy'; remove that file"):
        store.list()
