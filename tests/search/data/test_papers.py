"""The data protocols of the papers: exactly their sizes, on stand-ins of the same counts and on the real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.data.datasets import DataConfig, Dataset, scan, select
from search.data.listing import Listing, Part, class_counts
from search.data.splits import SplitConfig, split

MakeFolder = Callable[..., Path]

CALTECH = {
    "Faces": 435,
    "Faces_easy": 435,
    "Leopards": 200,
    "Motorbikes": 798,
    "airplanes": 800,
    "bonsai": 128,
    "car_side": 123,
    "chandelier": 107,
    "ketch": 114,
    "watch": 239,
}
"""The ten largest classes in ASCII order."""
OTHERS = {"BACKGROUND_Google": 468, "accordion": 55, "hawksbill": 100, "wild_cat": 34}
TINY = ("n01443537", "n01629819", "n01641577", "n01644900", "n01698640", "n02124075")


def _tenth(dataset: Dataset, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the training and the validation part after Yilmaz's split."""
    rows = split(dataset.train.labels, SplitConfig(fraction=0.1), seed)
    return dataset.train.labels[rows[0]], dataset.train.labels[rows[1]]


def _check_caltech(dataset: Dataset) -> None:
    assert dataset.classes == tuple(CALTECH)
    train, val = _tenth(dataset)
    assert (len(train), len(val), len(dataset.test.labels)) == (2432, 271, 676)
    assert np.bincount(dataset.test.labels).tolist() == [87, 87, 40, 160, 160, 26, 24, 21, 23, 48]
    assert np.bincount(val).tolist() == [35, 35, 16, 64, 64, 10, 10, 9, 9, 19]
    assert np.bincount(train).tolist() == [313, 313, 144, 574, 576, 92, 89, 77, 82, 172]


def _check_tiny(dataset: Dataset) -> None:
    train, val = _tenth(dataset)
    assert (len(train), len(val), len(dataset.test.labels)) == (1800, 200, 500)
    assert np.bincount(dataset.test.labels).tolist() == [100] * 5
    assert [name.split("/")[:2] for name in dataset.test.ids[::100]] == [["train", wnid] for wnid in TINY[:5]]


@pytest.mark.parametrize("below", ["caltech101/101_ObjectCategories", "101_ObjectCategories", "."])
def test_caltech_stand_in(make_folder: MakeFolder, below: str) -> None:
    root = make_folder({f"{below}/{name}": number for name, number in (CALTECH | OTHERS).items()}, size=None)
    config = DataConfig(name="caltech101", root=str(root), top_classes=10, test_fraction=0.2)
    dataset = scan(config)
    assert dataset.left_out == {"BACKGROUND_Google": 468}
    _check_caltech(dataset)
    whole = scan(DataConfig(name="caltech101", root=str(root)))
    assert whole.classes == tuple(sorted({*CALTECH, *OTHERS} - {"BACKGROUND_Google"}))


def test_caltech_real(real_root: Path) -> None:
    dataset = scan(DataConfig(name="caltech101", root=str(real_root), top_classes=10, test_fraction=0.2, image_size=32))
    _check_caltech(dataset)
    assert dataset.left_out["BACKGROUND_Google"] > 0
    gray = dataset.train.read(int(np.flatnonzero(dataset.train.labels == tuple(CALTECH).index("car_side"))[0]))
    assert gray.shape == (32, 32, 3)


def test_tiny_imagenet_stand_in(make_folder: MakeFolder) -> None:
    root = make_folder({f"train/{wnid}/images": 500 for wnid in TINY} | {f"val/{wnid}": 1 for wnid in TINY}, size=None)
    _check_tiny(
        scan(DataConfig(name="tiny-imagenet", root=str(root), top_classes=5, test="held-out", test_fraction=0.2))
    )


def test_tiny_imagenet_real(real_root: Path) -> None:
    settings = {"name": "tiny-imagenet", "root": str(real_root), "image_size": 32}
    five = scan(DataConfig(**settings, top_classes=5, test="held-out", test_fraction=0.2))
    _check_tiny(five)
    assert five.classes[0] == "goldfish"
    whole = scan(DataConfig(**settings))
    assert np.bincount(whole.train.labels).tolist() == [500] * len(whole.classes)
    assert np.bincount(whole.test.labels).tolist() == [50] * len(whole.classes)
    assert whole.test.read(0).shape == (32, 32, 3)


def _listing(num_classes: int, num_train: int, num_test: int) -> Listing:
    """Make a source without files."""

    def part(name: str, number: int) -> Part:
        labels = np.arange(number) % num_classes
        return Part(ids=tuple(f"{name}/{i}" for i in range(number)), labels=labels, read=lambda _: np.zeros((1, 1, 3)))

    return Listing(
        classes=tuple(f"c{label:03d}" for label in range(num_classes)),
        train=part("train", num_train),
        test=part("test", num_test),
    )


def test_whole_tiny_imagenet_has_its_sizes() -> None:
    dataset = select(_listing(200, 100_000, 10_000), DataConfig(name="tiny-imagenet"))
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (100_000, 10_000)
    five = select(_listing(200, 100_000, 10_000), DataConfig(name="tiny-imagenet", top_classes=5))
    assert (five.classes, len(five.train.labels)) == (("c000", "c001", "c002", "c003", "c004"), 2500)


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (SplitConfig(method="random", fraction=0.3), (35_000, 15_000)),  # ECRNN, drawn anew for each run
        (SplitConfig(method="random", fraction=0.1), (45_000, 5_000)),  # Yilmaz
        (SplitConfig(method="none"), (50_000, 0)),  # Johnson
    ],
)
def test_cifar10_as_each_paper_split_it(config: SplitConfig, sizes: tuple[int, int]) -> None:
    dataset = select(_listing(10, 50_000, 10_000), DataConfig(name="cifar10"))
    assert tuple(map(len, split(dataset.train.labels, config, 3))) == sizes
    assert len(dataset.test.labels) == 10_000


def test_cifar10_real(real_root: Path) -> None:
    dataset = scan(DataConfig(name="cifar10", root=str(real_root)))
    assert set(class_counts(dataset.train.labels, dataset.classes).values()) == {5000}
    assert set(class_counts(dataset.test.labels, dataset.classes).values()) == {1000}
