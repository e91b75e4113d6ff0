"""A study's folder: what may change in it, and what may not be missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from search.check import check
from search.drive import run_sweep
from search.errors import InputError, StudyError
from search.folder import COMPARISON, load_comparison
from search.study import StudyConfig, find_study

MakeStudy = Callable[..., StudyConfig]
INLINE = {"runner": "inline"}


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
    with pytest.raises(StudyError, match=f"{re.escape(name)} is gone"):
        run_sweep(study)
    with pytest.raises(StudyError, match=f"{re.escape(name)} is gone"):
        find_study(study.folder)
    kept.rename(lost)
    assert sorted(study.folder.rglob("*")) == before


def test_a_damaged_comparison_is_told(tmp_path: Path) -> None:
    (tmp_path / COMPARISON).mkdir()
    (tmp_path / COMPARISON / "comparison.json").write_text("{")
    with pytest.raises(InputError, match=r"damaged .*compare` writes it again"):
        load_comparison(tmp_path)
