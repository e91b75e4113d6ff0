"""Which images a prediction is asked for: lists of files, and folders of classes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.errors import InputError
from search.export.images import Unread, check_classes, find_images, find_labelled


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folders of files that are called images; none is opened here."""
    for name in ("cat/1.jpg", "cat/old/2.jpg", "dog/3.png", "loose.png", "empty/notes.txt", ".hidden/4.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "photos"


def found_in(path: Path) -> list[str]:
    return [item.reason if isinstance(item, Unread) else str(item) for item in find_images([path])]


@pytest.mark.parametrize("heading", ["image", "Path", "file", "filename", "file_name"])
def test_a_list_names_files_relative_to_its_folder(photos: Path, heading: str) -> None:
    (photos / "list.csv").write_text(f"number,{heading}\n1,cat/1.jpg\n\n2,{photos}/dog/3.png\n3,gone.jpg\n4,\n5\n")
    first, second, *faults = found_in(photos / "list.csv")
    assert (first, second) == (str(photos / "cat/1.jpg"), str(photos / "dog/3.png"))
    assert faults[0].startswith(f"{photos}/gone.jpg: cannot be read (No such file")
    assert faults[1:] == [
        f"{photos}/list.csv, line {line}: expected an image file, found none; add its path" for line in (6, 7)
    ]


def test_a_list_without_heading_is_one_of_files(photos: Path) -> None:
    (photos / "list.csv").write_bytes(b"\xef\xbb\xbfcat/1.jpg\r\ndog/3.png\r\n")
    assert found_in(photos / "list.csv") == [str(photos / "cat/1.jpg"), str(photos / "dog/3.png")]
    name = os.fsdecode(b"caf\xe9.png")
    (photos / name).write_bytes(b"")
    (photos / "list.csv").write_bytes(b"image\ncaf\xe9.png\n")
    assert found_in(photos / "list.csv") == [str(photos / name)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected a column image, path, file, filename or file_name in its first row, found nothing"),
        ("a,b\n1,2\n", "found a, b"),
        ("image,path\n1,2\n", "expected one column image, path, file, filename or file_name"),
        ("image\n" + "x" * 200_000 + "\n", "expected a CSV file of image files (field larger"),
    ],
)
def test_another_table_is_refused(photos: Path, content: str, words: str) -> None:
    (photos / "list.csv").write_text(content)
    (line,) = found_in(photos / "list.csv")
    assert line.startswith(f"{photos}/list.csv: expected")
    assert words in line


def test_sub_folders_name_the_classes(photos: Path) -> None:
    images, has_classes = find_labelled([photos, photos / "dog"], ["cat", "dog", "eel"])
    assert has_classes
    assert [(str(path.relative_to(photos)), label) for path, label in images if isinstance(path, Path)] == [
        ("cat/1.jpg", "cat"),
        ("cat/old/2.jpg", "cat"),
        ("dog/3.png", "dog"),
        ("loose.png", None),
        ("dog/3.png", None),
    ]


def test_sub_folders_of_another_kind_are_no_classes(photos: Path) -> None:
    images, has_classes = find_labelled([photos, photos / "*" / "*.jpg"], ["bird", "cow"])
    assert not has_classes
    assert {label for _, label in images} == {None}


def test_unknown_folders_beside_classes_are_refused(photos: Path) -> None:
    words = (
        r"photos: expected sub-folders named like classes of the model \(cat, dogs\), found dog \(did you mean dogs\?\)"
    )
    with pytest.raises(InputError, match=words):
        check_classes(photos, ["cat", "dogs"])
    with pytest.raises(InputError, match=r"found cat \(did you mean Cat\?\) and 1 more; rename it .*'.*photos/\*/\*'"):
        find_labelled([photos], ["Cat", "eel"])
    (photos / "empty" / "5.gif").write_bytes(b"")
    with pytest.raises(InputError, match="found empty;"):
        check_classes(photos, ["cat", "dog"])
