"""Parts and classes of image folders: recognised by any usual name, or refused with a way out; never guessed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from search.commands.data import describe
from search.data.datasets import DataConfig, Dataset, scan
from search.data.errors import DataError, LayoutError
from search.data.layout import role_of, roles_of

MakeFolder = Callable[..., Path]


@pytest.fixture
def make(make_folder: MakeFolder) -> MakeFolder:
    """Write class folders, cat and dog in each of the given folders: `make({"train": 6, "test": 3})`."""

    def make_parts(parts: Mapping[str, int], **single: int) -> Path:
        counts = {f"{part}/{name}": number for part, number in parts.items() for name in ("cat", "dog")}
        return make_folder({**counts, **single})

    return make_parts


def _scan(root: Path, **settings: object) -> Dataset:
    return scan(DataConfig(name="folder", root=str(root), **settings))  # type: ignore[arg-type]


def _numbers(dataset: Dataset) -> tuple[int, int | None, int]:
    return len(dataset.train.ids), None if dataset.val is None else len(dataset.val.ids), len(dataset.test.ids)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("seg_train", "seg_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_set", "test-set"),
        ("trainset", "testset"),
        ("images_train", "images_test"),
        ("Training Images", "Test Images"),
        ("flowers-train", "flowers-test"),
        ("training_set/training_set", "test_set/test_set"),
        ("train2017", "test2017"),
        ("images/train", "images/test"),
        ("archive/inner/train", "archive/inner/test"),
    ],
)
def test_training_and_test_parts_by_any_usual_name(make: MakeFolder, train: str, test: str) -> None:
    dataset = _scan(make({train: 6, test: 3}))
    assert dataset.classes == ("cat", "dog")
    assert _numbers(dataset) == (12, None, 6)


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev", "val_images", "val2017"])
def test_a_validation_part_of_the_data_sets_own(make: MakeFolder, val: str) -> None:
    dataset = _scan(make({"train": 6, val: 2, "test": 3}))
    assert _numbers(dataset) == (12, 4, 6)
    assert dataset.val is not None
    assert dataset.val.ids[0] == f"{val}/cat/000.png"
    assert f"validation part: {val}/, 4 images, the same for every repeat" in dataset.notes[0]


@pytest.mark.parametrize(("parts", "val"), [({"train": 6}, None), ({"train": 6, "val": 2}, 4)])
def test_without_a_test_part_one_is_held_out_and_it_is_said(
    make: MakeFolder, parts: dict[str, int], val: int | None
) -> None:
    dataset = _scan(make(parts))
    assert _numbers(dataset) == (8, val, 4)
    assert all(name.startswith("train/") for name in dataset.test.ids)
    assert "test part: 33.3 % of the images of train/, held out, as there is no test part" in dataset.notes


def test_describe_counts_three_parts(make_folder: MakeFolder, cache: Path) -> None:
    counts = {f"{part}/{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}
    found = describe(DataConfig(name="folder", root=str(make_folder(counts))), cache)
    assert found["num_images"] == {"train": 4, "val": 4, "test": 4}
    assert found["images_per_class"]["val"] == {"cat": 2, "dog": 2}


def test_limit_keeps_the_same_share_of_the_validation_part(make: MakeFolder) -> None:
    root = make({"train": 20, "val": 10, "test": 10})
    assert _numbers(_scan(root, limit=20)) == (20, 10, 10)
    with pytest.raises(DataError, match="the 2 classes in every part, got 2, which leaves 1 validation images"):
        _scan(root, limit=2)


REFUSED = [
    ({"test": 6}, r"found test/ and no training part; put .*set data\.root to .*images/test to hold out a test part"),
    ({"val": 3, "test": 6}, "found test/, val/ and no training part"),
    ({"fold1": 3, "fold2": 3, "fold3": 3}, r"fold1/, fold2/, fold3/ look like folds or parts .*list them in data\.cl"),
    ({"fold_0": 3, "fold_1": 3}, "look like folds"),
    ({"cv1": 3, "cv2": 3}, "look like folds"),
    ({"split1": 3, "split2": 3}, "look like folds"),
    ({"A": 3, "B": 3}, r"A/, B/ all contain the same folders \(cat/, dog/\), so they look like parts"),
    ({"entrenamiento": 3, "prueba": 3}, "look like parts, not classes; name them train/, val/ and test/"),
    ({"train": 3, "Train": 3, "test": 2}, "Train/, train/ all look like the training part; keep one"),
    ({"train_1": 3, "train_2": 3}, "train_1/, train_2/ all look like the training part"),
    ({"train": 3, "val": 2, "validation": 2}, "val/, validation/ all look like the validation part"),
    ({"train": 3, "test": 2, "eval": 2}, "not clear which part eval/ should be; rename it to val/ or test/"),
    ({"train": 3, "test": 2, "holdout": 2}, "not clear which part holdout/ should be"),
    ({"train": 3, "holdout": 2}, "not clear which part holdout/ should be; rename it to val/ or test/"),
    ({"flowers": 3}, r"at least 2 class folders are needed, got 1, flowers/; it contains cat/, dog/: .*images/flowers"),
]


@pytest.mark.parametrize(("parts", "words"), REFUSED)
def test_what_names_leave_open_is_refused_with_a_way_out(make: MakeFolder, parts: dict[str, int], words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        _scan(make(parts))


def test_folds_without_classes_are_no_classes(make_folder: MakeFolder) -> None:
    root = make_folder({"fold1": 3, "fold2": 3, "fold3": 3})
    with pytest.raises(LayoutError, match="look like folds"):
        _scan(root)


@pytest.mark.parametrize("names", [("bus", "car", "train"), ("bus", "test", "train")])
def test_a_class_called_as_a_part_is_asked_for_and_can_be_named(
    make_folder: MakeFolder, names: tuple[str, ...]
) -> None:
    root = make_folder(dict.fromkeys(names, 6))
    with pytest.raises(
        LayoutError,
        match=(r"(has the name of a part|have names of parts) of a data set, next to .*list all classes in data\."),
    ):
        _scan(root)
    assert _scan(root, classes=names).classes == names


def test_parts_inside_the_classes_are_refused(make_folder: MakeFolder) -> None:
    both = make_folder({"cat/train": 3, "cat/test": 3, "dog/train": 3, "dog/test": 3}, name="both")
    with pytest.raises(LayoutError, match=r"each contain test/, train/; the parts must be outside"):
        _scan(both)
    one = make_folder({"cat/train": 3, "cat/test": 3, "dog": 3}, name="one")
    with pytest.raises(LayoutError, match=r"images lie inside the class folders \(cat\), where they would be mixed"):
        _scan(one)


def test_folders_taken_together_and_folders_left_out_are_said(make: MakeFolder, make_folder: MakeFolder) -> None:
    root = make_folder({"animal/cat": 3, "animal/dog": 3, "vehicle": 3}, name="deep")
    assert _scan(root).notes == (
        "1 class folder with images in several subfolders, which are merged: animal of 2 folders",
    )
    root = make({"train": 6, "test": 3}, pred=4)
    dataset = _scan(root)
    assert dataset.left_out == {"pred/": 4}
    assert dataset.notes == ("left out: pred/, 4 images",)


def test_what_systems_leave_behind_is_no_class(make: MakeFolder) -> None:
    root = make({"set/train": 6, "set/test": 3}, **{"__MACOSX/set": 2, ".hidden": 2, "set/train/.DS": 1})
    assert _scan(root).classes == ("cat", "dog")


def test_test_images_without_classes_can_be_left_out(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 6, "train/dog": 6, "test": 5})
    with pytest.raises(LayoutError) as caught:
        _scan(root)
    assert len(caught.value.faults) == 1
    assert "5 images of it without a class folder: " in caught.value.faults[0]
    assert "set data.test to held-out" in caught.value.faults[0]
    assert _numbers(_scan(root, test="held-out")) == (8, None, 4)


def test_a_part_that_is_another_ones_folder_or_leads_nowhere(make: MakeFolder) -> None:
    root = make({"train": 6})
    (root / "test").symlink_to("train")
    with pytest.raises(LayoutError, match="test/ and train/ are the same folder"):
        _scan(root)
    (root / "test").unlink()
    (root / "test").symlink_to("/nowhere/at/all")
    with pytest.raises(LayoutError, match="the link test is broken"):
        _scan(root)


def test_an_empty_test_part_is_not_replaced(make: MakeFolder) -> None:
    root = make({"train": 6})
    (root / "test").mkdir()
    with pytest.raises(LayoutError, match=r"test: at least 2 class folders are needed, got 0.*it is empty"):
        _scan(root)


def test_tiny_imagenet_is_recognised_as_such(make_folder: MakeFolder) -> None:
    root = make_folder({"train/n01/images": 3, "train/n02/images": 3, "val/images": 3})
    (root / "val/val_annotations.txt").touch()
    with pytest.raises(LayoutError, match=r"set data\.name to tiny-imagenet"):
        _scan(root)


@pytest.mark.parametrize(
    "name", ["training_day", "bullet train", "contest", "valid-ation-x", "supertrain", "поезд_train"]
)
def test_names_that_mean_no_part(name: str) -> None:
    assert role_of(name) is None


def test_names_that_differ_in_the_part_alone() -> None:
    assert roles_of(["cats-train", "dogs_test"]) == {}
    assert roles_of(["cats-train", "cats_test"]) == {"cats-train": "train", "cats_test": "test"}


def _all_faults(root: Path) -> None:
    (root / "train/cat/x.png").symlink_to("/nowhere/x.png")
    (root / "test/cat/y.png").symlink_to("/nowhere/y.png")
    (root / "train/gnu").symlink_to("/nowhere")
    (root / "train/dog/up").symlink_to("..")
    (root / "train/dog/self.png").symlink_to("self.png")
    os.mkfifo(root / "test/dog/pipe.png")
    (root / "train/dog/zero.png").symlink_to("/dev/zero")
    (root / "train/eel").mkdir()
    (root / "test/dog/broken.png").write_bytes(b"not an image")
    (root / "train/cat/empty.jpg").touch()


def test_everything_that_cannot_be_read_is_named_at_once(make: MakeFolder) -> None:
    root = make({"train": 6, "test": 3}, **{"train/fox": 2})
    _all_faults(root)
    with pytest.raises(LayoutError) as caught:
        _scan(root)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 6
    assert "2 images are not readable: " in faults
    assert f"{root}/test/dog/broken.png (" in faults
    assert f"{root}/train/cat/empty.jpg (" in faults
    assert "train/eel: no image in this class folder" in faults
    assert "3 entries are broken links" in faults
    assert f"{root}/train/gnu" in faults
    assert "2 entries are links to themselves or to folders above them" in faults
    assert f"{root}/train/dog/up)" in faults
    assert "2 entries are not regular files" in faults
    assert "zero.png (a link to a device), " in faults
    assert "pipe.png (a FIFO)" in faults
    assert "class fox has 2 images in train/ and no folder in test/" in faults


def test_faults_of_classes_that_are_not_asked_for_are_none(make: MakeFolder) -> None:
    root = make({"train": 6, "test": 3}, **{"train/fox": 2, "train/eel": 0, "train/gnu": 2, "test/gnu": 2})
    (root / "train/fox/x.png").symlink_to("/nowhere/x.png")
    assert _scan(root, classes=("cat", "dog")).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"data\.classes must be of cat, dog, eel, fox, gnu, got dgo"):
        _scan(root, classes=("cat", "dgo"))


def test_alike_faults_are_one_line(make_folder: MakeFolder) -> None:
    counts = {f"train/c{number:02d}": 1 for number in range(30)} | {"test/c00": 1, "test/c01": 1}
    with pytest.raises(LayoutError) as caught:
        _scan(make_folder(counts))
    assert len(caught.value.faults) == 1
    assert "28 classes have images in train/ and no folder in test/ (c02 1, c03 1, c04 1 and 25 more)" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("Cat", "cat"), "'Cat' and 'cat': upper and lower case"),
        (("cat", "cat "), "'cat' and 'cat ': spaces"),
        (("caf\u00e9", "cafe\u0301"), "Unicode normalisation"),
    ],
)
def test_classes_that_a_reader_cannot_tell_apart(make_folder: MakeFolder, names: tuple[str, str], words: str) -> None:
    root = make_folder({names[0]: 3, names[1]: 3, "dog": 3})
    if len(list(root.iterdir())) < 3:
        pytest.skip("the file system takes them for one")
    with pytest.raises(LayoutError, match=words):
        _scan(root)
    shutil.rmtree(root)
    parts = make_folder({f"train/{names[0]}": 3, f"test/{names[1]}": 3, "train/dog": 3, "test/dog": 3})
    with pytest.raises(LayoutError, match=words) as caught:
        _scan(parts)
    assert len(caught.value.faults) == 1


def test_letters_in_both_cases_are_classes(make_folder: MakeFolder) -> None:
    root = make_folder({"A": 3, "a": 3, "b": 3})
    assert _scan(root).classes == ("A", "a", "b")
    root = make_folder({"Cat": 3, "cat": 3}, name="meant")
    assert _scan(root, classes=("Cat", "cat")).classes == ("Cat", "cat")


def test_a_name_that_is_not_utf8_is_refused_and_shown(make_folder: MakeFolder) -> None:
    root = make_folder({"dog": 3})
    shutil.copytree(os.fsencode(root) + b"/dog", os.fsencode(root) + b"/c\xff")
    with pytest.raises(LayoutError, match=r"must be UTF-8, got c\\udcff"):
        _scan(root)
