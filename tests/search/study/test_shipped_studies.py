"""The study files that carry the papers' recipes: they load, and every point they name is a model on their data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import spaces
from search.study.bind import check_points, check_sweep, complete_point, load_facts, why_not
from search.study.claims import families_of, too_few_repeats
from search.study.config import StudyConfig
from search.study.load import load_study
from search.study.settings import setting_faults

FOLDER = Path(spaces.__file__).parent / "studies"
NAMES = {path.stem for path in FOLDER.glob("*.yaml")}
TINY = [f"train/n{number:02}/images" for number in range(6)] + [f"val/n{number:02}/images" for number in range(6)]
STAND_INS: dict[str, tuple[list[str], int, tuple[int, int]]] = {
    "cifar10": ([f"{part}/{label}" for part in ("train", "test") for label in range(10)], 20, (32, 32)),
    "caltech101": ([f"101_ObjectCategories/{name}" for name in ("Faces", "Leopards", *"abcdefghij")], 13, (40, 30)),
    "tiny-imagenet": (TINY, 13, (64, 64)),
    "imagenet": ([f"{part}/n{number:02}" for part in ("train", "val") for number in range(3)], 60, (20, 16)),
}
"""Data set -> folders, images in each, their width and height."""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            folders, number, (width, height) = STAND_INS[name]
            pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            for folder in folders:
                (made[name] / folder).mkdir(parents=True)
                for position in range(number):
                    Image.fromarray(pixels).save(made[name] / folder / f"{position:03}.png")
        return made[name]

    return make


def load(name: str, *overrides: str) -> StudyConfig:
    return load_study(FOLDER / f"{name}.yaml", overrides)


def test_every_paper_has_its_studies() -> None:
    assert {
        *("demo", "ecrnn-cifar10", "yin-cifar10", "johnson-cifar10", "johnson-imagenet"),
        *("yilmaz-cifar10", "yilmaz-caltech101", "yilmaz-tiny5", "union-digits"),
    } == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_its_points_are_models_on_its_data(name: str, stand_in: Any) -> None:
    study = load(name)
    assert study.name == name
    if study.data.name in STAND_INS:
        study = load(name, f"data.root={stand_in(study.data.name)}")
    facts = load_facts(study)
    check_sweep(study, facts)
    check_points(study, facts)
    points = [complete_point(study, like) for like in (*study.search.enqueue, *study.compare.baselines)]
    assert points
    assert all(why_not(study, point, facts) is None for point in points)


RECIPES = {
    "ecrnn-cifar10": ("random", 0.3, 128, 0.001, 30, "none", "global", 1, 0.0, 0.0),
    "yin-cifar10": ("stratified", 0.1, 32, 0.001, 50, "none", "unit", 1, 0.0001, 1.0),
    "johnson-cifar10": ("stratified", 0.1, 128, 0.001, 100, "none", "channel", 1, 0.0, 0.0),
    "yilmaz-cifar10": ("stratified", 0.1, 16, 0.0001, 30, "hvflip", "half", 5, 0.0, 0.0),
    "yilmaz-caltech101": ("stratified", 0.1, 16, 0.0001, 30, "hvflip", "half", 5, 0.0, 0.0),
    "yilmaz-tiny5": ("stratified", 0.1, 16, 0.0001, 30, "hvflip", "half", 5, 0.0, 0.0),
}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes(name: str) -> None:
    study = load(name)
    train, split = study.train, study.split
    assert (train.optimizer, train.schedule, train.weight_decay, train.label_smoothing) == ("adam", "constant", 0, 0)
    found = (split.method, split.fraction, train.batch, train.lr, train.epochs, train.augment, train.normalise)
    assert (*found, train.validate_every, train.rnn_l2, train.clip) == RECIPES[name]


PAPERS_CLAIMS = {
    "ecrnn-cifar10": (1, 4),
    "johnson-cifar10": (4, 5),
    "johnson-imagenet": (2, 3),
    "yilmaz-cifar10": (4, 4),
    "yilmaz-caltech101": (4, 4),
    "yilmaz-tiny5": (4, 4),
}
"""Study -> comparisons that are the paper's own, and those of the sweep's nominees."""


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_papers_own_claims_are_a_family_beside_the_sweeps(name: str) -> None:
    section = load(name).compare
    families = families_of(section)
    assert not too_few_repeats(section, section.repeats)
    if name not in PAPERS_CLAIMS:
        assert [family.name for family in families] == [""]
        return
    paper, sweep = families
    assert (len(paper.pairs), len(sweep.pairs)) == PAPERS_CLAIMS[name]
    assert not any(slot.startswith("finalist") for pair in paper.pairs for slot in pair)
    # The sweep's family is what every nominee must beat: all baselines.
    assert set(sweep.pairs) == {
        (f"finalist-{finalist}", f"baseline-{baseline}")
        for finalist in range(1, section.finalists + 1)
        for baseline in range(1, len(section.baselines) + 1)
    }


def test_caltech_and_tiny_are_cut_as_the_paper_cut_them() -> None:
    caltech, tiny = load("yilmaz-caltech101").data, load("yilmaz-tiny5").data
    assert (caltech.image_size, caltech.top_classes, caltech.test, caltech.test_fraction) == (32, 10, "held-out", 0.2)
    assert (tiny.image_size, tiny.top_classes, tiny.test, tiny.test_fraction) == (32, 5, "held-out", 0.2)


def named_alternatives() -> list[tuple[str, str, str]]:
    found = []
    for name in sorted(NAMES):
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        for key, values in re.findall(r"--set ([\w.]+)=([\w.]+(?: \| [\w.]+)*)", text):
            found += [(name, key, value.rstrip(".")) for value in values.split(" | ")]
    return found


@pytest.mark.parametrize(("name", "key", "value"), named_alternatives())
def test_every_alternative_named_in_a_comment_is_another_study(name: str, key: str, value: str) -> None:
    changed = load(name, f"{key}={value}")
    assert changed != load(name)
    if key.startswith("model."):  # not a word that no model knows
        assert not list(setting_faults("model", changed.model, recipe=False))


def test_alternatives_are_named() -> None:
    assert len(named_alternatives()) > 50
