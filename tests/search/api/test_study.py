from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import search
from search.cli.app import app
from search.errors import InputError, NothingToDoError, StudyChangedError, StudyError


def said(*arguments: str) -> Any:
    """The document that a command prints with --json."""
    found = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(found.stdout)


def test_status_and_comparison_are_those_of_the_commands(study: search.Study) -> None:
    assert json.loads(json.dumps(study.status().data)) == said("status", str(study.folder))
    assert study.status().data["trials"]["completed"] == 2
    comparison = study.comparison()
    assert comparison.data["key"] == json.loads((study.folder / "comparison" / "comparison.json").read_text())["key"]
    assert repr(comparison).splitlines()[0].startswith("configuration")
    assert comparison.comparisons[0].sentence in repr(study.status())


def test_trials_and_repeats_are_frames(study: search.Study) -> None:
    trials = study.trials(sort="val_accuracy")
    assert list(trials["lr"].sort_values()) == [0.001, 0.01]
    assert trials["val_accuracy"].is_monotonic_decreasing
    assert list(study.trials(where="lr > 0.005")["lr"]) == [0.01]
    repeats = study.repeats()
    assert sorted(repeats["block"]) == ["compare-0", "compare-0", "compare-1", "compare-1"]
    mean = repeats.groupby("configuration")["test_accuracy"].mean().to_dict()
    assert mean == {
        item["name"]: pytest.approx(item["mean_test_accuracy"]) for item in study.comparison().data["contenders"]
    }


def test_the_optuna_study_is_a_copy_in_memory(study: search.Study) -> None:
    before = (study.folder / "journal.jsonl").read_bytes()
    made = study.optuna_study()
    assert made.best_value == study.trials()["val_accuracy"].max()
    assert [trial.params["lr"] for trial in made.trials] == list(study.trials()["lr"])
    made.add_trial(made.trials[0])
    assert len(study.optuna_study().trials) == 2
    assert (study.folder / "journal.jsonl").read_bytes() == before


def test_a_notebook_shows_verdicts_and_a_forest_plot(study: search.Study) -> None:
    html = study.comparison()._repr_html_()
    assert html.count("<img") == 1
    assert "data:image/png;base64," in html
    assert study.comparison().comparisons[0].sentence.split(" (")[0].replace("'", "&#x27;") in html
    assert "<script" not in html
    assert study._repr_html_() == study.status()._repr_html_()


def test_names_are_escaped_in_html() -> None:
    shown = search.Shown(data={}, lines=("<b>bold</b>",))
    assert "&lt;b&gt;bold" in shown._repr_html_()


def test_a_study_file_a_folder_and_a_mapping_are_the_same_study(
    study: search.Study, data: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(data))
    by_file, by_folder = search.Study.load(file), search.Study.load(study.folder)
    assert by_file.status().data == by_folder.status().data == study.status().data
    assert repr(by_file) == repr(study)
    assert by_folder.comparison().data == study.comparison().data


def test_overrides_are_sections_or_fields(data: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(data))
    changed = search.Study.load(file, seed=4, search={"trials": 1}, storage=str(tmp_path / "other"))
    config = changed._config
    assert (config.seed, config.search.trials, config.search.sampler) == (4, 1, "grid")
    assert changed.folder == tmp_path / "other" / "from-python"
    assert search.Study.load(file, search={})._config == search.Study.load(file)._config, "nothing is replaced"
    small = search.Study.load(file, model={"init": "keras"}, train={"weight_decay": 1e-5})._config
    assert small.model == {**data.get("model", {}), "init": "keras"}, "sections are merged"
    assert small.train.weight_decay == 1e-5


def test_faults_are_errors_of_the_project(study: search.Study, data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"train\.epochs") as caught:
        search.Study.from_dict({**data, "train": {"epochs": 0}})
    assert isinstance(caught.value, search.HybridSearchError)
    with pytest.raises(StudyError, match="no such study file"):
        search.Study.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"train\.lr: expected numbers, text, lists and mappings, found set"):
        search.Study.load(tmp_path / "none.yaml", train={"lr": {1}})
    fresh = search.Study.from_dict({**data, "name": "fresh"})
    with pytest.raises(NothingToDoError, match="no study here yet"):
        fresh.status()
    with pytest.raises(InputError, match="time_budget"):
        fresh.sweep(time_budget=0)
    with pytest.raises(InputError, match="repeats: expected"):
        study.compare(repeats=0)
    assert not fresh.folder.exists()
    assert "fresh" in repr(fresh)
    with pytest.raises(InputError, match="data: expected a mapping of sections to fields, found list"):
        search.Study.from_dict([data])  # type: ignore[arg-type]


def test_a_study_that_is_gone_still_has_a_repr(study: search.Study, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study.folder, copy)
    by_file = search.Study.load(copy / "study.yaml")
    assert by_file.folder == copy, "the file in the folder of a study stands for the folder"
    shutil.rmtree(copy)
    assert repr(by_file) == f"<Study {copy}>"
    assert str(copy) in by_file._repr_html_()


def test_a_changed_study_is_refused(study: search.Study, data: dict[str, Any]) -> None:
    changed = search.Study.from_dict({**data, "train": {**data["train"], "epochs": 3}})
    with pytest.raises(StudyChangedError, match=r"train\.epochs was 2 when the sweep started and is 3 now"):
        changed.sweep()
    with pytest.raises(StudyChangedError, match=r"train\.epochs was 2"):
        changed.compare()
    assert changed.status().data == study.status().data


def test_the_report_is_a_page(study: search.Study, tmp_path: Path) -> None:
    page = study.report(tmp_path / "page.html")
    assert page == tmp_path / "page.html"
    assert study.comparison().comparisons[0].a in page.read_text()


def test_plan_trains_nothing(data: dict[str, Any]) -> None:
    fresh = search.Study.from_dict({**data, "name": "planned"})
    plan = fresh.plan()
    assert plan.data["trials"] == 2
    assert repr(plan).startswith("study       planned")
    assert not fresh.folder.exists()


def test_inside_an_event_loop(data: dict[str, Any]) -> None:
    """Notebooks run cells inside a running loop."""

    async def cell() -> int:
        study = search.Study.from_dict({**data, "name": "in-a-loop", "search": {"trials": 1, "scheduler": "none"}})
        return int(study.sweep().data["trials"]["completed"])

    assert asyncio.run(cell()) == 1


def test_the_experiment_shows_no_password(data: dict[str, Any]) -> None:
    made = search.Study.from_dict({**data, "tracking": {"uri": "https://me:secret@host", "experiment": "e"}})
    place = made.mlflow_experiment
    assert place is not None
    assert (place.uri, place.name) == ("https://me:secret@host", "e")
    assert "secret" not in repr(place)
    assert search.Study.from_dict(data).mlflow_experiment is None
