"""Caltech-101 and Tiny ImageNet: layouts, readable names, downloads, and what is said when something is wrong."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.commands.data import describe
from search.data import caltech101
from search.data.datasets import DataConfig, fetch, manifest, scan
from search.data.errors import FetchError, LayoutError
from search.data.fetching import Archive
from search.data.listing import class_counts
from search.data.store import open_data
from search.data.words import read_words

MakeFolder = Callable[..., Path]
CALTECH = {"101_ObjectCategories/Faces": 4, "101_ObjectCategories/Leopards": 5}


@pytest.fixture
def tiny(make_folder: MakeFolder) -> Path:
    """Tiny ImageNet as its archive has it: the validation images in one folder, out of order in their list."""
    root = make_folder({"train/n02/images": 4, "train/n01/images": 3, "val/images": 4})
    (root / "train/n01/n01_boxes.txt").touch()
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tlemon\nn03\tplunger\n")
    (root / "val/val_annotations.txt").write_text(
        "001.png\tn01\t0\t1\t52\t48\n000.png\tn02\t1\t2\t3\t4\n002.png\tn01\t0\t0\t9\t9\n"
    )
    return root


def test_caltech_leaves_the_background_out_and_says_so(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({**CALTECH, "101_ObjectCategories/BACKGROUND_Google": 2})
    config = DataConfig(name="caltech101", root=str(root))
    found = describe(config, cache)
    assert found["classes"] == ["Faces", "Leopards"]
    assert found["left_out"] == {"BACKGROUND_Google": 2}
    assert sum(found["num_images"].values()) == 9
    assert not found["streamed"]
    (root / "101_ObjectCategories/BACKGROUND_Google/000.png").unlink()
    assert manifest(config) == manifest(DataConfig(name="caltech101", root=str(root / "101_ObjectCategories")))


@pytest.mark.parametrize("outer", ["caltech101", "caltech-101", "Caltech_101"])
def test_caltech_in_a_folder_of_any_of_its_names(make_folder: MakeFolder, outer: str) -> None:
    root = make_folder({f"{outer}/{name}": number for name, number in CALTECH.items()}, size=None)
    assert scan(DataConfig(name="caltech101", root=str(root))).classes == ("Faces", "Leopards")
    inner = make_folder({f"{outer}/Faces": 3, f"{outer}/Leopards": 3}, size=None, name="inner")
    assert scan(DataConfig(name="caltech101", root=str(inner))).classes == ("Faces", "Leopards")


def test_caltech_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    (tmp_path / "caltech-101").mkdir()
    (tmp_path / "caltech-101/101_ObjectCategories.tar.gz").touch()
    with pytest.raises(LayoutError, match=r"unpack .*caltech-101/101_ObjectCategories\.tar\.gz where it is"):
        scan(DataConfig(name="caltech101", root=str(tmp_path)))


def test_caltech_is_squeezed_into_one_size(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder(CALTECH, size=(12, 9))
    Image.new("L", (5, 30), 77).save(root / "101_ObjectCategories/Faces/000.png")
    data = open_data(DataConfig(name="caltech101", root=str(root), image_size=8, test_fraction=0.5), cache)
    assert data.image_size == (8, 8)
    pixels = np.concatenate([data.train.pixels, data.test.pixels])
    assert (pixels == 77).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {"cats": 1, "dogs": 1},
            r"looked for caltech101/101_ObjectCategories/<class>/, .*found cats/, dogs/; .*download",
        ),
        ({"101_ObjectCategories/Faces": 2}, "101_ObjectCategories: at least 2 class folders are needed, got 1"),
        ({"Faces": 2, "Leopards": 0}, r"Leopards: no image in this class folder"),
    ],
)
def test_caltech_wrong_layout(make_folder: MakeFolder, counts: dict[str, int], words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        scan(DataConfig(name="caltech101", root=str(make_folder(counts, size=None))))


def test_caltech_is_fetched_once_and_never_by_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, outer, root = tmp_path / "inner.tar.gz", tmp_path / "caltech-101.zip", tmp_path / "root"
    Image.new("RGB", (4, 4)).save(tmp_path / "image.jpg")
    with tarfile.open(inner, "w:gz") as archive:
        for name in ("Faces/1", "Faces/2", "Leopards/1", "Leopards/2"):
            archive.add(tmp_path / "image.jpg", f"101_ObjectCategories/{name}.jpg")
    with zipfile.ZipFile(outer, "w") as packed:
        packed.write(inner, caltech101.INNER)
        packed.writestr("caltech-101/Annotations.tar", "of no use")
    digest = hashlib.md5(outer.read_bytes(), usedforsecurity=False).hexdigest()
    good = Archive(url=outer.as_uri(), algorithm="md5", digest=digest)
    config = DataConfig(name="caltech101", root=str(root), download=True)
    for bad in (replace(good, digest="0" * 32), replace(good, url=f"{outer.as_uri()}.none")):
        monkeypatch.setattr(caltech101, "ARCHIVE", bad)
        with pytest.raises(
            FetchError, match=r"caltech101: could not be downloaded into .*a network, unpack caltech-101"
        ):
            fetch(config)
        assert {path.name for path in root.iterdir()} == {".fetch.lock"}
    monkeypatch.setattr(caltech101, "ARCHIVE", good)
    fetch(config)
    outer.unlink()
    fetch(config)
    assert {path.name for path in root.iterdir()} == {"caltech101", ".fetch.lock"}
    assert scan(config).classes == ("Faces", "Leopards")


@pytest.mark.parametrize("below", ["", "tiny-imagenet-200"])
def test_tiny_imagenet_with_its_official_test_part(tiny: Path, below: str, tmp_path: Path) -> None:
    root = tiny
    if below:
        tiny.rename(tmp_path / below)
        root = tmp_path
    dataset = scan(DataConfig(name="tiny-imagenet", root=str(root)))
    assert dataset.classes == ("goldfish", "lemon")
    assert class_counts(dataset.train.labels, dataset.classes) == {"goldfish": 3, "lemon": 4}
    assert dataset.test.ids == ("val/images/001.png", "val/images/002.png", "val/images/000.png")
    assert dataset.test.labels.tolist() == [0, 0, 1]
    assert dataset.num_ignored == 2  # a list of boxes, and an image that no class is given for


def test_tiny_imagenet_sorted_into_folders(make_folder: MakeFolder) -> None:
    root = make_folder({"train/n01/images": 2, "train/n02/images": 2, "val/n01/images": 1, "val/n02": 1})
    dataset = scan(DataConfig(name="tiny-imagenet", root=str(root)))
    assert dataset.classes == ("n01", "n02")
    assert dataset.test.ids == ("val/n01/images/000.png", "val/n02/000.png")


@pytest.mark.parametrize("how", ["beside", "with images/", "inside images/"])
def test_tiny_imagenet_sorted_by_a_script_that_leaves_the_list_behind(tiny: Path, how: str) -> None:
    val = tiny / "val"
    inner = val / "images" if how == "inside images/" else val
    for line in (val / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split()[:2]
        (inner / wnid).mkdir(exist_ok=True)
        (val / "images" / name).rename(inner / wnid / name)
    (val / "images/003.png").unlink()  # an image that no class is given for
    if how == "beside":
        (val / "images").rmdir()
    dataset = scan(DataConfig(name="tiny-imagenet", root=str(tiny)))
    assert class_counts(dataset.test.labels, dataset.classes) == {"goldfish": 2, "lemon": 1}


def test_tiny_imagenet_sorted_by_half_is_refused(tiny: Path) -> None:
    (tiny / "val/n01").mkdir()
    (tiny / "val/images/000.png").rename(tiny / "val/n01/000.png")
    with pytest.raises(LayoutError, match=r"there are images both in images/ and in class folders \(1\)"):
        scan(DataConfig(name="tiny-imagenet", root=str(tiny)))


def test_classes_of_tiny_imagenet_are_named_by_their_words(tiny: Path) -> None:
    (tiny / "train/n03/images").mkdir(parents=True)
    with pytest.raises(LayoutError, match="n03: no image in this class folder"):
        scan(DataConfig(name="tiny-imagenet", root=str(tiny)))
    config = DataConfig(name="tiny-imagenet", root=str(tiny), classes=("lemon", "goldfish"))
    assert scan(config).classes == ("goldfish", "lemon")


def test_labels_and_words_of_tiny_imagenet_are_part_of_its_manifest(tiny: Path) -> None:
    config = DataConfig(name="tiny-imagenet", root=str(tiny))
    annotations = tiny / "val/val_annotations.txt"
    annotations.write_text("000.png n01\n001.png n01\n002.png n02\n")
    keys = {manifest(config)}
    annotations.write_text("000.png n01\n001.png n02\n002.png n02\n")
    keys.add(manifest(config))
    (tiny / "words.txt").write_text("n01\tcarp\nn02\tlemon\n")
    keys.add(manifest(config))
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("train", r"looked for tiny-imagenet-200/ or itself .*; found .*; download http://cs231n\.stanford\.edu/tiny"),
        ("val/images", "val: looked for images/ beside val_annotations"),
        ("val/images/001.png", r"1 images of val_annotations\.txt are missing, 001\.png the first"),
        ("n02", "class n02 has 4 images in train/ and no folder in val/"),
        ("n99", "class n99 has 1 images in val/ and no folder in train/"),
    ],
)
def test_tiny_imagenet_wrong_layout(tiny: Path, damage: str, words: str) -> None:
    annotations = tiny / "val/val_annotations.txt"
    if damage == "n02":
        annotations.write_text(annotations.read_text().replace("n02", "n01"))
    elif damage == "n99":
        annotations.write_text(annotations.read_text() + "003.png n99 1 2 3 4\n")
    else:
        (tiny / damage).rename(tiny / "elsewhere")
    with pytest.raises(LayoutError, match=words):
        scan(DataConfig(name="tiny-imagenet", root=str(tiny)))


def test_tiny_imagenet_is_not_fetched_but_how_to_get_it_is_said(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"tiny-imagenet: cannot be downloaded automatically; download http://cs231n"):
        fetch(DataConfig(name="tiny-imagenet", root=str(tmp_path / "none"), download=True))
    fetch(DataConfig(name="tiny-imagenet", root=str(tiny), download=True))


def test_words_of_the_same_sound_keep_their_identifiers(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n1\tcrane\nn2\tcrane, hoist\nn3\tlemon\nn5\t\n")
    wnids = ("n1", "n2", "n3", "n4", "n5")
    words = read_words([tmp_path / "absent.txt", tmp_path / "words.txt"], wnids)
    assert words == {"n1": "crane (n1)", "n2": "crane (n2)", "n3": "lemon", "n4": "n4", "n5": "n5"}
