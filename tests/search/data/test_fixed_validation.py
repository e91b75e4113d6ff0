"""A validation part of the data set's own: the sweep validates on it, and nothing draws another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.commands.plan import make_plan, to_lines
from search.compare.run import run_compare
from search.errors import InputError
from search.journal.summary import best_first
from search.report import overview
from search.significance import judge
from search.study.bind import load_facts
from search.study.config import StudyConfig
from search.training.learner import Learner

pytestmark = pytest.mark.usefixtures("copied_here", "undrawn")

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Dark and bright images of 8x8 in train/, val/ and test/."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 12), ("val", 5), ("test", 6)):
        for name, low in (("bright", 128), ("dark", 0)):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for position in range(number):
                pixels = rng.integers(low, low + 128, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{position}.png")
    return tmp_path / "images"


@pytest.fixture
def study(make_study: MakeStudy, root: Path, cnn: dict[str, Any]) -> StudyConfig:
    return make_study(
        data={"name": "folder", "root": str(root)},
        train={"epochs": 1, "batch": 8, "precision": "float32"},
        search={"trials": 2, "startup_trials": 1, "enqueue": [{**cnn, "lr": 0.01}]},
        compare={"baselines": [{**cnn, "lr": 0.001}], "repeats": 3},
    )


def test_plan_says_the_three_parts(study: StudyConfig) -> None:
    lines = to_lines(make_plan(study))
    assert "data        24 training, 10 validation, 12 test images" in lines
    assert any("validation part: val/, 10 images, the same for every repeat" in line for line in lines)


@pytest.mark.parametrize("override", ["split.method=none", "split.method=random", "split.fraction=0.2"])
def test_a_split_that_contradicts_it_is_refused_by_plan(make_study: MakeStudy, root: Path, override: str) -> None:
    study = make_study(override, data={"name": "folder", "root": str(root)})
    with pytest.raises(InputError, match="its own validation part, 10 images, but split requests another one"):
        make_plan(study)


def test_sweep_and_repeats_validate_on_it(study: StudyConfig, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = load_facts(study)
    assert (facts.num_train, facts.num_val, facts.num_test) == (34, 10, 12)
    seen = []
    built = Learner.__init__

    def watched(self: Learner, *args: Any, **settings: Any) -> None:
        built(self, *args, **settings)
        seen.append((len(self._train_rows), self._set.ids[self._val_rows].tolist()))

    monkeypatch.setattr(Learner, "__init__", watched)
    driver.facts = facts
    trials = driver.sweep(study)
    assert all(record.val_accuracy is not None for record in best_first(trials))
    ratios = []
    judged = judge.judge_results

    def noted(results: Any, pairs: Any, declared: Any, **settings: Any) -> Any:
        ratios.append(declared.ratio)
        return judged(results, pairs, declared, **settings)

    monkeypatch.setattr("search.compare.repeats.judge_results", noted)
    run_compare(study)
    names = [f"val/{name}/{position}.png" for name in ("bright", "dark") for position in range(5)]
    assert len(seen) >= 5
    assert all(found == (24, names) for found in seen)
    assert ratios == [None]  # no random splits: nothing for the corrected resampled t to speak about
    record = next(record for record in trials if "val_correct" in record.artifacts)
    bits = np.load(study.folder / record.artifacts["val_correct"], allow_pickle=False)
    assert np.unpackbits(bits, axis=-1).shape[-1] >= 10


def test_a_journal_of_before_has_no_such_part(study: StudyConfig, driver: Any) -> None:
    driver.facts = load_facts(study)
    trials = driver.sweep(study)
    event = {"event": "session", "data": {"num_train": 34}, "classes": ["bright", "dark"]}
    found = overview._select(study, trials, [event], None)
    assert found is not None
    assert "unknown" not in str(found.selection_score)
    now = overview._select(study, trials, [{**event, "data": {"num_train": 34, "num_val": 10}}], None)
    assert now is not None
    assert now.correction is not None
    assert now.correction.num_images == 10
