"""A study's folder: what may change in it, and what may not be missing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from search.commands.check import check
from search.commands.plan import make_plan
from search.compare.run import run_compare
from search.errors import InputError, StudyChangedError, StudyError
from search.journal.comparison_file import FOLDER, load_comparison
from search.runners import checks
from search.study.bind import DataFacts
from search.study.config import StudyConfig
from search.study.folder import check_given
from search.study.load import find_study, find_with_file
from search.sweep.run import run_sweep

pytestmark = pytest.mark.usefixtures("copied_here")

MakeStudy = Callable[..., StudyConfig]
INLINE = {"runner": "inline"}


@pytest.mark.slow
def test_optunas_study_may_move_to_a_database_and_is_written_again_there(make_study: MakeStudy, tmp_path: Path) -> None:
    run_sweep(make_study(search={"trials": 2}, resources=INLINE))
    for trials, name in ((3, "optuna"), (4, "moved")):
        search = {"trials": trials, "database": f"sqlite:///{tmp_path}/{name}.db"}
        study = make_study(search=search, resources=INLINE)
        run_sweep(study)
        found = check(study)
        assert (found.num_trials, found.differences, found.unreadable) == (trials, (), ())


@pytest.mark.parametrize("name", ["journal.jsonl", "study.yaml"])
def test_trials_without_what_they_mean_are_refused(make_study: MakeStudy, name: str) -> None:
    study = make_study(search={"trials": 1}, resources=INLINE)
    run_sweep(study)
    before = sorted(study.folder.rglob("*"))
    lost, kept = study.folder / name, study.folder.parent / "kept"
    lost.rename(kept)
    with pytest.raises(StudyError, match=f"{re.escape(name)} missing"):
        run_sweep(study)
    with pytest.raises(StudyError, match=f"{re.escape(name)} missing"):
        find_study(study.folder)
    kept.rename(lost)
    assert sorted(study.folder.rglob("*")) == before


def test_a_damaged_comparison_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "comparison.json").write_text("{")
    with pytest.raises(InputError, match=r"damaged .*compare` writes it again"):
        load_comparison(tmp_path)


def test_other_data_are_refused_by_every_command_before_anything_is_written(
    make_study: MakeStudy, facts: DataFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sweep(make_study(search={"trials": 1}, resources=INLINE))
    study = make_study("compare.rope=0.01", "compare.finalists=2", search={"trials": 1}, resources=INLINE)
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(checks, "facts_of", lambda *_, **__: dataclasses.replace(facts, key="other"))
    for run in (make_plan, run_sweep, run_compare):
        with pytest.raises(
            StudyChangedError, match=(r"was started on data \w+, but the data is other now; restore the files")
        ):
            run(study)
    with pytest.raises(StudyChangedError) as caught:  # the changed field says it all
        make_plan(make_study("data.limit=90", "compare.finalists=2", search={"trials": 1}, resources=INLINE))
    assert ["data.limit was 100" in fault for fault in caught.value.faults] == [True]
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before


def test_the_recorded_file_differs_from_nothing_and_fills_in_nothing(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "here")
    run_sweep(make_study("tracking={enabled: false, uri: 'http://${PLACE}'}", search={"trials": 1}, resources=INLINE))
    monkeypatch.delenv("PLACE")
    path = make_study().folder / "study.yaml"
    assert check_given(str(path), [], *find_with_file(path), refuse=True) == []
