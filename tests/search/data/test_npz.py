"""Own images in a NumPy archive."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.data.datasets import DataConfig, manifest, scan
from search.data.errors import LayoutError
from search.data.store import open_data

RNG = np.random.default_rng(0)


def images(number: int, *shape: int) -> Any:
    return RNG.integers(0, 256, (number, *(shape or (6, 6, 3))), dtype=np.uint8)


def save(folder: Path, **arrays: Any) -> DataConfig:
    np.savez(folder / "set.npz", **arrays)
    return DataConfig(name="npz", root=str(folder / "set.npz"))


LABELS = np.arange(6) % 2


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
    ],
)
def test_usual_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    train, test = images(6), images(4)
    config = save(tmp_path, **dict(zip(names, (train, LABELS, test, LABELS[:4, None]), strict=True)))
    data = open_data(config, tmp_path / "cache")
    assert np.array_equal(data.train.pixels, train)
    assert np.array_equal(data.test.pixels, test)
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert data.classes == ("0", "1")


def test_gray_images_names_of_classes_and_a_validation_part(tmp_path: Path) -> None:
    gray = images(6, 5, 7)
    config = save(
        tmp_path,
        train_images=gray,
        train_labels=LABELS,
        val_images=gray[:2] // 2,
        val_labels=LABELS[:2],
        test_images=images(2, 5, 7, 1),
        test_labels=LABELS[:2],
        classes=np.array(["cat", "dog"]),
    )
    data = open_data(config, tmp_path / "cache")
    assert data.classes == ("cat", "dog")
    assert data.num_val == 2
    assert np.array_equal(data.train.pixels[0], np.repeat(gray[0][..., None], 3, axis=-1))


def test_texts_are_classes_and_a_test_part_is_held_out(tmp_path: Path) -> None:
    config = save(tmp_path, images=images(9), labels=np.array(["b", "a", "c"] * 3))
    dataset = scan(config)
    assert dataset.classes == ("a", "b", "c")
    assert len(dataset.test.labels) == 3
    first = manifest(config)
    assert manifest(save(tmp_path, images=images(9), labels=np.array(["b", "a", "c"] * 3))) != first


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": images(2)}, "looked for arrays such as train_images"),
        (
            {"images": images(6).astype(np.float32), "labels": LABELS},
            "expected uint8 from 0 to 255, found float32",
        ),
        ({"images": images(6, 3, 5, 5), "labels": LABELS}, "found (6, 3, 5, 5); move the channels to the end"),
        ({"images": images(6, 5), "labels": LABELS}, "found (6, 5); one gray or RGB image per row"),
        ({"images": images(6), "labels": np.eye(6)}, "found (6, 6); write the position of the 1 of each row"),
        ({"images": images(6), "labels": LABELS / 2}, "expected whole numbers or texts, found float64"),
        ({"images": images(5), "labels": LABELS}, "expected as many labels as images, found 5 and 6"),
        (
            {"images": images(0), "labels": LABELS[:0]},
            "expected at least one image of at least one pixel, found the shape (0, 6, 6, 3)",
        ),
        (
            {"images": images(6), "labels": LABELS + 1, "classes": np.array(["cat", "dog"])},
            "labels: expected labels of the 2 classes, found 2; correct them",
        ),
        ({"images": images(6), "labels": np.int64(3)}, "expected one label per image, of shape (N,), found ()"),
        (
            {"images": images(6), "labels": LABELS, "classes": np.array([b"cat", b"dog"])},
            "classes: expected different texts, found |S3",
        ),
        (
            {"x_train": images(6), "y_train": LABELS, "x_test": images(2), "test_label": LABELS[:2]},
            "found test_label, x_test without a partner",
        ),
        (
            {"x_train": images(6), "y_train": LABELS, "x_test": images(2), "y_test": np.array([0, 5])},
            "y_test: expected labels of the 2 classes, found 5; correct them",
        ),
        (
            {"x_train": images(6), "y_train": LABELS, "x_test": images(2), "y_test": np.array([0, 0])},
            "y_test: no image of the class 1",
        ),
    ],
)
def test_wrong_arrays_are_one_line_each(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(LayoutError) as caught:
        scan(save(tmp_path, **arrays))
    assert words in str(caught.value)


def test_objects_wrong_headers_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="labels: cannot be read"):
        scan(save(tmp_path, images=images(2), labels=np.array([1, None], dtype=object)))
    header = str({"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 8, 8)}).encode().ljust(118) + b"\n"
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
        archive.writestr("labels.npy", b"")
    for name, words in (
        ("bomb.npz", "images: cannot be read (its header does not fit its content)"),
        (".", "expected a .npz file, found a folder"),
        ("none.npz", "expected a .npz file, found nothing"),
        ("text.npz", "not a .npz archive"),
    ):
        (tmp_path / "text.npz").write_text("hello")
        with pytest.raises(LayoutError) as caught:
            scan(DataConfig(name="npz", root=str(tmp_path / name)))
        assert words in str(caught.value)
