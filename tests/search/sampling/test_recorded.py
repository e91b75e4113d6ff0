"""What older programs left and proposed: the same points in the same order, and every study goes on."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.commands.check import EXIT_AGREE, check
from search.errors import InputError
from search.journal.journal import Journal
from search.journal.reading import FILE_NAME, read_draws, read_records
from search.records import NOT_KNOWN
from search.study.config import StudyConfig
from search.study.load import load_study
from search.sweep.sweep import Sweep
from search.text.counted import counted

PLACE = Path(__file__).parent / "recorded"
_spec = importlib.util.spec_from_file_location("record_proposals", PLACE / "record_proposals.py")
assert _spec is not None
assert _spec.loader is not None
recorded = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recorded)


def load(name: str) -> Any:
    return json.loads((PLACE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "tpe" else ()) for name in recorded.STUDIES]
)
def test_the_same_points_in_the_same_order(name: str, tmp_path: Path) -> None:
    found = recorded.run(name, tmp_path)
    assert json.loads(json.dumps(found)) == load("proposals.json")[name]


@pytest.mark.parametrize("name", [pytest.param("tpe", marks=pytest.mark.slow), "tpe-continuous", "grid"])
def test_and_so_when_killed_and_resumed(name: str, tmp_path: Path) -> None:
    found = recorded.run(name, tmp_path, cuts=recorded.CUTS)
    assert json.loads(json.dumps(found)) == load("proposals.json")[name]


def test_and_so_with_several_running_when_killed_and_resumed(tmp_path: Path) -> None:
    found = recorded.run("tpe-three-at-once", tmp_path, cuts=recorded.CUTS)
    assert json.loads(json.dumps(found)) == load("proposals.json")["tpe-three-at-once, cut"]


def bring(name: str, tmp_path: Path) -> StudyConfig:
    """A folder that an older program left when it was killed in the middle of a trial."""
    folder = tmp_path / name
    shutil.copytree(PLACE / name, folder)
    database = f"search.database=sqlite:///{folder / 'optuna.db'}"
    overrides = [f"storage={tmp_path}", *([database] if name == "cut-database" else [])]
    return load_study(folder / "study.yaml", overrides)


@pytest.mark.parametrize("name", ["cut-log", "cut-database"])
@pytest.mark.parametrize("gone", [False, True], ids=["", "its Optuna study gone"])
def test_a_study_of_before_goes_on(
    name: str, tmp_path: Path, sweep_whole: Callable[..., list[str]], gone: bool
) -> None:
    """Optuna's study of before is read once, for draws that the journal lacks; without it the points are the same."""
    study = bring(name, tmp_path)
    first_line = (study.folder / FILE_NAME).read_bytes().splitlines()[0]
    num_missing = 22 if name == "cut-log" else 8
    if gone:
        for file in ("optuna.log", "optuna.db"):
            (study.folder / file).unlink(missing_ok=True)
    said = sweep_whole(study)
    records = {record.number: record for record in read_records(study.folder).values()}
    draws = read_draws(study.folder)
    trials = [row for row in load("finished.json")[name] if len(row) > 2]
    rejected = [row for row in load("finished.json")[name] if len(row) == 2]
    assert sorted(records) == [row[0] for row in trials]
    for number, key, params, accuracies, word in trials:
        record = records[number]
        assert record.outcome is not None
        assert (record.key, record.outcome.word) == (key, word)
        assert params.items() <= record.point.items()
        assert [epoch.val_accuracy for epoch in record.curve] == pytest.approx(accuracies, abs=1e-12)
    found = [[number, draw.rejected.partition(":")[0]] for number, draw in sorted(draws.items()) if draw.rejected]
    if gone:
        assert [number for number, _ in found] == [number for number, _ in rejected]
        assert sum(why == NOT_KNOWN for _, why in found) == num_missing
        assert said == [
            f"{name}: {num_missing} of {counted(num_missing, 'rejected draw')} unknown; the numbers stay reserved, "
            "and the next proposals do not change"
        ]
    else:
        assert found == rejected
        assert said == []
        assert all(draw.point for draw in draws.values() if draw.rejected)
    assert (study.folder / FILE_NAME).read_bytes().splitlines()[0] == first_line
    assert check(study).exit_code == EXIT_AGREE, check(study)
    assert sweep_whole(study) == [], "it is said once"


@pytest.fixture
def sweep_whole() -> Callable[[StudyConfig], list[str]]:
    """Run or resume a sweep with its copy in this process; what it said."""
    from search.runners import inline
    from search.sampling.optuna_copy import OptunaCopy
    from search.study.bind import load_facts
    from search.study.folder import claim_folder

    def run(study: StudyConfig) -> list[str]:
        said: list[str] = []
        with Journal(claim_folder(study)) as journal:
            journal.note("session", verb="sweep")
            sweep = Sweep(study=study, facts=load_facts(study), journal=journal, print_line=said.append)
            inline.run(sweep, study.resources)
        OptunaCopy(
            study.folder,
            name=study.name,
            space=study.build_space(),
            database=study.search.database,
            print_line=said.append,
        ).finish()
        return said

    return run


@pytest.mark.usefixtures("copied_here")
def test_what_a_comparison_of_before_measured_is_measured_now(tmp_path: Path) -> None:
    from search.compare.run import run_compare
    from search.journal.comparison_file import to_dict

    shutil.copytree(PLACE / "compared", tmp_path / "compared")
    before = load("compared/comparison/comparison.json")
    journal = (tmp_path / "compared" / FILE_NAME).read_bytes()
    document = run_compare(load_study(tmp_path / "compared" / "study.yaml", [f"storage={tmp_path}"]))
    now = to_dict(document)
    events = (tmp_path / "compared" / FILE_NAME).read_bytes()[len(journal) :].splitlines()
    assert not any(json.loads(line)["event"] == "begin" for line in events), "nothing is trained again"
    for name in ("contenders", "blocks"):
        assert now[name] == before[name], name


def test_a_journal_with_every_kind_of_event_is_read(tmp_path: Path) -> None:
    lines = [
        '{"at":1.0,"event":"session","verb":"sweep"}',
        '{"at":2.0,"event":"draw","number":0,"point":{"a":1},"rejected":"proposed before"}',
        '{"at":3.0,"event":"draw","number":1,"attrs":{"tpe:relative_params:0":"{}"}}',
        '{"at":4.0,"blocks":["sweep-0"],"event":"begin","key":"k","kind":"trial","label":"l","number":1,"point":{"a":2}}',
        '{"at":5.0,"event":"resume","key":"k"}',
        '{"at":6.0,"event":"draw","number":2,"point":{"a":3},"twin":"k"}',
        '{"at":7.0,"event":"end","key":"k","outcome":{"word":"failed","reason":"x"}}',
        '{"at":8.0,"event":"comparison","key":"c"}',
        '{"at":9.0,"event":"report","digest":"d","artifacts":[]}',
        '{"at":9.5,"event":"of a later version","anything":1}',
        '{"at":10.0,"event":"stop"}',
    ]
    (tmp_path / FILE_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
    draws = read_draws(tmp_path)
    assert [(draw.rejected, draw.twin, dict(draw.point or {})) for draw in draws.values()] == [
        ("proposed before", "", {"a": 1}),
        ("", "", {}),
        ("", "k", {"a": 3}),
    ]
    with Journal(tmp_path) as journal:
        assert journal.draws == draws
        assert journal.records["k"].resumed == 1
    with (tmp_path / FILE_NAME).open("a", encoding="utf-8") as stream:
        stream.write('{"at":11.0,"event":"session","verb":"sweep","version":4}\n')
    with pytest.raises(InputError, match=r"journal has version 4, but this program reads versions up to 3"):
        Journal(tmp_path)
    assert len((tmp_path / FILE_NAME).read_text(encoding="utf-8").splitlines()) == len(lines) + 1, "it is left as it is"
