"""The resume bench: its parts add up, and both sides of its comparison see the same trials."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from bench import resume
from bench import resume_parts as parts
from search.sampling.optuna_storage import open_storage


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images away from the user's own."""
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))


def test_the_parts_of_a_trial_and_a_log_as_it_was(tmp_path: Path) -> None:
    rows = parts.recorded_trials(tmp_path, 12, epochs=2)
    assert len(rows) == 12
    assert all(set(row) == set(parts.PARTS) for row in rows)
    assert all(row["journal"] > 0 and row["Optuna: proposal"] > 0 and row["training"] == 0 for row in rows)
    parts.log_of(tmp_path / "trivial", 5, tmp_path / "earlier")
    study = optuna.load_study(study_name="trivial", storage=open_storage(tmp_path / "earlier"))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5
    assert parts.our_proposals(tmp_path / "trivial", 5, tmp_path / "ours", 2) > 0
    assert parts.plain_proposals(tmp_path / "trivial", 5, tmp_path / "plain", 2) > 0
    continued = optuna.load_study(study_name="trivial", storage=open_storage(tmp_path / "plain")).trials
    assert len(continued) == 7
    assert {tuple(trial.params) for trial in continued} == {("lr",)}
    assert (tmp_path / "ours" / "trivial" / "journal.jsonl").read_bytes().count(b'"begin"') == 5


@pytest.mark.slow
def test_training_has_its_share(tmp_path: Path) -> None:
    rows = parts.run_trials(tmp_path, 2)
    rows += parts.run_trials(tmp_path, 3)
    assert len(rows) == 3
    assert all(row["training"] > row["journal"] > 0 for row in rows)


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    rows = [dict.fromkeys(parts.PARTS, 0.001 * (1 + index)) for index in range(20)]
    proposals = {10: (0.004, 0.002), 20: (0.009, 0.003)}
    text = resume.page(rows, {2: [(1.0, 0.5)], 20: [(4.0, 2.0), (6.0, 2.0)]}, proposals, rows, [0.03, 0.04], 0.05, 60.0)
    assert "| 20 | 4.0, 6.0 | **5.0** | 2.0 |" in text
    assert "| journal | 1.50 | 19.50 |" in text
    assert "| **all but training** | **6.0** | **78.0** |" in text
    assert "| 20 | 9.0 | 3.0 | 3.00 |" in text
    resume.draw(rows, proposals, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
