from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from hybrid_models.build import build
from search.compare.contenders import pick_contenders
from search.compare.repeats import Repeats, judge_repeats
from search.compare.results import write_results
from search.data.augment import fit_normaliser, prepare
from search.data.splits import split
from search.data.store import ImageData
from search.errors import InputError, NothingToDoError, StorageFaultError
from search.export.command import export_all, to_lines, to_rows
from search.export.model_card import to_card
from search.export.pick import BY_HAND, Wanted, pick_top, pick_winner
from search.export.predict import predict
from search.export.verify import compare_predictions
from search.export.write import export, to_config
from search.journal.journal import Journal
from search.journal.nominee import NOMINATED
from search.journal.reading import read_records
from search.journal.selection import Selection
from search.journal.summary import best_first
from search.runners import inline
from search.seeds import Block, make_block
from search.study.bind import DataFacts, bind
from search.study.config import StudyConfig, TrackingSection
from search.study.load import load_study
from search.sweep.proposals import make_sampler

MakeStudy = Callable[..., StudyConfig]
FILES = ["README.md", "config.yaml", "evidence.json", "model.pt2", "model.safetensors"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one study of this file and its exports lie."""
    return tmp_path_factory.mktemp("export")


@pytest.fixture
def study(make_study: MakeStudy, driver: Any, place: Path, cnn: dict[str, Any]) -> StudyConfig:
    """A sweep of two trials; run for the first test that asks."""
    compare = {"baselines": [{**cnn, "lr": 0.005}], "repeats": 2}
    study = make_study("train.epochs=2", "search.trials=2", "fix.rnn=gru", storage=str(place), compare=compare)
    driver.sweep(study)
    return study


@pytest.fixture
def nominated(study: StudyConfig, place: Path) -> Path:
    """The export before anything was compared."""
    folder = place / "nominated"
    if not folder.exists():
        export(study, folder)
    return folder


@pytest.fixture
def compared(study: StudyConfig, facts: DataFacts, nominated: Path) -> StudyConfig:
    """The same study with its comparison; `nominated` comes first, because it is about none."""
    if not (study.folder / "comparison").exists():
        with Journal(study.folder) as journal:
            contenders = pick_contenders(study, list(journal.records.values()))
            repeats = Repeats(study=study, facts=facts, journal=journal, contenders=contenders, num_blocks=2)
            inline.run(repeats, study.resources)
            write_results(study, facts, repeats, judge_repeats(study, facts, repeats), journal)
    return study


def assert_program_equals_weights(
    study: StudyConfig, folder: Path, digits: ImageData, facts: DataFacts, block: Block, num: int
) -> None:
    """The exported program says what the bare weights say through the library."""
    point = json.loads((folder / "evidence.json").read_text())["point"]
    model = build(bind(study, point, facts, (block,)).model, torch.Generator().manual_seed(9))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    rows, _ = split(digits.train.labels, study.split, block.split_seed)
    pixels = torch.from_numpy(np.array(digits.test.pixels[:num]))
    with torch.no_grad():
        images = prepare(pixels, fit_normaliser(digits.train, rows, study.train.normalise))
        expected = model.eval()(images).softmax(dim=1)
        got = torch.export.load(folder / "model.pt2").module()(pixels)
    assert got.shape == (num, 10)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.sum(dim=1), torch.ones(num))


def test_the_folder_is_complete(nominated: Path) -> None:
    assert sorted(path.name for path in nominated.iterdir()) == FILES
    assert not [path for path in nominated.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("num", [1, 7])
def test_the_program_equals_the_weights(
    study: StudyConfig, nominated: Path, digits: ImageData, facts: DataFacts, num: int
) -> None:
    assert_program_equals_weights(study, nominated, digits, facts, make_block(study.seed, "sweep", 0), num)


def test_the_config_is_a_study_of_one_point(nominated: Path, study: StudyConfig, facts: DataFacts) -> None:
    again = load_study(nominated / "config.yaml", [f"storage={nominated.parent / 'again'}"])
    space = again.build_space()
    point = pick_winner(study).point
    assert space.size == 1
    assert [dict(item) for item in space.enumerate()] == [point]
    assert (again.train, again.data, again.split, again.seed) == (study.train, study.data, study.split, study.seed)
    again.folder.mkdir(parents=True)
    with Journal(again.folder) as journal:
        sampler = make_sampler(again, facts, journal)
        asked = sampler.ask()
        assert asked is not None
        assert dict(asked[1]) == point
        assert sampler.ask() is None


def test_the_config_trains_the_same_weights_again(nominated: Path, driver: Any, tmp_path: Path) -> None:
    again = load_study(nominated / "config.yaml", [f"storage={tmp_path}"])
    (record,) = driver.sweep(again)
    assert (tmp_path / again.name / record.artifacts["weights-0"]).read_bytes() == (
        nominated / "model.safetensors"
    ).read_bytes()


def test_without_a_comparison_it_is_a_nomination(nominated: Path, study: StudyConfig) -> None:
    evidence = json.loads((nominated / "evidence.json").read_text())
    assert (evidence["state"], evidence["comparison"]) == ("nominated, not confirmed", None)
    top = max(read_records(study.folder).values(), key=lambda record: (record.kind == "trial", record.val_accuracy))
    assert evidence["weights"]["key"] == top.key
    assert evidence["weights"]["val_accuracy"] == top.val_accuracy
    assert evidence["data"]["digest"]
    assert torch.__version__.startswith(evidence["versions"]["torch"])
    card = (nominated / "README.md").read_text()
    assert "Nominated, not confirmed" in card
    assert "best" not in card.lower()
    selection = evidence["selection"]
    assert (selection["selection_score"], selection["state"]) == (top.val_accuracy, NOMINATED)
    assert selection["corrected_score"] == top.val_accuracy - selection["correction"]["bias"]
    assert selection["confirmed_score"] is None
    assert (
        f"| selection score | {100 * top.val_accuracy:.2f} % | validation accuracy of one run, selected for this "
        "score |" in card
    )
    assert f"| corrected score | {100 * selection['corrected_score']:.2f} % | " in card
    assert "| score on fresh repeats | - | unknown: no comparison yet, run `hybrid-search compare` |" in card
    assert f"{evidence['model']['parameters_torch']:,} parameters" in card


def test_the_card_says_how_the_scores_were_measured_and_whether_the_program_agrees(
    nominated: Path, study: StudyConfig
) -> None:
    evidence = json.loads((nominated / "evidence.json").read_text())
    assert evidence["program"] == {
        "precision": "float32",
        "num_images": 50,
        "share": 1.0,
        "with_what": "the model in float32 on a CPU",
    }
    assert evidence["weights"]["precision"] == evidence["weights"]["machine"]["precision"] == "float32"
    card = " ".join((nominated / "README.md").read_text().split())
    device = evidence["weights"]["machine"]["device"]
    assert f"Scores were measured in float32 ({device}). `model.pt2` computes in float32; it agrees with" in card
    assert "agrees with the model in float32 on a CPU on 100.0 % of 50 test images." in card


def test_disagreement_with_the_scored_predictions_is_recorded_and_said(
    compared: StudyConfig, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = pick_winner(compared).record
    path = compared.folder / record.artifacts["predictions"]
    scored = np.load(path)
    folder = place / "checked"
    export(compared, folder)
    program = json.loads((folder / "evidence.json").read_text())["program"]
    assert (program["share"], program["with_what"]) == (1.0, "the predictions that were scored")
    assert "agrees" not in capsys.readouterr().err
    other = scored.copy()
    other[0, :10] = (other[0, :10] + 1) % 10
    try:
        np.save(path, other)
        export(compared, folder)
    finally:
        np.save(path, scored)
    assert json.loads((folder / "evidence.json").read_text())["program"]["share"] == 0.8
    assert "agrees with the predictions that were scored on only 80.0 % of the images" in capsys.readouterr().err


def test_predictions_are_compared_in_the_precision_of_the_scores(digits: ImageData) -> None:
    def program(pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(pixels.float().mean(dim=(1, 2, 3)).long() % 2, 10).float()

    def model(pixels: torch.Tensor) -> torch.Tensor:
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        return program(pixels) if product.dtype == torch.float32 else program(pixels).roll(1, dims=1)

    options: dict[str, Any] = {"data": digits, "predictions": None}
    assert compare_predictions(program, model, precision="float32", **options).share == 1.0
    found = compare_predictions(program, model, precision="bfloat16", **options)
    assert (found.share, found.with_what) == (0.0, "the model in bfloat16 on a CPU")


def test_with_a_comparison_the_evidence_is_the_comparison(
    compared: StudyConfig, place: Path, digits: ImageData, facts: DataFacts
) -> None:
    folder = place / "compared"
    winner = export(compared, folder).winner
    evidence = json.loads((folder / "evidence.json").read_text())
    document = json.loads((compared.folder / "comparison" / "comparison.json").read_text())
    assert evidence["comparison"] == document
    assert evidence["weights"]["block"]["purpose"] == "compare"
    assert evidence["weights"]["block"]["index"] == 0
    assert winner.name in [item["name"] for item in document["contenders"]]
    assert document["comparisons"][0]["sentence"] in (folder / "README.md").read_text()
    assert winner.state == evidence["state"]
    runs = next(item["repeats"] for item in document["contenders"] if item["name"] == winner.name)
    mean = np.mean([run["test_accuracy"] for run in runs])
    assert evidence["selection"]["confirmed_score"]["mean"] == pytest.approx(mean)
    assert f"score on fresh repeats | {100 * mean:.2f} % |" in (folder / "README.md").read_text()
    block = make_block(compared.seed, "compare", 0)
    assert_program_equals_weights(compared, folder, digits, facts, block, 3)


def test_any_contender_can_be_exported_by_name(compared: StudyConfig, place: Path) -> None:
    names = [item.name for item in pick_contenders(compared, list(read_records(compared.folder).values()))]
    for name in names:
        found = export(compared, place / "by name", Wanted(config=name)).winner
        selection = json.loads((place / "by name" / "evidence.json").read_text())["selection"]
        assert (selection["name"], selection["sweep_rank"] is None) == (name, name != names[0])
        choice = pick_winner(compared)
        assert (found.name, found.state, found.alias) == (
            (name, choice.state, choice.alias) if name == choice.name else (name, BY_HAND, None)
        )
    with pytest.raises(InputError, match=r"--config other: not in the comparison; known: crnn gru"):
        pick_winner(compared, Wanted(config="other"))


def test_an_export_is_replaced_as_a_whole_and_nothing_else_is(
    study: StudyConfig, nominated: Path, tmp_path: Path
) -> None:
    target = tmp_path / "export"
    shutil.copytree(nominated, target)
    (target / "README.md").write_text("old")
    export(study, target)
    assert sorted(path.name for path in target.iterdir()) == FILES
    assert (target / "README.md").read_text() != "old"
    (target / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"the folder contains other files \(notes\.txt\)"):
        export(study, target)
    assert (target / "notes.txt").read_text() == "mine"
    (target / "notes.txt").unlink()
    evidence = (target / "evidence.json").read_text()
    (target / "evidence.json").write_text(evidence.replace('"study": "tiny"', '"study": "other"'))
    with pytest.raises(InputError, match=r"the export of another study \(other\); choose another one"):
        export(study, target)
    assert '"study": "other"' in (target / "evidence.json").read_text()
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "me.jpg").write_text("mine")
    with pytest.raises(InputError, match=r"the folder contains other files \(me\.jpg\); choose an empty or new one"):
        export(study, foreign)
    assert [path.name for path in foreign.iterdir()] == ["me.jpg"]


def test_nothing_trained_is_nothing_to_export(make_study: MakeStudy) -> None:
    with pytest.raises(NothingToDoError, match="no completed trial to export; run `hybrid-search sweep` first"):
        pick_winner(make_study())
    with pytest.raises(InputError, match="there is no comparison yet; run `hybrid-search compare` first"):
        pick_winner(make_study(), Wanted(config="ecrnn/cnn"))
    with pytest.raises(InputError, match="--trial 0: expected a trial of the sweep, which has 0"):
        pick_winner(make_study(), Wanted(trial=0))


def test_lost_weights_are_said(study: StudyConfig, tmp_path: Path) -> None:
    copy = study.model_copy(update={"storage": str(tmp_path)})
    copy.folder.mkdir()
    shutil.copy(study.folder / "journal.jsonl", copy.folder)
    with pytest.raises(NothingToDoError, match="were deleted"):
        export(copy, tmp_path / "export")
    assert not (tmp_path / "export").exists()


@pytest.fixture
def picture(tmp_path: Path, digits: ImageData) -> Callable[..., Path]:
    """Save a test image in some form."""

    def make(name: str, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Path:
        image = Image.fromarray(np.array(digits.test.pixels[0])).resize(size, Image.Resampling.NEAREST)
        (image.quantize() if mode == "P" else image.convert(mode)).save(tmp_path / name)
        return tmp_path / name

    return make


def test_predict_agrees_with_the_program(nominated: Path, picture: Any, digits: ImageData) -> None:
    (prediction,) = predict(nominated, [picture("a.png")]).predictions
    pixels = torch.from_numpy(np.array(digits.test.pixels[:1]))
    found = {"classifier.json": ""}
    probabilities = torch.export.load(nominated / "model.pt2", extra_files=found).module()(pixels)[0]
    metadata, model = (
        json.loads(found["classifier.json"]),
        json.loads((nominated / "evidence.json").read_text())["model"],
    )
    assert metadata["classes"] == [str(number) for number in range(10)]
    assert (metadata["height"], metadata["width"], metadata["resized_to"]) == (8, 8, None)
    assert (metadata["mean"], metadata["std"]) == (model["mean"], model["std"])
    assert prediction.label == str(int(probabilities.argmax()))
    assert prediction.probability == pytest.approx(float(probabilities.max()))
    assert prediction.top[0] == (prediction.label, prediction.probability)
    assert [value for _, value in prediction.top] == sorted((value for _, value in prediction.top), reverse=True)


def test_predict_takes_gray_palette_alpha_odd_sizes_and_any_number(nominated: Path, picture: Any) -> None:
    plain = picture("a.png")
    paths = [
        plain,
        picture("gray.png", "L"),
        picture("alpha.png", "RGBA"),
        picture("palette.png", "P"),
        picture("large.png", "RGB", (64, 64)),
        picture("odd.jpg", "L", (13, 29)),
        plain,
    ]
    predictions = predict(nominated, paths, batch=3).predictions
    assert [item.path for item in predictions] == [str(path) for path in paths]
    for same in (*predictions[1:4], predictions[6]):
        assert same.label == predictions[0].label
        assert same.probability == pytest.approx(predictions[0].probability, abs=1e-5)


def test_predict_scales_16_bits_instead_of_clipping(nominated: Path, picture: Any, tmp_path: Path) -> None:
    eight = picture("a.png", "L")
    deep = np.asarray(Image.open(eight)).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    first, second = predict(nominated, [eight, tmp_path / "deep.png"]).predictions
    assert second.probability == pytest.approx(first.probability, abs=1e-5)


def test_predict_names_every_bad_image_and_classifies_the_others(nominated: Path, picture: Any, tmp_path: Path) -> None:
    good = picture("a.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture("b.png", "RGB", (64, 64)).read_bytes()[:120])
    text = tmp_path / "text.png"
    text.write_text("not an image")
    missing, pipe, empty = tmp_path / "missing.png", tmp_path / "pipe.png", tmp_path / "empty"
    os.mkfifo(pipe)
    empty.mkdir()
    found = predict(nominated, [cut, good, missing, text, pipe, empty, tmp_path / "no*.png", good], batch=1)
    assert [item.path for item in found.predictions] == [str(good)] * 2
    assert [item.path for item in found.faults] == [
        str(path) for path in (cut, missing, text, pipe, empty, tmp_path / "no*.png")
    ]
    words = (
        "not a readable image",
        "No such file",
        "not a readable image",
        "found a pipe",
        "found none",
        "no file matches",
    )
    for fault, part in zip(found.faults, words, strict=True):
        assert fault.reason.startswith(f"{fault.path}: ")
        assert part in fault.reason
        assert "\n" not in fault.reason


def test_predict_reads_folders_and_patterns(nominated: Path, picture: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("b/2.PNG", "a.png", "b/1.jpg", ".hidden/c.png", "b/.d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture("x.png").read_bytes())
    (folder / "notes.txt").write_text("mine")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nothing")
    inside = [str(folder / name) for name in ("a.png", "b/1.jpg", "b/2.PNG")]
    found = predict(nominated, [folder], batch=2)
    assert [item.path for item in found.predictions] == inside
    assert [Path(item.path).name for item in found.faults] == ["gone.png", "pipe.png", "loop"]
    found = predict(nominated, [folder / "*.png", folder / "b", folder / "**" / "1.jpg"])
    assert [item.path for item in found.predictions] == [inside[0], *inside[1:], inside[1]]
    (folder / "[x]*.png").write_bytes(picture("x.png").read_bytes())
    assert [item.path for item in predict(nominated, [folder / "[x]*.png"]).predictions] == [str(folder / "[x]*.png")]


def test_no_damage_to_an_image_is_a_traceback(nominated: Path, picture: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = picture("a.png", "RGB", (64, 64)).read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(8, len(content), 3):
            damaged[position] = rng.integers(256)
        path = tmp_path / "damaged.png"
        path.write_bytes(bytes(damaged))
        found = predict(nominated, [path])
        assert len(found.predictions) + len(found.faults) == 1


def test_a_folder_that_is_no_export_is_named(tmp_path: Path, nominated: Path) -> None:
    with pytest.raises(InputError, match="not an export"):
        predict(tmp_path, [])
    copy = tmp_path / "copy"
    shutil.copytree(nominated, copy)
    (copy / "model.safetensors").unlink()
    os.mkfifo(copy / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: expected a file, found a folder, pipe or device"):
        predict(copy, [])
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing; export again"):
        predict(copy, [])


def test_damaged_weights_are_named(tmp_path: Path, nominated: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(nominated, copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"model\.safetensors: damaged, the digest differs from evidence\.json"):
        predict(copy, [])


@pytest.fixture
def forged(tmp_path: Path, nominated: Path) -> Callable[..., Path]:
    """An export that somebody changed, digests included."""

    def make(content: bytes | None = None, **model: Any) -> Path:
        copy = tmp_path / "forged"
        shutil.copytree(nominated, copy)
        evidence = json.loads((copy / "evidence.json").read_text())
        for name, value in model.items():
            evidence["model"][name] = value
        if content is not None:
            (copy / "model.safetensors").write_bytes(content)
            evidence["weights"]["digest"] = hashlib.sha256(content).hexdigest()
        (copy / "evidence.json").write_text(json.dumps(evidence))
        return copy

    return make


def test_predict_executes_nothing_of_what_it_is_given(forged: Any, bomb: Any, picture: Any) -> None:
    """A program of torch.export can execute code when it is loaded, so predict leaves it alone."""
    folder = forged()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), folder / "model.pt2")
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "model.pt2", "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name, bomb.in_torch() if "sample_inputs" in name else content)
    assert len(predict(folder, [picture("a.png")]).predictions) == 1
    assert not bomb.went_off()
    torch.export.load(folder / "model.pt2")
    assert bomb.went_off()


@pytest.mark.parametrize("form", ["in_torch", "in_pickle"])
def test_predict_reads_numbers_only(forged: Any, bomb: Any, form: str) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors: damaged or not the weights of this model"):
        predict(forged(getattr(bomb, form)()), [])
    assert not bomb.went_off()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"settings": {"backbone": "cnn4"}}, "not an export"),
        ({"settings": "cnn4"}, "not an export"),
        ({"mean": [1e999, 0]}, "contradicts itself"),
        ({"mean": [float("nan"), 0, 0]}, "contradicts itself"),
        ({"std": [0, 1, 1]}, "contradicts itself"),
        ({"classes": ["a"]}, "contradicts itself"),
        ({"squeezed_to": 10**9}, "contradicts itself"),
        ({"height": 9}, None),
    ],
)
def test_forged_evidence_is_one_line(forged: Any, changed: dict[str, Any], words: str | None) -> None:
    folder = forged(**changed)
    if words is None:
        assert predict(folder, []).predictions == ()
        return
    with pytest.raises(InputError, match=words):
        predict(folder, [])


def test_other_settings_than_the_weights_have_are_one_line(forged: Any, nominated: Path) -> None:
    settings = json.loads((nominated / "evidence.json").read_text())["model"]["settings"]
    with pytest.raises(InputError, match=r"model\.safetensors: damaged or not the weights of this model"):
        predict(forged(settings={**settings, "nodes": settings["nodes"] + 1}), [])


def test_a_trial_and_the_highest_ranked_ones_can_be_exported(compared: StudyConfig, place: Path) -> None:
    records = [record for record in read_records(compared.folder).values() if record.kind == "trial"]
    ranked = best_first(records)
    assert [item.trial for item in pick_top(compared, 2)] == [record.number for record in ranked]
    for record in ranked:
        found = export(compared, place / "by number", Wanted(trial=record.number)).winner
        evidence = json.loads((place / "by number" / "evidence.json").read_text())
        assert evidence["weights"]["key"] == found.record.key == record.key
        assert evidence["weights"]["why"] == f"trial {record.number} of the sweep: one run"
        # The weights of a repeat stand for the study, never those that were chosen for their score.
        assert (found.alias, found.is_choice) == (None, False)
    assert found.state == BY_HAND
    assert "> Chosen by hand: no declared comparison includes it." in (place / "by number" / "README.md").read_text()
    with pytest.raises(InputError, match="--trial 7: expected a trial of the sweep, which has 2"):
        pick_winner(compared, Wanted(trial=7))
    with pytest.raises(InputError, match="--top 3: expected 1 to 2, the completed trials"):
        pick_top(compared, 3)
    lost = compared.folder / ranked[1].artifacts["weights-0"]
    content = lost.read_bytes()
    lost.unlink()
    try:
        with pytest.raises(InputError, match=r"--top 2: the weights of trial \d were deleted; .*; use --top 1"):
            pick_top(compared, 2)
        with pytest.raises(NothingToDoError, match="a sweep keeps those of its 3 highest-ranked trials"):
            export(compared, place / "never", Wanted(trial=ranked[1].number))
    finally:
        lost.write_bytes(content)
    assert not (place / "never").exists()


@pytest.mark.slow
def test_the_verb_says_what_was_written_and_what_was_not_registered(
    compared: StudyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = TrackingSection(uri="http://127.0.0.1:9")
    ((exported, registration),) = export_all(compared.model_copy(update={"tracking": tracking}), tmp_path / "winner")
    assert sorted(path.name for path in (tmp_path / "winner").iterdir()) == FILES
    lines = to_lines([(exported, registration)])
    assert lines[-2] == f"folder      {tmp_path / 'winner'}"
    assert lines[-1].startswith("registry    not registered: http://127.0.0.1:9: connection refused")
    assert "warning: not registered: http://127.0.0.1:9: connection refused" in capsys.readouterr().err
    row = to_rows([(exported, registration)], is_list=False)
    assert (row["registered"], row["alias"]) == (None, None)
    assert row["problem"].startswith("http://127.0.0.1:9")
    exported_all = export_all(compared, tmp_path / "top", top=2)
    assert sorted(path.name for path in (tmp_path / "top").iterdir()) == ["trial-0", "trial-1"]
    assert [row["registered"] for row in to_rows(exported_all, is_list=True)] == [None, None]
    assert to_lines(exported_all)[-1] == "registry    not registered: tracking is disabled"
    with pytest.raises(InputError, match="--config and --top: expected one of them, found 2"):
        export_all(compared, tmp_path / "x", config="a", top=1)


def test_the_config_and_the_card_name_absolute_places(
    study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = dataclasses.replace(study.data, root="images")
    tracking = TrackingSection(enabled=False, uri="sqlite:///own.db")
    moved = study.model_copy(update={"storage": "runs", "data": data, "tracking": tracking})
    config = to_config(moved, pick_winner(study))
    assert (config["storage"], config["data"]["root"]) == (str(tmp_path / "runs"), str(tmp_path / "images"))
    assert config["tracking"]["uri"] == f"sqlite:///{tmp_path}/own.db"
    for address in ("s3://bucket/x", "http://host:5000", "${PLACE}/runs", "file:///x"):
        assert to_config(moved.model_copy(update={"storage": address}), pick_winner(study))["storage"] == address


def test_the_folder_says_which_places_it_names(nominated: Path, study: StudyConfig) -> None:
    assert f"\n* `storage`: {study.storage}\n".replace("_", r"\_") in (nominated / "README.md").read_text()
    assert f"# storage: {study.storage}\n" in (nominated / "config.yaml").read_text()


def test_no_name_breaks_the_card(nominated: Path) -> None:
    evidence = json.loads((nominated / "evidence.json").read_text())
    names = [
        "a\nb",
        "<img src=x onerror=alert(1)>",
        "`x`",
        "a|b",
        "*b*",
        "\x1b[31mred",
        "[l](http://x)",
        "&amp;",
        "\udc80",
    ]
    evidence["model"]["classes"] = names
    evidence["name"] = "x\n# y <b>"
    evidence["notes"] = ["z <script>"]
    sentences = ["<i>one</i>\n\ntwo"]
    selection = Selection(
        name=evidence["name"],
        trial=0,
        sweep_rank=1,
        state=NOMINATED,
        selection_score=0.5,
        corrected_score=None,
        correction=None,
        correction_unknown="<b>",
        confirmed_score=None,
        confirmed_unknown="<b>",
        expected_highest=None,
    )
    card = to_card(
        evidence,
        study="s",
        data="digits",
        selection=selection,
        sentences=sentences,
        places={"data.root": "/a\n<b>|`c`"},
    )
    plain = (nominated / "README.md").read_text()
    assert not re.search(r"<(?!https?:)[a-z/]", card)
    assert "\x1b" not in card
    assert card.encode()
    assert re.findall(r"^#+ ", card, re.MULTILINE) == re.findall(r"^#+ ", plain, re.MULTILINE)
    assert (
        r"Classes: a\\nb, &lt;img src=x onerror=alert(1)&gt;, \`x\`, a&#124;b, \*b\*, \\x1b\[31mred, "
        r"\[l\](http://x), &amp;amp;, \\udc80."
    ) in card
    assert r"> &lt;i&gt;one&lt;/i&gt;\\n\\ntwo" in card
    assert r"* `data.root`: /a\\n&lt;b&gt;&#124;\`c\`" in card


def test_weights_that_are_not_finite_are_refused(forged: Any, nominated: Path, picture: Any) -> None:
    weights = load_file(nominated / "model.safetensors")
    name = next(name for name, values in weights.items() if values.is_floating_point())
    for value in (float("nan"), float("inf")):
        weights[name].flatten()[0] = value
        with pytest.raises(InputError, match=rf"{re.escape(name)} has values that are not finite"):
            predict(forged(save(weights)), [picture("a.png")])
        shutil.rmtree(picture("a.png").parent / "forged")


def test_an_answer_that_is_no_number_is_refused(forged: Any, nominated: Path, picture: Any) -> None:
    weights = {
        name: torch.full_like(values, 3e38) if values.is_floating_point() else values
        for name, values in load_file(nominated / "model.safetensors").items()
    }
    with pytest.raises(InputError, match="the probabilities for"):
        predict(forged(save(weights)), [picture("a.png")])


def test_damaged_weights_and_a_full_disk_are_told(
    study: StudyConfig, nominated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = pick_winner(study)
    weights = study.folder / winner.record.artifacts["weights-0"]
    content = weights.read_bytes()
    weights.write_bytes(content[:300])
    with pytest.raises(InputError, match=r"damaged or not .*; restore it from a copy"):
        export(study, tmp_path / "new")
    weights.unlink()
    with pytest.raises(NothingToDoError, match=r"the weights of .* were deleted; restore them"):
        export(study, tmp_path / "new")
    weights.write_bytes(content)
    target = tmp_path / "export"
    shutil.copytree(nominated, target)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(StorageFaultError, match="No space left on device"):
        export(study, target)
    assert sorted(path.name for path in target.iterdir()) == FILES
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".export")] == []
