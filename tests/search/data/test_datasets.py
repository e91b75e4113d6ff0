"""Sources: layouts, counts, limits, and what is said when something is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.data import cifar10, cifar10_files
from search.data.datasets import DataConfig, default_cache_dir, fetch, manifest, scan
from search.data.errors import ClassMissingError, DataError, FetchError, LayoutError
from search.data.listing import class_counts

MakeFolder = Callable[..., Path]
PARTS = {"train/cat": 6, "train/dog": 6, "test/cat": 3, "test/dog": 2}


def test_config_travels() -> None:
    config = DataConfig(name="digits", limit=100)
    assert pickle.loads(pickle.dumps(config)) == config
    assert DataConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_impossible_settings_are_refused_all_at_once() -> None:
    with pytest.raises(DataError) as caught:
        DataConfig(name="cifar", image_size=0, limit=1, top_classes=1, test="val", test_fraction=1)
    settings = ["name", "image_size", "limit", "top_classes", "test", "test_fraction"]
    assert [fault.split(" ")[0] for fault in caught.value.faults] == settings
    assert "caltech101, tiny-imagenet, imagenet, folder, npz, got 'cifar'" in caught.value.faults[0]
    with pytest.raises(DataError, match="root must name the folder"):
        DataConfig(name="folder")


def test_digits_hold_out_a_stratified_third() -> None:
    dataset = scan(DataConfig(name="digits"))
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (1198, 599)
    assert not set(dataset.train.ids) & set(dataset.test.ids)
    counts = class_counts(dataset.test.labels, dataset.classes)
    assert all(57 <= count <= 62 for count in counts.values())
    image = dataset.train.read(0)
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    assert max(dataset.train.read(position).max() for position in range(20)) == 255


def test_folder_with_official_test_part(make_folder: MakeFolder) -> None:
    root = make_folder(PARTS)
    (root / "train/cat/notes.txt").write_text("not an image")
    (root / "train/.hidden").mkdir()
    dataset = scan(DataConfig(name="folder", root=str(root)))
    assert dataset.classes == ("cat", "dog")
    assert class_counts(dataset.train.labels, dataset.classes) == {"cat": 6, "dog": 6}
    assert class_counts(dataset.test.labels, dataset.classes) == {"cat": 3, "dog": 2}
    assert dataset.test.ids[-1] == "test/dog/001.png"
    assert dataset.num_ignored == 1


def test_one_folder_is_split_the_same_way_every_time(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 12, "dog/deeper": 8})
    config = DataConfig(name="folder", root=str(root), test_fraction=0.25)
    dataset = scan(config)
    assert class_counts(dataset.train.labels, dataset.classes) == {"cat": 9, "dog": 6}
    assert scan(config).test.ids == dataset.test.ids
    assert set(dataset.train.ids).isdisjoint(dataset.test.ids)


def test_limit_balances_classes_in_both_parts_and_keeps_them_apart(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 60, "dog": 30, "eel": 3})
    full = scan(DataConfig(name="folder", root=str(root)))
    limited = scan(DataConfig(name="folder", root=str(root), limit=22))
    assert class_counts(limited.train.labels, limited.classes) == {"cat": 10, "dog": 10, "eel": 2}
    assert len(limited.test.labels) == 11
    assert set(limited.train.ids) < set(full.train.ids)
    assert set(limited.test.ids) < set(full.test.ids)
    assert len(scan(DataConfig(name="folder", root=str(root), limit=10_000)).train.labels) == len(full.train.labels)
    with pytest.raises(DataError, match="limit must leave an image of each of the 3 classes in both parts, got 4"):
        scan(DataConfig(name="folder", root=str(root), limit=4))


def test_top_classes_are_the_most_frequent_and_ties_go_by_name(make_folder: MakeFolder) -> None:
    counts = {"train/ant": 2, "train/bee": 5, "train/cat": 3, "train/dog": 3, "train/eel": 4}
    counts |= {f"test/{name}": 1 + index for index, name in enumerate(("ant", "bee", "cat", "dog", "eel"))}
    root = str(make_folder(counts))
    dataset = scan(DataConfig(name="folder", root=root, top_classes=3))
    assert class_counts(dataset.train.labels, dataset.classes) == {"bee": 5, "cat": 3, "eel": 4}
    assert class_counts(dataset.test.labels, dataset.classes) == {"bee": 2, "cat": 3, "eel": 5}
    assert dataset.test.ids[2:5] == ("test/cat/000.png", "test/cat/001.png", "test/cat/002.png")
    assert scan(DataConfig(name="folder", root=root, top_classes=5)).classes == ("ant", "bee", "cat", "dog", "eel")
    with pytest.raises(DataError, match="top_classes must be at most the 5 classes of the data set, got 6"):
        scan(DataConfig(name="folder", root=root, top_classes=6))


def test_classes_by_name(make_folder: MakeFolder) -> None:
    root = str(
        make_folder({"train/ant": 2, "train/bee": 5, "train/cat": 3, "test/ant": 1, "test/bee": 2, "test/cat": 3})
    )
    config = DataConfig(name="folder", root=root, classes=("cat", "ant"))
    dataset = scan(config)
    assert class_counts(dataset.train.labels, dataset.classes) == {"ant": 2, "cat": 3}
    assert class_counts(dataset.test.labels, dataset.classes) == {"ant": 1, "cat": 3}
    assert DataConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert hash(config) == hash(DataConfig(name="folder", root=root, classes=["cat", "ant"]))
    with pytest.raises(DataError, match=r"data\.classes must be of ant, bee, cat, got eel"):
        scan(DataConfig(name="folder", root=root, classes=("cat", "eel")))
    for classes in (("cat",), ("cat", "cat")):
        with pytest.raises(DataError, match="classes must be at least 2 different ones, got cat"):
            DataConfig(name="folder", root=root, classes=classes)


def test_test_part_held_out_although_there_is_an_official_one(make_folder: MakeFolder) -> None:
    root = str(make_folder(PARTS))
    dataset = scan(DataConfig(name="folder", root=root, test="held-out"))
    assert class_counts(dataset.test.labels, dataset.classes) == {"cat": 2, "dog": 2}
    assert all(name.startswith("train/") for name in dataset.train.ids + dataset.test.ids)
    assert not set(dataset.train.ids) & set(dataset.test.ids)
    official = scan(DataConfig(name="folder", root=root, test="official"))
    assert official.test.ids == scan(DataConfig(name="folder", root=root)).test.ids
    with pytest.raises(DataError, match="test: digits has no official test part here; use held-out or auto"):
        scan(DataConfig(name="digits", test="official"))


def test_class_on_one_side_only(make_folder: MakeFolder) -> None:
    root = make_folder({**PARTS, "train/eel": 4, "test/fox": 1})
    with pytest.raises(LayoutError) as caught:
        scan(DataConfig(name="folder", root=str(root)))
    assert len(caught.value.faults) == 2
    assert "class eel has 4 images in train/ and no folder in test/" in caught.value.faults[0]
    assert "class fox has 1 images in test/ and no folder in train/" in caught.value.faults[1]


def test_class_too_small_to_hold_out(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 12, "dog": 1})
    with pytest.raises(
        ClassMissingError, match="class dog must be in both parts, got 1 image for training and 0 for the"
    ):
        scan(DataConfig(name="folder", root=str(root), test_fraction=0.2))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "images: looked for .*train/<class>/.*; it does not exist"),
        ({"train/cat": 1, "train/dog": 1, "val/cat": 1}, "val: at least 2 class folders are needed, got 1.*found cat/"),
        ({"cat": 3}, "at least 2 class folders are needed, got 1; .*found cat/"),
        ({"cat": 3, "dog": 0}, "images/dog: no image in this class folder .*it is empty"),
    ],
)
def test_wrong_layout_says_what_was_looked_for_and_found(
    make_folder: MakeFolder, counts: dict[str, int], words: str
) -> None:
    root = make_folder(counts)
    with pytest.raises(LayoutError, match=words):
        manifest(DataConfig(name="folder", root=str(root)))


def test_manifest_follows_content_not_place(make_folder: MakeFolder) -> None:
    first, second = make_folder(PARTS, name="first"), make_folder(PARTS, name="second")
    os.utime(second / "train/cat/000.png", (1, 1))
    key = manifest(DataConfig(name="folder", root=str(first)))
    assert key == manifest(DataConfig(name="folder", root=str(second)))
    assert key != manifest(DataConfig(name="folder", root=str(second), image_size=4))
    assert key != manifest(DataConfig(name="folder", root=str(second), limit=4))
    assert key != manifest(DataConfig(name="folder", root=str(second), top_classes=2))
    assert key != manifest(DataConfig(name="folder", root=str(second), test="held-out"))
    (second / "test/dog/001.png").rename(second / "test/dog/002.png")
    assert key != manifest(DataConfig(name="folder", root=str(second)))


def test_manifest_tells_images_of_equal_names_and_sizes_apart(make_folder: MakeFolder) -> None:
    from PIL import Image

    roots = [make_folder(PARTS, name=f"seed{seed}", seed=seed) for seed in (1, 2)]
    for path in [path for root in roots for path in root.rglob("*.png")]:
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    sizes = [sorted(path.stat().st_size for path in root.rglob("*.bmp")) for root in roots]
    assert sizes[0] == sizes[1]
    keys = [manifest(DataConfig(name="folder", root=str(root))) for root in roots]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("below", ["", "cifar10"])
def test_cifar10_copy_in_class_folders(make_folder: MakeFolder, below: str) -> None:
    root = make_folder({f"{below}/{name}".lstrip("/"): number for name, number in PARTS.items()})
    dataset = scan(DataConfig(name="cifar10", root=str(root)))
    assert len(dataset.train.labels) == 12
    assert dataset.train.ids[0] == "train/cat/000.png"


def test_cifar10_missing_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"looked for cifar-10-batches-py/, .*it is empty; .*data\.download=true"):
        manifest(DataConfig(name="cifar10", root=str(tmp_path)))


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write files in the official form, with the digests that are checked replaced by theirs."""
    folder = tmp_path / cifar10_files.OFFICIAL
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(name: str, content: dict[str, object]) -> dict[str, str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return {name: hashlib.md5(data, usedforsecurity=False).hexdigest()}

    def batch() -> dict[str, object]:
        return {"data": rng.integers(0, 256, (20, 3072), dtype=np.uint8), "labels": [*range(10)] * 2}

    train = [write(f"data_batch_{number}", batch()) for number in range(1, 6)]
    monkeypatch.setattr(cifar10_files, "TRAIN", {name: digest for one in train for name, digest in one.items()})
    monkeypatch.setattr(cifar10_files, "TEST", write("test_batch", batch()))
    names = {"label_names": [f"class{number}" for number in range(10)]}
    monkeypatch.setattr(cifar10_files, "META", write("batches.meta", names))
    return tmp_path


def test_cifar10_official_files(official: Path) -> None:
    config = DataConfig(name="cifar10", root=str(official))
    dataset = scan(config)
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (100, 20)
    assert dataset.classes[3] == "class3"
    planes = pickle.loads((official / "cifar-10-batches-py/data_batch_1").read_bytes())["data"]
    assert np.array_equal(dataset.train.read(1), planes[1].reshape(3, 32, 32).transpose(1, 2, 0))
    fetch(config)  # there already: no network is touched
    assert scan(DataConfig(name="cifar10", root=str(official), image_size=8)).train.read(0).shape == (8, 8, 3)


def test_cifar10_damaged_official_file(official: Path) -> None:
    with (official / "cifar-10-batches-py/data_batch_2").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(LayoutError, match="incomplete or damaged"):
        scan(DataConfig(name="cifar10", root=str(official)))


def test_cifar10_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = dataclasses.replace(cifar10.ARCHIVE, url="http://127.0.0.1:9/cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar10, "ARCHIVE", archive)
    with pytest.raises(FetchError, match=r"could not be downloaded into .*refused.*; without a network, copy"):
        fetch(DataConfig(name="cifar10", root=str(tmp_path)))


def test_default_root_and_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", "/somewhere")
    assert default_cache_dir() == Path("/somewhere")
    assert DataConfig(name="cifar10").folder == Path("/somewhere/downloads")
    monkeypatch.delenv("HYBRID_SEARCH_CACHE")
    assert default_cache_dir() == Path.home() / ".cache/hybrid-search"
