"""Streamed images: found in ImageNet's layout, cropped by a seed, decoded a few batches ahead and never all at once."""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search.commands.data import describe
from search.data import decoder
from search.data.augment import fit_normaliser
from search.data.batches import EvalBatches, TrainBatches
from search.data.datasets import DataConfig, fetch, manifest, scan
from search.data.decoder import AHEAD, Decoder
from search.data.errors import FetchError, ImageError, LayoutError
from search.data.images import read_image
from search.data.store import ImageData, entry_folder, open_data
from search.data.stream import StreamedSet, resized_side
from search.export.predict import predict
from search.export.write import export
from search.seeds import make_block
from search.study.bind import bind, load_facts
from search.training import ticks
from search.training.loop import train

MakeFolder = Callable[..., Path]
CPU = torch.device("cpu")
PARTS = {"train/n01": 20, "train/n02": 20, "val/n01": 6, "val/n02": 6}
CROP = 28


@pytest.fixture
def root(make_folder: MakeFolder) -> Path:
    return make_folder(PARTS, size=(50, 40), suffix="JPEG")


@pytest.fixture
def data(root: Path, cache: Path) -> ImageData:
    return open_data(DataConfig(name="imagenet", root=str(root), image_size=CROP), cache)


def _epoch(batches: TrainBatches, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(batches.epoch(torch.Generator().manual_seed(seed)))


def _same(one: list[tuple[torch.Tensor, torch.Tensor]], two: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def test_sides_keep_the_proportion_of_224_to_256() -> None:
    assert [resized_side(crop) for crop in (224, 28, 112)] == [256, 32, 128]


@pytest.mark.parametrize("below", ["", "imagenet/", "ILSVRC/Data/CLS-LOC/"])
def test_layouts_are_found_and_nothing_is_decoded(
    make_folder: MakeFolder, cache: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({f"{below}{name}": number for name, number in PARTS.items()}, suffix="JPEG")
    (root / "LOC_synset_mapping.txt").write_text("n01 tench, Tinca tinca\nn02 goldfish\n")
    monkeypatch.setattr("search.data.stream.read_image", lambda *_: pytest.fail("decoded"))
    config = DataConfig(name="imagenet", root=str(root))
    data = open_data(config, cache, on_progress=lambda *_: pytest.fail("decoded"))
    assert data.classes == ("tench", "goldfish")
    assert data.image_size == (224, 224)
    assert (data.num_train, data.num_test) == (40, 12)
    assert data.test.ids[-1] == "val/n02/005.JPEG"
    found = describe(config, cache)
    assert found["streamed"]
    assert found["bytes_on_disk"] == sum(path.stat().st_size for path in entry_folder(config, cache).glob("*.npy"))
    assert not list(entry_folder(config, cache).glob("*pixels*"))


def test_scoring_crops_the_middle(data: ImageData, root: Path) -> None:
    rows = np.arange(3, 12)
    pixels = torch.cat([pixels for pixels, _ in EvalBatches(data.test, rows, 4, CPU)]).numpy()
    labels = torch.cat([labels for _, labels in EvalBatches(data.test, rows, 4, CPU)]).numpy()
    assert np.array_equal(labels, data.test.labels[rows])
    for position, row in enumerate(rows):
        whole = read_image(root / str(data.test.ids[row]), (32, 32))
        assert np.array_equal(pixels[position], whole[2:30, 2:30])


def test_training_crops_anywhere_and_the_epochs_seed_decides_it(data: ImageData, root: Path) -> None:
    rows = np.arange(1, 40)
    batches = TrainBatches(data.train, rows, 8, CPU)
    first = _epoch(batches, 1)
    assert [len(labels) for _, labels in first] == [8, 8, 8, 8, 7]
    assert _same(first, _epoch(batches, 1))
    assert not _same(first, _epoch(batches, 2))
    wholes = {row: read_image(root / str(data.train.ids[row]), (32, 32)) for row in rows}
    corners = []
    for image in torch.cat([pixels for pixels, _ in first]).numpy():
        matches = [
            (row, top, left)
            for row, whole in wholes.items()
            for top, left in itertools.product(range(5), range(5))
            if np.array_equal(whole[top : top + CROP, left : left + CROP], image)
        ]
        assert len(matches) == 1
        corners += matches
    assert sorted(row for row, _, _ in corners) == rows.tolist()
    assert {top for _, top, _ in corners} == {left for _, _, left in corners} == set(range(5))


def test_an_epoch_that_goes_on_has_the_crops_that_are_missing(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = TrainBatches(data.train, np.arange(40), 12, CPU)
    whole = _epoch(batches, 3)
    read: list[int] = []
    original = StreamedSet.read

    def counted(self: StreamedSet, row: int, top: int, left: int) -> np.ndarray:
        read.append(row)
        return original(self, row, top, left)

    monkeypatch.setattr(StreamedSet, "read", counted)
    assert _same(list(batches.epoch(torch.Generator().manual_seed(3), first=2)), whole[2:])
    assert len(read) == 40 - 2 * 12  # what is passed over is not decoded


def test_number_of_threads_changes_nothing(data: ImageData) -> None:
    def run(num_threads: int) -> list[torch.Tensor]:
        rows = torch.arange(40).split(16)
        return list(Decoder(data.train, CPU, num_threads)(rows, torch.Generator().manual_seed(0)))

    for one, many in zip(run(1), run(7), strict=True):
        assert torch.equal(one, many)


def test_few_batches_are_ahead_however_large_the_set(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    number, batch = 4000, 10
    images = StreamedSet(place=Path("/none"), crop=4, labels=np.zeros(number), ids=np.empty(number), ids_digest="")
    lock = threading.Lock()
    num_read = 0

    def read(_self: StreamedSet, _row: int, _top: int, _left: int) -> np.ndarray:
        nonlocal num_read
        with lock:
            num_read += 1
        return np.zeros((4, 4, 3), dtype=np.uint8)

    monkeypatch.setattr(StreamedSet, "read", read)
    ahead = []
    for done, _ in enumerate(Decoder(images, CPU, 4)(torch.arange(number).split(batch)), 1):
        if done % 50 == 0:
            time.sleep(0.02)  # a slow consumer: the threads may go as far as they are let
        ahead.append(num_read - done * batch)
    assert num_read == number
    assert max(ahead) <= AHEAD * batch


def test_threads_work_while_the_batch_is_used(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = threading.Semaphore(0)
    read = StreamedSet.read

    def count(self: StreamedSet, row: int, top: int, left: int) -> np.ndarray:
        pixels = read(self, row, top, left)
        decoded.release()
        return pixels

    monkeypatch.setattr(StreamedSet, "read", count)
    stream = Decoder(data.train, CPU, 2)(torch.arange(40).split(10))
    next(stream)
    for _ in range((1 + AHEAD) * 10):  # with no further request
        assert decoded.acquire(timeout=10)
    assert not decoded.acquire(timeout=0.05)
    stream.close()


def test_a_reader_that_stops_leaves_no_thread(data: ImageData) -> None:
    for _ in TrainBatches(data.train, np.arange(40), 4, CPU).epoch(torch.Generator()):
        break
    stream = EvalBatches(data.train, np.arange(40), 4, CPU).__iter__()
    next(stream)
    del stream, _
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoder")]


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_damaged_image_is_named_when_it_is_reached(root: Path, data: ImageData, damage: str) -> None:
    path = root / "train/n02/013.JPEG"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match=f"{path}: not a readable image"):
        _epoch(TrainBatches(data.train, np.arange(40), 4, CPU), 0)


def test_normaliser_is_fitted_on_evenly_spaced_middles(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "NUM_SAMPLED", 5)
    rows = np.arange(2, 39)
    fitted = fit_normaliser(data.train, rows, "channel")
    middles = np.stack([data.train.read(row, 2, 2) for row in (2, 11, 20, 29, 38)]) / 255
    assert fitted.mean == pytest.approx(middles.mean(axis=(0, 1, 2)))
    assert fitted.std == pytest.approx(middles.std(axis=(0, 1, 2)))


def test_travels_as_a_path(data: ImageData) -> None:
    packed = pickle.dumps(data)
    assert len(packed) < 600
    assert np.array_equal(pickle.loads(packed).train.read(0, 0, 0), data.train.read(0, 0, 0))


def test_digest_follows_names_and_beginnings_not_the_place(make_folder: MakeFolder, cache: Path) -> None:
    below = {f"imagenet/{name}": number for name, number in PARTS.items()}
    roots = [make_folder(PARTS, name="a"), make_folder(below, name="b"), make_folder(PARTS, name="c", seed=1)]
    roots.append(make_folder({**PARTS, "train/n01": 21}, name="d"))
    configs = [DataConfig(name="imagenet", root=str(root), image_size=CROP) for root in roots]
    digests = [open_data(config, cache).digest for config in configs]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    # The cache entry is shared, the files are not.
    assert open_data(configs[1], cache).train.read(0, 0, 0).shape == (CROP, CROP, 3)
    Image.new("RGB", (9, 9)).save(roots[0] / "train/n01/000.png")
    assert manifest(configs[0]) != manifest(configs[1])


def test_protocol_settings_apply(root: Path) -> None:
    dataset = scan(DataConfig(name="imagenet", root=str(root), test="held-out", test_fraction=0.25, limit=10))
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (10, 3)
    assert all(name.startswith("train/") for name in dataset.test.ids)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, r"looked for train/<class>/ and val/<class>/, .*it does not exist; register at https://image-net\.org"),
        ({"train/n01": 1, "test/n01": 1}, "found test/, train/; register"),
        ({"train/n01": 1, "train/n02": 1, "val": 3}, r"val: looked for val/<class>/; found 000\.png, .*; .*devkit"),
        ({**PARTS, "train/n03": 2}, "class n03 has 2 images in train/ and no folder in val/"),
        ({"train/n01": 1, "val/n01": 1}, "at least 2 class folders are needed, got 1"),
    ],
)
def test_wrong_layout_says_what_to_do(make_folder: MakeFolder, counts: dict[str, int], words: str) -> None:
    root = make_folder(counts, size=None)
    with pytest.raises(LayoutError, match=words):
        scan(DataConfig(name="imagenet", root=str(root)))


def test_it_is_not_fetched_but_how_to_get_it_is_said(tmp_path: Path, root: Path) -> None:
    with pytest.raises(
        FetchError, match=r"data imagenet: cannot be downloaded automatically; register at https://image-net\.org"
    ):
        fetch(DataConfig(name="imagenet", root=str(tmp_path / "empty"), download=True))
    fetch(DataConfig(name="imagenet", root=str(root), download=True))


def test_cut_off_training_goes_on_bit_for_bit(
    make_study: Callable[..., Any],
    gru: dict[str, Any],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(
        data={"name": "imagenet", "root": str(root), "image_size": CROP},
        train={"epochs": 3, "batch": 8, "precision": "float32", "augment": "hflip"},
    )
    data = open_data(study.data)
    spec = bind(study, gru, load_facts(study), (make_block(0, "sweep", 0),), score_test=True)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    *_, whole = train(spec, data, tmp_path / "whole", device="cpu")
    monkeypatch.setattr(ticks, "TICK_SECS", 0.0)
    cut = train(spec, data, tmp_path / "cut", device="cpu")
    while next(cut) is None:
        pass
    for _ in range(2):  # in the middle of the second epoch
        assert next(cut) is None
    cut.close()
    *_, resumed = train(spec, data, tmp_path / "cut", device="cpu", num_known_epochs=1)
    assert resumed.result == whole.result
    assert resumed.metrics.train_loss == whole.metrics.train_loss
    for name in ("weights-0.safetensors", "correct.npy", "confusion.npy"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_sweep_is_exported_and_predicts_from_the_middle_as_it_was_scored(
    make_study: Callable[..., Any], driver: Any, root: Path, tmp_path: Path
) -> None:
    study = make_study(
        "train.epochs=1",
        "train.batch=8",
        "search.trials=1",
        "fix.rnn=none",
        data={"name": "imagenet", "root": str(root), "image_size": CROP},
    )
    driver.sweep(study, facts=load_facts(study))
    export(study, tmp_path / "export")
    images = open_data(study.data).test
    program = torch.export.load(tmp_path / "export/model.pt2").module()
    (pixels,) = (pixels for pixels, _ in EvalBatches(images, np.arange(12), 12, CPU))
    found = predict(tmp_path / "export", [root / str(name) for name in images.ids]).predictions
    assert [item.probability for item in found] == pytest.approx(program(pixels).max(dim=1).values.tolist())
