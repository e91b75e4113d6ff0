"""Own images with a table of labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.data.datasets import DataConfig, manifest, scan
from search.data.errors import LayoutError
from search.data.store import open_data

MakeFolder = Callable[..., Path]


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")


def config(root: Path, **settings: str) -> DataConfig:
    return DataConfig(name="folder", root=str(root), **settings)


@pytest.mark.parametrize(
    ("name", "heading", "separator"),
    [("labels.csv", "file,label", ","), ("metadata.csv", "file_name;label", ";"), ("labels.csv", "Image\tClass", "\t")],
)
def test_a_table_in_the_root(make_folder: MakeFolder, cache: Path, name: str, heading: str, separator: str) -> None:
    root = make_folder({"pictures": 6})
    rows = [f"pictures/{at:03d}.png{separator}{'cat' if at % 2 else 'dog'}" for at in range(5)]
    write(root / name, heading, *rows)
    dataset = scan(config(root, test="held-out"))
    assert dataset.classes == ("cat", "dog")
    labels = dict(zip(dataset.train.ids + dataset.test.ids, [*dataset.train.labels, *dataset.test.labels], strict=True))
    assert labels == {f"pictures/{at:03d}.png": int(at % 2 == 0) for at in range(5)}
    assert dataset.left_out == {f"./ (without a row in {name})": 1}
    data = open_data(config(root, test="held-out"), cache)
    assert f"classes: read from {name}, not from the names of folders" in data.notes


def test_parts_by_a_column_and_by_folders_are_the_same_images(make_folder: MakeFolder) -> None:
    root = make_folder({"images": 12})
    parts = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    rows = [f"images/{at:03d}.png,{at % 2},{part}" for at, part in enumerate(parts)]
    write(root / "labels.csv", "file,label,split", *rows)
    dataset = scan(config(root))
    assert dataset.val is not None
    assert [len(part.labels) for part in (dataset.train, dataset.val, dataset.test)] == [6, 2, 4]
    first = manifest(config(root))
    write(root / "labels.csv", "file,label,split", *[row.replace("003.png,1,train", "003.png,1,test") for row in rows])
    assert manifest(config(root)) != first, "an image that changes its part is other data"

    huggingface = make_folder({"train": 6, "test": 4}, name="hub")
    for part, number in (("train", 6), ("test", 4)):
        write(
            huggingface / part / "metadata.csv", "file_name,label", *[f"{at:03d}.png,{at % 2}" for at in range(number)]
        )
    dataset = scan(config(huggingface))
    assert dataset.train.ids[0] == "train/000.png"
    assert [len(dataset.train.labels), len(dataset.test.labels)] == [6, 4]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            ["a/000.png,cat", "a/001.png,"],
            "1 row without a file name or a label; complete",
        ),
        (["a/000.png,cat", "./a//000.png,dog"], "row 2 and 3 (a/000.png)"),
        (["../x.png,cat"], "1 row with a file outside"),
        (["/etc/x.png,cat"], "row 2 (/etc/x.png)"),
        (["a/000,cat"], "no extension of an image"),
        (["a/000.png,cat", "a/000.png,dog"], "row 2 and 3 (a/000.png)"),
        (["a/000.png,cat", "a/nine.png,dog"], "1 file of it do not exist"),
        ([], "expected a row per image, found none"),
        (
            ["a/000.png,cat", "a/001.png,cat"],
            "got 1; looked for at least two classes in labels.csv",
        ),
    ],
)
def test_wrong_rows_are_named(make_folder: MakeFolder, rows: list[str], words: str) -> None:
    root = make_folder({"a": 3})
    write(root / "labels.csv", "file,label", *rows)
    with pytest.raises(LayoutError) as caught:
        scan(config(root))
    assert words in str(caught.value)


def test_wrong_parts_are_named(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 4})
    write(root / "labels.csv", "file,label,split", "a/000.png,x,train", "a/001.png,y,fold3")
    with pytest.raises(LayoutError, match="row 3: split: expected train, val or test, found fold3"):
        scan(config(root))
    write(root / "labels.csv", "file,label,split", "a/000.png,x,train", "a/001.png,y,train", "a/002.png,x,test")
    with pytest.raises(LayoutError, match=r"1 class with rows of the part train and none of test \(y\)"):
        scan(config(root))
    write(root / "labels.csv", "file,label,split", *(f"a/{at:03d}.png,{'xy'[at % 2]},train" for at in range(4)))
    assert scan(config(root)).classes == ("x", "y")


def test_no_part_vanishes(make_folder: MakeFolder) -> None:
    root = make_folder({"train": 4, "test": 4})
    rows = [f"{at:03d}.png,{'xy'[at % 2]}" for at in range(4)]
    write(root / "train" / "metadata.csv", "file,label", *rows)
    with pytest.raises(LayoutError, match="test: expected a table as in the other parts"):
        scan(config(root))
    write(root / "test" / "metadata.csv", "file,label", *rows)
    assert len(scan(config(root)).test.labels) == 4
    (root / "training").mkdir()
    write(root / "training" / "metadata.csv", "file,label", *rows)
    with pytest.raises(LayoutError, match="expected one folder per part, found train/ and training/"):
        scan(config(root))
    write(root / "labels.csv", "file,label", *(f"{part}/{row}" for part in ("train", "test") for row in rows))
    with pytest.raises(LayoutError, match="expected a column split, as the files lie in test, train"):
        scan(config(root))
    write(root / "labels.csv", "file,label,split", f"train/{rows[0]},train", f"train/{rows[1]},")
    with pytest.raises(LayoutError, match="row 3: split: expected train, val or test, found nothing"):
        scan(config(root))


def test_what_has_no_row_is_counted_again_when_it_changes(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 4})
    write(root / "labels.csv", "file,label", *(f"a/{at:03d}.png,{'xy'[at % 2]}" for at in range(4)))
    first = manifest(config(root))
    (root / "a" / "new.png").write_bytes((root / "a" / "000.png").read_bytes())
    assert manifest(config(root)) != first


def test_a_table_of_something_else_is_left_alone(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    write(root / "labels.csv", "class,colour", "cat,red")
    assert scan(config(root)).classes == ("cat", "dog")
    (root / "labels.csv").write_bytes(b"class,na\xefve\ncat,\xff\n")
    assert scan(config(root)).classes == ("cat", "dog")
    (root / "labels.csv").write_bytes(b"file,label\n\xff\xfe,cat\n")
    with pytest.raises(LayoutError, match="not a table of labels"):
        scan(config(root))


def test_pixels_are_those_of_the_files(make_folder: MakeFolder, cache: Path) -> None:
    root = make_folder({"cat": 4, "dog": 4})
    by_folder = open_data(config(root), cache)
    rows = [f"{label}/{at:03d}.png,{label}" for label in ("cat", "dog") for at in range(4)]
    write(root / "labels.csv", "file,label", *rows)
    by_table = open_data(config(root), cache)
    assert np.array_equal(by_folder.train.pixels, by_table.train.pixels)
    assert by_table.digest == by_folder.digest
