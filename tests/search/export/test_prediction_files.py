"""Predictions in text, CSV and JSON: written as they are computed, and whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.errors import InputError
from search.export import prediction_files
from search.export.images import Unread
from search.export.predict import Prediction, batch_size, classify
from search.export.prediction_files import write_predictions

CLASSES = ("cat", "dog", "eel")
SHADE = {"cat": 0, "dog": 100, "eel": 200}


class Fake:
    """An export whose model sees the shade of an image."""

    classes = CLASSES
    model = SimpleNamespace(image_size=(2, 2))

    def __init__(self) -> None:
        self.num_read = 0

    def read(self, path: Path) -> Any:
        from search.data.images import read_image

        self.num_read += 1
        return read_image(path, (2, 2))

    def probabilities(self, images: list[Any], names: list[str]) -> list[list[float]]:
        rows = []
        for pixels in images:
            at = int(pixels.mean()) // 100
            rows.append([0.7 if number == at else 0.1 + 0.1 * ((number - at) % 3 == 1) for number in range(3)])
        return rows


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """What is loaded in place of an export."""
    found = Fake()
    monkeypatch.setattr(prediction_files, "load_export", lambda *_, **__: found)
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of three classes; one of the cats looks like a dog, and one file is damaged."""
    for name, shade in (("cat/1.png", 0), ("cat/2.png", 100), ("dog/3.png", 100), ("eel/4.png", 200)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), shade, dtype=np.uint8)).save(path)
    (tmp_path / "photos" / "dog" / "5.png").write_text("no image")
    return tmp_path / "photos"


@pytest.fixture
def run(fake: Fake, photos: Path) -> Callable[..., tuple[int, list[str]]]:
    """Write predictions; the number of unread files, and what was printed."""

    def call(*paths: Path, to: Path | None = None, top: int | None = None, as_json: bool = False) -> Any:
        lines: list[str] = []
        num = write_predictions(
            Path("winner"),
            list(paths) or [photos],
            to=to,
            top=top,
            as_json=as_json,
            trust_code=False,
            write=lines.append,
        )
        return num, lines

    return call


def test_lines_with_the_accuracy_of_folders_of_classes(
    run: Any, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num, lines = run()
    assert num == 1
    assert lines[:4] == [
        f"{photos}/cat/1.png: cat (0.70)",
        f"{photos}/cat/2.png: dog (0.70)",
        f"{photos}/dog/3.png: dog (0.70)",
        f"{photos}/eel/4.png: eel (0.70)",
    ]
    assert lines[4].startswith("accuracy    75.0 % (95 % CI 30.1 to 95.4 %): 3 of 4 images")
    assert lines[6:] == ["     cat  dog  eel", "cat    1    1    0", "dog    0    1    0", "eel    0    0    1"]
    assert re.match(rf"error: {photos}/dog/5\.png: not a readable image", capsys.readouterr().err)


def test_the_most_probable_classes(run: Any, photos: Path) -> None:
    assert run(photos / "cat" / "1.png", top=2)[1] == [f"{photos}/cat/1.png: cat (0.70), dog (0.20)"]
    assert run(photos / "cat" / "1.png", top=9)[1] == [f"{photos}/cat/1.png: cat (0.70), dog (0.20), eel (0.10)"]


def test_a_table_of_all_predictions(run: Any, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "found.csv"
    num, lines = run(to=file, top=5)
    assert (num, lines[-1]) == (1, f"file        {file}: 4 predictions")
    rows = list(csv.DictReader(file.open()))
    assert [row["image"] for row in rows] == [
        f"{photos}/{name}" for name in ("cat/1.png", "cat/2.png", "dog/3.png", "eel/4.png")
    ]
    assert [(row["label"], row["true_label"]) for row in rows][:2] == [("cat", "cat"), ("dog", "cat")]
    assert (rows[0]["label_3"], rows[0]["probability_2"], rows[0]["label_4"]) == ("eel", "0.2", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.csv", "photos"]
    run(photos / "eel", to=file)
    assert file.read_text() == f"image,label,probability\n{photos}/eel/4.png,eel,0.7\n"
    # What was written can be read as a list.
    assert run(file)[1] == [f"{photos}/eel/4.png: eel (0.70)"]
    with pytest.raises(InputError, match="found one of the lists to read"):
        run(file, to=file)
    with pytest.raises(InputError, match="found a folder"):
        run(photos / "cat", to=photos)


def test_a_table_appears_when_it_is_complete(
    run: Any, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found.csv").write_text("old")

    def refuse(*_: object) -> Any:
        raise InputError("the probabilities are not finite")

    monkeypatch.setattr(fake, "probabilities", refuse)
    with pytest.raises(InputError, match="not finite"):
        run(to=tmp_path / "found.csv")
    assert (tmp_path / "found.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.csv", "photos"]


def test_one_document(run: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads("\n".join(run(as_json=True)[1]))
    assert [item["label"] for item in document["predictions"]] == ["cat", "dog", "dog", "eel"]
    assert document["predictions"][1]["true_label"] == "cat"
    assert len(document["predictions"][0]["top"]) == 3
    assert [item["path"] for item in document["errors"]] == [f"{photos}/dog/5.png"]
    assert document["accuracy"]["accuracy"] == 0.75
    assert capsys.readouterr().err == ""
    document = json.loads("\n".join(run(photos / "none.png", as_json=True)[1]))
    assert (document["predictions"], len(document["errors"]), document["accuracy"]) == ([], 1, None)
    document = json.loads("\n".join(run(as_json=True, to=tmp_path / "found.csv")[1]))
    assert document["num_predictions"] == 4
    assert document["file"] == str(tmp_path / "found.csv")


def test_only_one_batch_is_in_memory(fake: Fake, photos: Path) -> None:
    found: Iterator[Prediction | Unread] = classify(fake, [photos / "*" / "*.png"] * 50, batch=2).predictions  # type: ignore[arg-type]
    first = next(found)
    assert isinstance(first, Prediction)
    assert fake.num_read == 2
    assert sum(isinstance(item, Prediction) for item in found) == 199


def test_large_images_make_small_batches() -> None:
    assert [batch_size(side, side) for side in (8, 128, 224, 4000)] == [256, 256, 83, 1]
