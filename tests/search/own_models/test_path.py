"""A study of an own model, from the file to the prediction."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import search
from search.cli.app import app
from search.commands.trials import COLUMNS, repeat_rows
from search.errors import InputError, StudyChangedError, StudyError
from search.export.predict import predict
from search.own_models import loading
from search.report import claim
from search.study.bind import bind, load_facts
from search.study.config import to_dict
from search.study.folder import _changes
from search.study.load import load_study
from search.study.own_model import RESERVED, with_source
from search.study.settings import COMMON

from .conftest import LAYERS, MODELS

MARK = "open({!r}, 'a').write('imported\\n')\n"


def content(storage: Path) -> dict[str, Any]:
    return {
        "name": "own",
        "storage": str(storage),
        "data": {"name": "digits", "limit": 100},
        "model": {"factory": "my_models.py:build", "cell": "none"},
        "space": {"width": [4, 8]},
        "train": {"epochs": 2, "batch": 16, "precision": "float32", "lr": 0.01},
        "search": {"trials": 2, "scheduler": "none", "sampler": "grid"},
        "resources": {"runner": "inline"},
        "compare": {"baselines": ["ecrnn/cnn"], "repeats": 2},
        "tracking": {"enabled": False},
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file and the files of its model, which leave a mark when they are imported."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_models.py").write_text(MARK.format(str(folder / "mark")) + MODELS)
    (folder / "layers.py").write_text(LAYERS)
    (folder / "study.yaml").write_text(yaml.safe_dump(content(folder / "runs"), sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def study(place: Path) -> search.Study:
    """The study, swept and compared with a built-in model."""
    made = search.Study.load(place / "study.yaml")
    made.sweep()
    made.compare()
    return made


@pytest.fixture(scope="module")
def exported(study: search.Study, place: Path) -> Path:
    """The export of its first trial."""
    study.export(place / "export", trial=0)
    return place / "export"


@pytest.fixture
def unmarked(place: Path) -> Iterator[Path]:
    """The mark that importing the model's file would make anew."""
    (place / "mark").unlink(missing_ok=True)
    loading._loaded.clear()
    return place / "mark"


def test_trials_have_counts_names_and_a_source(study: search.Study) -> None:
    trials = study.trials(sort="number")
    assert trials["width"].to_list() == [4, 8]
    assert trials["num_parameters"].to_list() == [(9 * 3 + 3) * width + 10 * width + 10 for width in (4, 8)]
    assert trials["state"].to_list() == ["completed"] * 2
    assert "trial 0: width 4" in repr(study.status())
    recorded = yaml.safe_load((study.folder / "study.yaml").read_text())
    assert recorded["code"] == {"layers.py": LAYERS, "my_models.py": recorded["code"]["my_models.py"]}
    assert recorded["code"]["my_models.py"].endswith(MODELS)


def test_it_is_compared_with_a_built_in_model(study: search.Study) -> None:
    (comparison,) = study.comparison().comparisons
    assert comparison.b == "ecrnn/cnn"
    assert comparison.a.startswith("width ")
    built_in = next(item for item in study.comparison().data["contenders"] if item["name"] == "ecrnn/cnn")
    assert built_in["point"]["family"] == "hybrid"
    assert built_in["counts"]["num_parameters"] > 100_000


def test_commands_that_look_import_nothing(study: search.Study, unmarked: Path, place: Path) -> None:
    for target in (str(place / "study.yaml"), str(study.folder)):
        for command in ("status", "trials", "report"):
            found = CliRunner().invoke(app, [command, target, "--json"], catch_exceptions=False)
            assert found.exit_code == 0, found.output
    found = CliRunner().invoke(app, ["studies", str(place / "runs"), "--json"], catch_exceptions=False)
    assert found.exit_code == 0
    study.repeats()
    study.optuna_study()
    assert not unmarked.exists()


def test_a_prediction_runs_no_code_that_is_not_trusted(exported: Path, unmarked: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(image)
    with pytest.raises(InputError, match=r"built by code \(.*code/my_models\.py\).*--trust-code"):
        predict(exported, [image])
    with pytest.raises(InputError, match="trust_code=True"):
        search.load(exported)
    assert not unmarked.exists()
    found = CliRunner().invoke(app, ["predict", str(exported), str(image), "--trust-code"], catch_exceptions=False)
    assert found.exit_code == 0
    assert found.stdout.startswith(f"{image}: ")
    assert unmarked.exists()


def test_the_export_is_the_trained_model(study: search.Study, exported: Path) -> None:
    predictor = search.load(exported, trust_code=True)
    assert type(predictor.model).__name__ == "Net"
    weights = load_file(exported / "model.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in predictor.model.state_dict().items())
    assert (exported / "code" / "layers.py").read_text() == LAYERS
    evidence = json.loads((exported / "evidence.json").read_text())
    assert evidence["model"]["own"]["point"] == {"cell": "none", "width": 4}
    assert evidence["program"]["share"] == 1.0
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    program = torch.export.load(exported / "model.pt2").module()(torch.from_numpy(pixels)).detach().numpy()
    assert np.allclose(predictor.predict(pixels).iloc[:, 3:].to_numpy(), program, atol=1e-5)
    again = search.Study.load(exported / "config.yaml", storage=str(exported.parent / "again"))
    again.sweep()
    assert again.trials()["val_accuracy"][0] == study.trials()["val_accuracy"][0]


@pytest.mark.parametrize("file", ["layers.py", "my_models.py"])
def test_an_export_with_other_source_is_refused(exported: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(exported, tmp_path / "export")
    with (tmp_path / "export" / "code" / file).open("a") as stream:
        stream.write("# changed\n")
    with pytest.raises(InputError, match=rf"{file}: was changed after the export"):
        search.load(tmp_path / "export", trust_code=True)


def test_a_path_out_of_the_export_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "export")
    evidence = json.loads((exported / "evidence.json").read_text())
    evidence["model"]["own"]["code"]["../../x.py"] = "0"
    (tmp_path / "export" / "evidence.json").write_text(json.dumps(evidence))
    with pytest.raises(InputError, match="not an export"):
        search.load(tmp_path / "export", trust_code=True)


def test_changed_source_is_said_and_refused(study: search.Study, place: Path, tmp_path: Path) -> None:
    for path in ("study.yaml", "my_models.py"):
        shutil.copy(place / path, tmp_path / path)
    (tmp_path / "layers.py").write_text(LAYERS + "\n# faster\n")
    changed = search.Study.load(tmp_path / "study.yaml")
    words = r"code\.layers\.py was 6 lines of source \(\w{8}\) when the sweep started and is 8 lines of source"
    with pytest.raises(StudyChangedError, match=words):
        changed.sweep()
    with pytest.raises(StudyChangedError, match=r"code\.layers\.py was"):
        changed.compare()
    assert len(changed.trials()) == 2
    first, other = (load_study(folder / "study.yaml") for folder in (place, tmp_path))
    facts = load_facts(first)
    keys = [bind(item, {"width": 4}, facts, ()).key for item in (first, other)]
    assert keys[0] != keys[1]


def test_the_source_is_that_of_the_start(study: search.Study, place: Path, tmp_path: Path) -> None:
    """A folder of a study is whole: its source is in the resolved file."""
    shutil.copytree(study.folder, tmp_path / "own")
    moved = search.Study.load(tmp_path / "own")
    assert moved.status().data["trials"]["completed"] == 2
    moved.compare()
    moved.export(tmp_path / "export", trial=1)
    assert (tmp_path / "export" / "code" / "layers.py").read_text() == LAYERS


def test_a_preset_of_an_own_study_is_exported_as_built_in(study: search.Study, tmp_path: Path) -> None:
    study.export(tmp_path / "export", config="ecrnn/cnn")
    assert not (tmp_path / "export" / "code").exists()
    assert len(search.load(tmp_path / "export").classes) == 10
    config = yaml.safe_load((tmp_path / "export" / "config.yaml").read_text())
    assert "code" not in config
    assert load_study(tmp_path / "export" / "config.yaml").is_own is False


def test_a_model_that_cannot_be_traced_is_exported_without_a_program(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = MODELS.replace(
        "        feats = self.body",
        "        if float(images.sum()) > 1e9:\n            images = images / 2\n        feats = self.body",
    )
    (tmp_path / "my_models.py").write_text(body)
    (tmp_path / "layers.py").write_text(LAYERS)
    plain = content(tmp_path / "runs")
    plain |= {"search": {**plain["search"], "trials": 1}, "train": {**plain["train"], "epochs": 1}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plain))
    made = search.Study.load(tmp_path / "study.yaml")
    made.sweep()
    made.export(tmp_path / "export")
    assert not (tmp_path / "export" / "model.pt2").exists()
    assert "torch.export cannot trace this model (my_models.py" in capsys.readouterr().err
    assert "There is no `model.pt2`" in (tmp_path / "export" / "README.md").read_text()
    assert len(search.load(tmp_path / "export", trust_code=True).predict(np.zeros((1, 8, 8, 3), np.uint8))) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"factory": "my_models.py:make"}}, "expected a function make, found none; it has block, Net, build"),
        ({"model": {"factory": "my_modles.py:build"}}, r"did you mean my_models\.py"),
        ({"model": {"factory": "my_models.py:build"}}, r"my_models\.py:\d+: KeyError: 'cell' \(with width \d\)"),
        ({"model": {"factory": "my_models.py:build", "cell": "x", "lr": 0.1}}, r"model\.lr: .* lr belongs in train"),
        ({"model": {"factory": "my_models.py:build", "width": 3}}, r"space\.width: expected either it or model\.width"),
        ({"space": "ecrnn"}, "space: expected the parameters of the own model, written out, found the name ecrnn"),
        ({"space": {"width": [4, 8], "family": ["a", "b"]}}, r"space\.family: expected another name"),
        ({"space": {"width": [4, 8], "num_classes": [2, 3]}}, r"space\.num_classes: expected another name"),
        ({"space": {"width": [4, 8], "epochs": [2, 3]}}, r"space\.epochs: .* set train\.epochs"),
        ({"space": {"width": [4, 8], "lr": [-1.0, 0.1]}}, r"space\.lr must be above 0, got -1\.0"),
        *(
            ({"space": {"width": [4, 8], name: [2, 3]}}, rf"space\.{name}: .* a column of `trials` or `repeats` has it")
            for name in ("state", "block", "macs")
        ),
        (
            {"model": {"factory": "my_models.py:build", "cell": "1e-5"}},
            r"model\.cell: expected a number, found the text '1e-5'; YAML needs its point: 1.0e-05",
        ),
        (
            {"model": {"factory": "my_models.py:build"}, "search": {"trials": 2, "limits": {"num_parameters": 1e6}}},
            r"my_models\.py:\d+: KeyError: 'cell' \(with width \d\)",
        ),
        ({"code": {"other.py": ""}}, r"code: expected my_models\.py of model\.factory, found other\.py"),
        ({"model": {}, "code": {"other.py": ""}, "space": "ecrnn"}, r"code: expected none without model\.factory"),
        ({"compare": {"baselines": [{"widht": 4}]}}, r"compare\.baselines\.0\.widht: .* did you mean width\?"),
        ({"compare": {"baselines": [{"lr": 0.1}]}}, r"compare\.baselines\.0: expected a value of .* none of width"),
        (
            {"search": {"trials": 2, "enqueue": ["ecrnn/cnn"]}},
            r"search\.enqueue\.0: .* built-in model ecrnn/cnn; put it into compare\.baselines",
        ),
        (
            {"search": {"trials": 2, "limits": {"sequential_steps": 9}}},
            "search: expected no sequential_steps in objectives or limits",
        ),
    ],
)
def test_bad_input_is_one_line_and_no_trial_begins(
    place: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    plain = {**content(tmp_path / "runs"), **change}
    for path in ("layers.py", "my_models.py"):
        shutil.copy(place / path, tmp_path / path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(StudyError, match=words) as caught:
        search.Study.load(tmp_path / "study.yaml").sweep()
    assert caught.value.exit_code == 2
    assert all("\n" not in line for line in caught.value.faults)
    assert not (tmp_path / "runs").exists()


def test_a_parameter_that_is_never_read_is_said(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = content(tmp_path / "runs")
    plain["space"] = {"width": [4, 8], "weight_deca": [0.1, 0.2]}
    for path in ("layers.py", "my_models.py"):
        shutil.copy(place / path, tmp_path / path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plain))
    search.Study.load(tmp_path / "study.yaml").plan()
    assert (
        "space.weight_deca: my_models.py:build never reads it, so it changes nothing; did you mean the training "
        "setting weight_decay?"
    ) in capsys.readouterr().err


def test_a_trial_that_raises_names_the_place(place: Path, tmp_path: Path) -> None:
    """What the check did not see, as it depends on the images, fails the trial in words."""
    raising = "        if len(images) == 16:\n            raise ValueError('too many')\n"
    body = MODELS.replace("        feats = self.body", f"{raising}        feats = self.body")
    (tmp_path / "my_models.py").write_text(body)
    (tmp_path / "layers.py").write_text(LAYERS)
    plain = content(tmp_path / "runs")
    plain["search"] |= {"max_failed_fraction": 1.0}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plain))
    made = search.Study.load(tmp_path / "study.yaml")
    made.sweep()
    assert made.status().data["failures"] == [
        {"reason": "OwnCodeError: my_models.py:16: ValueError: too many", "count": 2}
    ]
    assert made.trials()["num_parameters"].notna().all()


def test_built_in_studies_record_no_source(place: Path) -> None:
    plain = content(place / "other")
    plain |= {"model": {}, "space": {"backbone": "cnn4", "rnn": "none", "fc": "-", "dropout": 0.0}}
    assert "code" not in to_dict(search.Study.from_dict(plain)._config)


@pytest.mark.slow
def test_a_command_ends_with_exit_code_2(place: Path, tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text("def build(point):\n    return 3\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content(tmp_path / "runs")))
    found = subprocess.run(
        [sys.executable, "-m", "search.cli", "sweep", "study.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 2
    errors = [line for line in found.stderr.splitlines() if line.startswith("error")]
    assert errors == [
        "error: model.factory: my_models.py:1: expected build(point, *, num_classes, image_size), found build(point) "
        "(with cell none, width 4)"
    ] or errors == [errors[0].replace("width 4", "width 8")]
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "runs").exists()


def test_the_best_points_of_an_earlier_study_are_enqueued(study: search.Study, place: Path, tmp_path: Path) -> None:
    plain = content(tmp_path / "runs")
    plain["search"] = {**plain["search"], "enqueue": [f"top-1 of {study.folder}"]}
    for path in ("layers.py", "my_models.py"):
        shutil.copy(place / path, tmp_path / path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plain))
    assert "sweep" in str(search.Study.load(tmp_path / "study.yaml").plan())


def test_every_column_of_the_tables_is_reserved(study: search.Study) -> None:
    columns = {column.name for column in COLUMNS} | set(repeat_rows(study._found())[0][:8])
    assert columns <= {*RESERVED, *COMMON}


def test_a_point_is_enqueued_by_its_own_names(study: search.Study, unmarked: Path) -> None:
    """The study has tried all its points, so that each is refused as known: its names were understood."""
    for point, words in (
        ("width=8", "found that of trial 1"),
        ("widht=8", "did you mean width"),
        ("width=5", "expected one of 4, 8"),
    ):
        found = CliRunner().invoke(app, ["enqueue", str(study.folder), point])
        assert isinstance(found.exception, InputError)
        assert words in str(found.exception)
    assert not unmarked.exists()


def test_a_rival_of_the_nominee_is_not_counted_by_running_its_code(
    study: search.Study, unmarked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parameters are all settings of the recipe here, so that nothing else would rule it out."""
    config = load_study(study.folder / "study.yaml", [], recorded=True)
    config = config.model_copy(update={"search": config.search.model_copy(update={"limits": {"macs": 1e9}})})
    facts = load_facts(config)
    monkeypatch.setattr("search.report.claim.setting_faults", lambda *_, **__: ())
    assert not claim._is_valid({"width": 4}, config, config.build_space(), facts)
    assert not unmarked.exists()


def test_source_that_leads_out_of_a_folder_is_refused(study: search.Study) -> None:
    config = load_study(study.folder / "study.yaml", [], recorded=True)
    stray = config.model_copy(update={"code": {**config.code, "../escaped.py": "1"}})
    with pytest.raises(StudyError, match=r"expected a path below the study's folder, found '\.\./escaped\.py'"):
        with_source(stray, study.folder)


def test_trials_of_other_source_are_another_recipe(study: search.Study, place: Path, tmp_path: Path) -> None:
    for name in ("my_models.py", "layers.py"):
        (tmp_path / name).write_text((place / name).read_text() + "\n# changed\n")
    learning = content(tmp_path / "runs") | {"name": "new"}
    learning["search"] |= {"sampler": "tpe", "learn_from": [str(study.folder)]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(learning, sort_keys=False))
    with pytest.raises(InputError, match=r"source \([0-9a-f]{8} there and [0-9a-f]{8} here\)"):
        search.Study.load(tmp_path / "study.yaml").plan()


def test_a_constant_of_another_type_is_a_change(study: search.Study, place: Path, tmp_path: Path) -> None:
    old, new = {"model": {"depth": 1}}, {"model": {"depth": True}}
    assert list(_changes(old, new, "")) == [("model.depth", 1, True)]
    assert list(_changes(old, {"model": {"depth": 1}}, "")) == []


@pytest.mark.parametrize("minutes", [float("inf"), 0, "5", True])
def test_a_time_budget_is_a_number_of_minutes(study: search.Study, minutes: Any) -> None:
    with pytest.raises(InputError, match="time_budget: expected minutes above 0"):
        study.sweep(time_budget=minutes)
